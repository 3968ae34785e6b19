"""The campaign file that `hubctl new` writes: every key, explained where it stands."""

from __future__ import annotations

import re

#: What a campaign can be called; the daemon has the same rule.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
#: A stored template, with or without its version.
TEMPLATE = re.compile(rf"({NAME.pattern})(@[0-9]{{1,9}})?")

_HEAD = """\
# A campaign. Fill in what is between the empty quotes, then:
#
#   hubctl apply {name}.toml             create it from this file; later, change it; sends nothing
#   hubctl check {name}                  who would get it, and what is not right yet
#   hubctl preview {name}                one message as its reader gets it
#   hubctl test {name} --to YOUR-ADDRESS send one to yourself
#   hubctl start {name}                  send it
#
# A line that begins with # is a comment. To use a key that stands in one, remove the "# " before it.

name = "{name}"
channel = "{channel}"

# Who gets it: the lists that you imported (hubctl import FILE --list NAME); `hubctl lists` shows them.
lists = [""]
# Only some of their contacts:
# where = "city == 'Springfield' and orders > 3"

# What it is sent through: `hubctl provider list` shows the names, `hubctl provider add` adds your account.
# Without this key it is the outbox, which only writes files: nothing leaves this machine.
# provider = "office"
"""

_EMAIL = """
# "marketing" needs `unsubscribe` and `postal_address` below; "transactional" is what somebody waits for.
kind = "marketing"

# Who it comes from, such as "Acme <news@acme.example>": an address that your provider lets you use.
sender = ""
# Where replies and bounces go, if not there:
# reply_to = "help@acme.example"
# return_path = "bounces@acme.example"
"""

_EMAIL_WORDS = """
# What it says. Each column of a list is a field, such as {{ first_name }}. For an empty cell, give a default
# text: {{ first_name | default("friend") }}; or write {% if city %}See you in {{ city }}.{% endif %}
subject = ""
text = \"\"\"
\"\"\"
# Texts can be in files beside this one. HTML without a text gets a text that is made from it.
# text_file = "body.txt"
# html_file = "body.html"
# Pictures that the HTML shows by <img src="cid:logo.png">:
# inline = ["logo.png"]
"""

_EMAIL_END = """
# Files that everybody gets with it:
# attachments = ["flyer.pdf"]

# Where its reader unsubscribes: an address that tells your website who it was, such as
# "https://acme.example/unsubscribe?id={{ contact_id }}", or "mailto:unsubscribe@acme.example"; or "listener",
# if hubd.toml has a [listener].
unsubscribe = ""
# Your postal address, which many countries require.
postal_address = ""
# Both stand at the end of the message unless its text has {{ unsubscribe_url }}. In another language, or in
# your own words:
# language = "de"
# footer = "You get this because you are a customer. To unsubscribe: {{ unsubscribe_url }}"

# What mail programs and providers sort it by:
# list_id = "news.acme.example"
# headers = { "X-Campaign" = "spring" }
"""

_SMS_WORDS = """
# What it says. Each column of a list is a field, such as {{ first_name }}. For an empty cell, give a default
# text: {{ first_name | default("friend") }}. `hubctl check` counts the segments that it costs.
text = ""
"""

_SMS = """
# "marketing" fails after a day without success; "transactional" is what somebody waits for: after five days.
kind = "marketing"

# The number or name that it comes from, if not that of the provider:
# sender = "+15005550006"
"""

_TEMPLATE = """
# What it says is in a stored template: the newest version when the campaign starts, or with a version, such
# as "welcome@3", always that one. `hubctl template show {template}` shows it.
template = "{template}"
"""

_TAIL = """
# How fast it may go, in addition to the limits of the provider:
# rate = "10/s"
# What happens to a message if nobody knows whether it was sent: "retry" or "hold".
# in_doubt = "hold"
# Words to find the campaign by:
# labels = ["spring"]
# The credit account that pays for its messages:
# credits = "team"

# Keys below a line in [brackets] belong to it, so keep these at the end.

# [retry]
# give_up_after = "24h"  # how long a message that is refused for now is retried

# [schedule]
# at = "2030-05-01 09:00"  # when it starts after `hubctl start`
# every = "monday 9:00"  # or again and again: then each time is a campaign of its own
# cron = "0 9 * * 1"  # the same as a cron expression
# until = "2030-12-31"  # the last day on which it repeats
# catch_up = "once"  # what hubd does about times it missed because it was not running: "skip" or "once"
# window = "08:00-21:00"  # when it may send, in the time zone of each recipient
# timezone = "Europe/Berlin"  # that of `at` and `every`, and of recipients who have none

# [trigger]  # one message to everybody who is added to a list, such as a welcome: see docs/triggers.md
"""


def new_campaign(name: str, channel: str, template: str) -> str:
    """The file for a campaign on "email" or "sms"; `template` is a stored template or ""."""
    words = _TEMPLATE.format(template=template) if template else ""
    email = (_EMAIL, words or _EMAIL_WORDS, _EMAIL_END)
    parts = (_SMS, words or _SMS_WORDS) if channel == "sms" else email
    return "".join((_HEAD.format(name=name, channel=channel), *parts, _TAIL))


def name_from(text: str) -> str:
    """A name for a campaign that is close to the text; "" if there is none."""
    near = re.sub(r"[^a-z0-9._-]+", "-", text.strip().lower()).strip("-._")[:64]
    return near if NAME.fullmatch(near) else ""
