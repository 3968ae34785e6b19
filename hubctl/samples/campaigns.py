"""Two campaigns for the people of the demo, as the files that a user would write."""

from __future__ import annotations

LIST = "demo"
WELCOME = "welcome"
REMINDER = "reminder"

_WELCOME = """\
# A campaign is a file. `hubctl apply welcome.toml` creates it, or changes what is not sent yet.
name = "welcome"
channel = "email"
provider = "{provider}"
lists = ["demo"]
kind = "marketing"
sender = "Harbour Books <hello@harbour-books.example.com>"
reply_to = "help@harbour-books.example.com"
subject = "Welcome aboard, {{{{ first_name }}}}"
text_file = "welcome.txt"
html_file = "welcome.html"
unsubscribe = "https://harbour-books.example.com/u/{{{{ contact_id }}}}"
postal_address = "Harbour Books, 1 Quay Street, Galway, Ireland"
{rate}"""

_REMINDER = """\
# SMS goes to those contacts of the list that have a phone number.
name = "reminder"
channel = "sms"
lists = ["demo"]
kind = "transactional"
text = "Hi {{{{ first_name }}}}, your books wait in {{{{ city | default('your shop') }}}}. See you soon!"
{rate}"""

_RATE = """rate = "{rate}/s"   # slow enough to watch; without it, as fast as the provider takes it
"""

WELCOME_TEXT = """\
Hi {{ first_name }},

thank you for joining Harbour Books. Your first coffee in {{ city | default("our shop next door") }} is on us.

Fair winds,
the Harbour Books crew

Unsubscribe: {{ unsubscribe_url }}
{{ postal_address }}
"""

WELCOME_HTML = """\
<!doctype html>
<html><body style="font-family: Georgia, serif; max-width: 36em; margin: auto">
<h1>Welcome aboard, {{ first_name }}</h1>
<p>Thank you for joining <b>Harbour Books</b>.
Your first coffee in {{ city | default("our shop next door") }} is on us.</p>
<p>Fair winds,<br>the Harbour Books crew</p>
<p style="color: #666"><a href="{{ unsubscribe_url }}">Unsubscribe</a> · {{ postal_address }}</p>
</body></html>
"""

SMTP_CONFIG = """\
# Where the demo's email goes. A real account also has security = "starttls", username and password.
[providers.mail]
type = "smtp"
host = "{host}"
port = {port}
security = "none"
"""

OUTBOX_CONFIG = """\
# No providers: everything goes to the outbox, which writes each message to a file.
# A real account looks like this:
#
# [providers.office]
# type = "smtp"
# host = "smtp.example.com"
# port = 587
# security = "starttls"
# username = "news@example.com"
# password = { file = "office.pass" }
"""


def welcome(provider: str, rate: int | None) -> str:
    """The email campaign as a file; `rate` in messages a second, None for no limit."""
    return _WELCOME.format(provider=provider, rate=_RATE.format(rate=rate) if rate else "")


def reminder(rate: int | None) -> str:
    """The SMS campaign as a file."""
    return _REMINDER.format(rate=_RATE.format(rate=rate) if rate else "")
