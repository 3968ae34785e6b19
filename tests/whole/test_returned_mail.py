"""What comes back, end to end: hubd sends through Postfix, and reads bounces and replies from Dovecot.

Nothing here plays a part of the mail system. Only people are played: they complain, unsubscribe and answer.
"""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage, Message

import pytest

from tests import dovecot, postfix
from tests.dovecot import PASSWORD, Dovecot
from tests.postfix import Postfix
from tests.whole.conftest import Hub, until

CAMPAIGN = "spring"
CONFIG = """
[providers.relay]
type = "smtp"
host = "127.0.0.1"
port = {port}
security = "none"
connections = 4
bounce_address = "bounces+{{token}}@acme.example"
dsn = "success"

[mailboxes.bounces]
host = "127.0.0.1"
port = {imap}
security = "none"
username = "bounces"
password = {{ file = "imap.pass" }}
processed_folder = "Processed"
"""
#: What a share of the people do, in percent; everybody else reads and is silent.
SHARES = {"gone": 5, "full": 2, "slow": 2, "complains": 2, "stop": 4, "writes": 4, "away": 2}
DOMAINS = {"gone": "gone.example", "full": "full.example", "slow": "slow.example"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mails:
    """The mail system."""

    dovecot: Dovecot
    postfix: Postfix

    def delivered(self) -> dict[str, Message]:
        """What people have in their mailboxes, by recipient; of copies the last one."""
        found = {}
        for path in sorted(self.dovecot.maildir("ok").glob("new/*")):
            mail = message_from_bytes(path.read_bytes())
            found[str(mail["Delivered-To"])] = mail
        return found


@pytest.fixture(scope="session")
def mails() -> Iterator[Mails]:
    with dovecot.running() as imap, postfix.running(imap) as relay:
        yield Mails(dovecot=imap, postfix=relay)


def people(count: int) -> dict[str, str]:
    """Addresses, and what becomes of each."""
    found: dict[str, str] = {}
    for what, share in SHARES.items():
        for number in range(max(1, count * share // 100)):
            found[f"{what}{number}@{DOMAINS.get(what, 'ok.example')}"] = what
    for number in range(count - len(found)):
        found[f"reads{number}@ok.example"] = "reads"
    return found


def answer(mail: Message, address: str, text: str, **headers: str) -> EmailMessage:
    """What a person writes to a message, as mail programs do."""
    written = EmailMessage()
    written["From"] = address
    written["To"] = str(mail["Reply-To"])
    written["Subject"] = f"Re: {mail['Subject']}"
    written["In-Reply-To"] = written["References"] = str(mail["Message-ID"])
    for name, value in headers.items():
        written[name.replace("_", "-")] = value
    written.set_content(f"{text}\n\nOn Mon, 30 Nov 2026 at 10:00 Acme <news@acme.example> wrote:\n> Hi\n")
    return written


def complaint(mail: Message, address: str) -> Message:
    """A feedback report as a provider of mailboxes sends it (RFC 5965)."""
    fields = f"Feedback-Type: abuse\nUser-Agent: isp/1.0\nVersion: 1\nOriginal-Rcpt-To: <{address}>\n"
    original = f"Message-ID: {mail['Message-ID']}\nTo: {address}\n\nHi"
    text = (
        "From: feedback@isp.example\nTo: bounces@acme.example\nSubject: complaint\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="part"\n\n'
        f"--part\n\nA report.\n--part\nContent-Type: message/feedback-report\n\n{fields}\n"
        f"--part\nContent-Type: message/rfc822\n\n{original}\n--part--\n"
    )
    return message_from_bytes(text.encode())


def react(mails: Mails, expected: Mapping[str, str]) -> None:
    """Everybody does what they do, to the message that they have."""
    delivered = mails.delivered()
    for address, what in expected.items():
        if what == "complains":
            mails.postfix.send("", "bounces@acme.example", complaint(delivered[address], address))
        elif what in ("stop", "writes"):
            text = "STOP" if what == "stop" else "When do you open on Sunday?"
            mails.postfix.send(address, "bounces@acme.example", answer(delivered[address], address, text))
        elif what == "away":
            note = answer(delivered[address], address, "I am away", Auto_Submitted="auto-replied")
            mails.postfix.send("", "bounces@acme.example", note)


UNDELIVERED = ("gone", "full", "slow")
SUPPRESSED = ("gone", "complains", "stop")


def run(hub: Hub, mails: Mails, count: int) -> None:
    """The whole story, with a kill in each of its parts; then everybody is in exactly the right state."""
    expected = people(count)
    hub.config = CONFIG.format(port=mails.postfix.port, imap=mails.dovecot.port)
    secret = hub.folder / "imap.pass"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    hub.boot()
    listed = hub.folder / "people.csv"
    listed.write_text("email\n" + "".join(f"{address}\n" for address in expected))
    hub.hubctl("import", str(listed), "--list", "all")
    hub.apply(
        CAMPAIGN, provider="relay", reply_to="bounces@acme.example", kind="transactional", in_doubt="retry",
        subject="Hello", text="Hi", html=None, lists=["all"],
    )  # fmt: skip
    hub.hubctl("start", CAMPAIGN)
    until(lambda: len(mails.delivered()) > count // 4, "the first messages")
    kill(hub)  # while it sends
    until(lambda: hub.campaign(CAMPAIGN)["state"] == "completed", "the end of sending", hub.log)
    kill(hub)  # while reports come in
    bounced = sum(what in UNDELIVERED for what in expected.values())
    until(lambda: hub.campaign(CAMPAIGN)["counts"]["undelivered"] == bounced, "the bounces", hub.log)
    until(lambda: hub.campaign(CAMPAIGN)["counts"]["delivered"] == count - bounced, "the receipts", hub.log)
    react(mails, expected)
    kill(hub)  # while answers come in
    wanted = {address for address, what in expected.items() if what in SUPPRESSED}
    until(lambda: suppressed(hub) == wanted, "the suppressions", hub.log)
    until(lambda: not mails.dovecot.names("bounces"), "everything to be moved away")

    states = {row["recipient"]: row["state"] for row in hub.deliveries(CAMPAIGN)}
    assert states == {
        address: "undelivered" if what in UNDELIVERED else "delivered" for address, what in expected.items()
    }
    wrote = [address for address, what in expected.items() if what == "writes"]
    assert inbox(hub, "reply") == {address: ["When do you open on Sunday?"] for address in wrote}
    assert inbox(hub, "opt_out").keys() == {a for a, what in expected.items() if what == "stop"}
    assert inbox(hub, "complaint").keys() == {a for a, what in expected.items() if what == "complains"}
    assert inbox(hub, "bounce").keys() == {a for a, what in expected.items() if what in UNDELIVERED}


def kill(hub: Hub) -> None:
    hub.end(signal.SIGKILL)
    hub.boot()


def suppressed(hub: Hub) -> set[str]:
    found = hub.told("suppression.list", "suppress", "list")
    return {row["address"] for row in found["suppressions"]}


def inbox(hub: Hub, kind: str) -> dict[str, list[str]]:
    """Who wrote what, or about whom it is."""
    with closing(sqlite3.connect(f"file:{hub.state / 'hub.db'}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT address_key, text FROM inbox WHERE kind = ? ORDER BY id", (kind,)
        ).fetchall()
    found: dict[str, list[str]] = {}
    for address, text in rows:
        found.setdefault(address, []).append(text)
    return found


def test_everybody_ends_in_the_state_that_mail_says(hub: Hub, mails: Mails) -> None:
    run(hub, mails, 60)


@pytest.mark.soak
def test_a_thousand_people_end_in_the_states_that_mail_says(hub: Hub, mails: Mails) -> None:
    run(hub, mails, 1_000)
