"""`hubctl message ID --source`: the whole email into a file or pipe, a short one for a terminal."""

from __future__ import annotations

import random
from email import message_from_string
from pathlib import Path

from tests.apps.conftest import Hub

FILE = random.Random(5).randbytes(1_300_000)


def sent(hub: Hub, **spec: object) -> str:
    hub.contacts(1)
    hub.campaign("spring", **spec)
    hub.ok("start", "spring", "--wait")
    return str(hub.json("message", "1")["delivery"]["id"])


def wire(hub: Hub, number: str) -> str:
    """What the outbox wrote, with the ends of lines that files have here."""
    file = Path(hub.json("message", number)["delivery"]["file"])
    return file.read_bytes().decode("ascii").replace("\r\n", "\n")


def test_a_pipe_gets_all_of_a_large_email_and_a_terminal_is_told_how(hub: Hub) -> None:
    hub.file("photo.bin", FILE)
    number = sent(hub, attachments=["photo.bin"])
    source = hub.ok("message", number, "--source")
    assert source == wire(hub, number)
    (attached,) = (part for part in message_from_string(source).walk() if part.get_filename())
    assert attached.get_payload(decode=True) == FILE
    hub.environ["HUBCTL_FORCE_TTY"] = "1"
    shown = hub.run("message", number, "--source")
    assert "are not shown" in shown.stdout
    assert f"hubctl message {number} --source > message.eml" in shown.stderr


def test_a_short_email_is_the_same_in_a_pipe_and_on_a_terminal(hub: Hub) -> None:
    number = sent(hub)
    source, written = hub.ok("message", number, "--source"), wire(hub, number)
    hub.environ["HUBCTL_FORCE_TTY"] = "1"
    shown = hub.run("message", number, "--source")
    assert source == written
    assert source == shown.stdout
    assert shown.stderr == ""


def test_a_message_that_has_no_source_is_refused(hub: Hub) -> None:
    found = hub.json("send", "--provider", "outbox", "--to", "+14155552671", "--text", "Hello")
    done = hub.run("message", str(found["delivery_id"]), "--source")
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no source" in done.stderr
    assert hub.run("message", "999", "--source").returncode == 3
