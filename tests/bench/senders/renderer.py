"""Writes personalised messages and sends none: by hubd's own core, or by Jinja2 and the `email` package.

python renderer.py hubd|email MESSAGES CONTENT
"""

import json
import sys
from collections.abc import Callable
from email.message import EmailMessage

from figures import Meter

Write = Callable[[dict[str, str]], object]


def hubd(content: dict[str, str]) -> Write:
    from hubd.core.compose import compile_email
    from hubd.core.model import Channel, Content, Kind

    texts = {name: text for name, text in content.items() if name != "kind"}
    plan = compile_email(Content(channel=Channel.EMAIL, kind=Kind(content["kind"]), **texts), {})
    return lambda values: plan.render(values, message_id="<1@example.org>", now=1.8e9)


def email(content: dict[str, str]) -> Write:
    from jinja2 import Environment

    subject, text = (Environment().from_string(content[name]) for name in ("subject", "text"))
    html = Environment(autoescape=True).from_string(content["html"])

    def write(values: dict[str, str]) -> bytes:
        message = EmailMessage()
        message["From"], message["To"] = content["sender"], values["email"]
        message["Subject"] = subject.render(values)
        message.set_content(text.render(values))
        message.add_alternative(html.render(values), subtype="html")
        return message.as_bytes()

    return write


def main() -> None:
    which, messages, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    write = {"hubd": hubd, "email": email}[which](content)
    count = int(messages)
    fields = [
        {"email": f"person{i}@example.com", "first_name": f"Zoë {i}", "city": "Springfield"}
        for i in range(count)
    ]
    meter = Meter()
    for values in fields:
        write(values)
    meter.stop()
    meter.print_figures(count)


if __name__ == "__main__":
    main()
