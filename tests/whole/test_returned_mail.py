"""What comes back, end to end: hubd sends through Postfix, and reads bounces and replies from Dovecot.

Nothing here plays a part of the mail system. Only people are played: they complain, unsubscribe and answer.
"""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import EmailMessage, Message
from pathlib import Path

import pytest

from tests import dovecot, postfix
from tests.dovecot import PASSWORD, Dovecot
from tests.postfix import Postfix
from tests.shell.aws_double import SECRET
from tests.whole.conftest import Hub, until
from tests.whole.invariants import Records, check_accepted, check_crash, check_records, read_records
from tests.whole.test_aws import CONNECTIONS, STATES, open_aws, recipient, with_secret

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


def people(count: int, prefix: str = "") -> dict[str, str]:
    """Addresses, and what becomes of each."""
    found: dict[str, str] = {}
    for what, share in SHARES.items():
        for number in range(max(1, count * share // 100)):
            found[f"{prefix}{what}{number}@{DOMAINS.get(what, 'ok.example')}"] = what
    for number in range(count - len(found)):
        found[f"{prefix}reads{number}@ok.example"] = "reads"
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


def bring(hub: Hub, addresses: Iterable[str]) -> None:
    listed = hub.folder / "people.csv"
    listed.write_text("email\n" + "".join(f"{address}\n" for address in addresses))
    hub.hubctl("import", str(listed), "--list", "all")


def run(hub: Hub, mails: Mails, count: int, kills: int) -> None:
    """The whole story, with kills in each of its parts; then everybody is in exactly the right state."""
    expected = people(count)
    hub.config = CONFIG.format(port=mails.postfix.port, imap=mails.dovecot.port)
    secret = hub.folder / "imap.pass"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    hub.boot()
    bring(hub, expected)
    hub.apply(
        CAMPAIGN, provider="relay", reply_to="bounces@acme.example", kind="transactional", in_doubt="retry",
        subject="Hello", text="Hi", html=None, lists=["all"],
    )  # fmt: skip
    hub.hubctl("start", CAMPAIGN)
    for share in range(1, kills + 1):
        goal = count * share // (2 * kills + 2)
        until(lambda goal=goal: mine(mails, expected) > goal, "messages", hub.log)
        kill(hub)  # while it sends
    until(lambda: hub.campaign(CAMPAIGN)["state"] == "completed", "the end of sending", hub.log)
    for share in range(kills):
        until(lambda share=share: known(hub, CAMPAIGN) >= share * count // kills, "reports", hub.log)
        kill(hub)  # while reports come in
    bounced = sum(what in UNDELIVERED for what in expected.values())
    until(lambda: hub.campaign(CAMPAIGN)["counts"]["undelivered"] == bounced, "the bounces", hub.log)
    until(lambda: hub.campaign(CAMPAIGN)["counts"]["delivered"] == count - bounced, "the receipts", hub.log)
    react(mails, expected)
    wanted = {address for address, what in expected.items() if what in SUPPRESSED}
    for share in range(kills):
        goal = share * len(wanted) // kills
        until(lambda goal=goal: len(suppressed(hub)) >= goal, "suppressions", hub.log)
        kill(hub)  # while answers come in
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


CLOUD, PEOPLE = 120, 60  #: recipients of the campaign through SES, and of the one through Postfix


def test_kills_while_receipts_come_from_a_queue_and_a_mailbox_lose_and_double_none(
    hub: Hub, mails: Mails, tmp_path: Path
) -> None:
    """Events of SES in a queue of SQS, and reports of Postfix in a mailbox, at once."""
    expected = people(PEOPLE, "other-")
    with open_aws(tmp_path, "ses") as double:
        hub.config = CONFIG.format(port=mails.postfix.port, imap=mails.dovecot.port) + double.config("ses")
        with_secret(hub, SECRET)
        secret = hub.folder / "imap.pass"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        hub.boot()
        hub.contacts(CLOUD, listed="cloud")
        bring(hub, expected)
        hub.apply(CAMPAIGN, provider="relay", in_doubt="retry", subject="Hello", text="Hi", html=None)
        hub.apply("cloud", provider="aws", in_doubt="hold", lists=["cloud"])
        hub.hubctl("start", "cloud", CAMPAIGN)
        until(lambda: len(double.lines()) > CLOUD // 3 and mine(mails, expected), "messages of both", hub.log)
        interrupted = kill_and_check(hub)
        for share in (0.2, 0.5, 0.8):  # of what comes back
            until(
                lambda share=share: known(hub, CAMPAIGN) + known(hub, "cloud") >= share * (PEOPLE + CLOUD),
                "receipts", hub.log,
            )  # fmt: skip
            interrupted += kill_and_check(hub)
        until(lambda: known(hub, CAMPAIGN) == PEOPLE, "all reports of Postfix", hub.log)
        until(lambda: hub.campaign("cloud")["state"] == "completed", "the end of sending", hub.log)
        until(lambda: known(hub, "cloud") >= len(double.accepted()) - 1, "all events of SES", hub.log)
        until(lambda: not mails.dovecot.names("bounces"), "everything to be moved away", hub.log)
        assert hub.end() == 0
        records = read_records(hub.state)
        check_records(records)
        names = {row["name"]: row["id"] for row in records.campaigns}
        state = {(row["campaign_id"], row["recipient"]): row["state"] for row in records.deliveries}
        for address, what in expected.items():
            wanted = "undelivered" if what in UNDELIVERED else "delivered"
            assert state[names[CAMPAIGN], address] == wanted, address
        cloud = part(records, names["cloud"])
        accepted = double.accepted()
        assert set(accepted.values()) == {1}
        ids = {str(row["recipient"]): str(row["message_id"]) for row in cloud.deliveries}
        copies = {who: [ids[who]] for who in accepted}
        check_accepted(cloud, copies, "hold", {recipient("ses", n) for n in range(CLOUD)})
        found_doubts = [fields for fields in records.audit if fields[3] == "doubt.found"]
        assert len(found_doubts) == interrupted, "each attempt that a kill cut off was put in doubt once"
        for n, wanted in STATES.items():
            assert state[names["cloud"], recipient("ses", n)] == wanted, n
        found = inbox(hub, "bounce")
        assert found.keys() >= {address for address, what in expected.items() if what in UNDELIVERED}
        tries = Counter(row["delivery_id"] for row in records.attempts if row["outcome"] != "transient")
        most = {row["recipient"]: tries[row["id"]] for row in records.deliveries}
        assert {a for a, texts in found.items() if len(texts) > most[a]} == set(), "no report is kept twice"


def part(records: Records, campaign: object) -> Records:
    """What belongs to one campaign."""
    deliveries = [row for row in records.deliveries if row["campaign_id"] == campaign]
    ids = {row["id"] for row in deliveries}
    return replace(
        records,
        campaigns=[row for row in records.campaigns if row["id"] == campaign],
        deliveries=deliveries,
        attempts=[row for row in records.attempts if row["delivery_id"] in ids],
        audit=[],
    )


def known(hub: Hub, name: str) -> int:
    """Of how many messages it is known what became of them."""
    counts = hub.campaign(name)["counts"]
    return int(counts["delivered"]) + int(counts["undelivered"])


def kill_and_check(hub: Hub) -> int:
    """Kill it and start it again; how many attempts that cut off."""
    assert hub.end(signal.SIGKILL) == -signal.SIGKILL
    records = read_records(hub.state)
    check_crash(records, 2 * CONNECTIONS)
    hub.boot()
    return records.open


def mine(mails: Mails, expected: Mapping[str, str]) -> int:
    """How many of these people have a message; another test may have sent to some of them."""
    return len(mails.delivered().keys() & expected.keys())


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
    run(hub, mails, 60, kills=1)


@pytest.mark.soak
def test_a_thousand_people_end_in_the_states_that_mail_says(hub: Hub, mails: Mails) -> None:
    run(hub, mails, 1_000, kills=4)
