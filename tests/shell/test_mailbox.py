"""A mailbox as a source: against a real Dovecot, and against servers that drop, stall and lie."""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import tomlkit
import trio

from hubd.client import open_client
from hubd.config.file import load_config
from hubd.core.inbound import ItemKind
from hubd.core.inbox import Booked
from hubd.errors import CredentialMissing, HubError, SourceUnavailable
from hubd.inbound import imap_session, mailbox
from hubd.inbound.imap_session import MOST_ANSWER, MailboxSettings, Place, renewal
from hubd.inbound.mailbox import PAUSE, POLL, Mailbox, Probe
from hubd.inbound.source import Fetched, Source
from hubd.mailboxes import probe
from tests.dovecot import PASSWORD, Dovecot, running
from tests.shell.open_hub import open_hub


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with running() as server:
        yield server


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of its own for each test."""
    return "".join(char for char in request.node.name if char.isalnum())[:60]


async def password() -> str:
    return PASSWORD


def reader(dovecot: Dovecot, user: str, **changes: object) -> Mailbox:
    settings = MailboxSettings(host="localhost", port=dovecot.port, security="none", username=user)
    return Mailbox("bounces", replace(settings, **changes), time.time, password)  # type: ignore[arg-type]


def mail(number: int) -> bytes:
    return f"From: ann{number}@example.org\r\nSubject: Re: hello\r\n\r\nThank you {number}\r\n".encode()


def texts(found: Fetched) -> list[str]:
    return [item.text for item in found.items]


async def acknowledge(found: Fetched) -> None:
    assert found.acknowledge is not None
    await found.acknowledge(Booked(new={}))


async def test_new_mails_are_read_once_and_moved_away(dovecot: Dovecot, user: str) -> None:
    source: Source = (reading := reader(dovecot, user, processed_folder="Read & booked"))
    for number in (1, 2):
        dovecot.put(user, f"m{number}", mail(number))
    first = await source.fetch("")
    assert sorted(texts(first)) == ["Thank you 1", "Thank you 2"]
    assert {item.kind for item in first.items} == {ItemKind.REPLY}
    assert all(abs(item.at - time.time()) < 3600 for item in first.items)
    await acknowledge(first)
    assert dovecot.names(user) == set()

    async def arrive() -> None:
        dovecot.put(user, "m3", mail(3))

    async with trio.open_nursery() as nursery:  # the source waits for it in IDLE
        nursery.start_soon(arrive)
        second = await source.fetch(first.cursor)
    assert texts(second) == ["Thank you 3"]
    assert second.wait == 0
    await source.aclose()
    assert reading.name == "mailbox bounces"


async def test_without_a_folder_mails_are_marked_as_seen_when_they_are_booked(
    dovecot: Dovecot, user: str
) -> None:
    source = reader(dovecot, user)
    dovecot.put(user, "m1", mail(1))
    found = await source.fetch("")
    assert not list(dovecot.maildir(user).glob("cur/*:2,*S*"))  # it was only peeked at
    await acknowledge(found)
    assert [path.name.partition(":")[0] for path in dovecot.maildir(user).glob("cur/*:2,S*")] == ["m1"]
    await source.aclose()


async def test_a_folder_that_cannot_be_written_keeps_no_mail_from_being_read(
    dovecot: Dovecot, user: str
) -> None:
    source = reader(dovecot, user, processed_folder="no/such/folder")
    cursor = ""
    for number in (1, 2):
        dovecot.put(user, f"m{number}", mail(number))
        found = await source.fetch(cursor)
        assert texts(found) == [f"Thank you {number}"]
        await acknowledge(found)
        cursor = found.cursor
        assert source.refused.startswith("mails cannot be moved to the folder no/such/folder: ")
        assert source.refused.endswith("; they are marked as seen instead")
    assert len(list(dovecot.maildir(user).glob("cur/*:2,S*"))) == 2
    await source.aclose()
    again = reader(dovecot, user, processed_folder="no/such/folder")
    dovecot.put(user, "m3", mail(3))
    assert texts(await again.fetch(cursor)) == ["Thank you 3"]
    assert again.refused, "also when a new connection moves what was left"
    await again.aclose()


async def test_a_complaint_ends_when_a_new_connection_finds_nothing_left_to_move(
    dovecot: Dovecot, user: str
) -> None:
    source = reader(dovecot, user, processed_folder="no/such/folder")
    dovecot.put(user, "m1", mail(1))
    found = await source.fetch("")
    await acknowledge(found)
    assert source.refused
    await source.aclose()
    for path in dovecot.maildir(user).glob("cur/m1*"):  # a person has moved it
        path.unlink()
    dovecot.put(user, "m2", mail(2))
    assert texts(await source.fetch(found.cursor)) == ["Thank you 2"]
    assert source.refused == ""
    await source.aclose()


async def test_what_was_booked_by_a_connection_that_ended_is_moved_by_the_next(
    dovecot: Dovecot, user: str
) -> None:
    dovecot.put(user, "m1", mail(1))
    found = await (before := reader(dovecot, user, processed_folder="Processed")).fetch("")
    await before.aclose()
    await acknowledge(found)  # too late, and no harm
    assert dovecot.names(user) == {"m1"}
    dovecot.put(user, "m2", mail(2))
    after = reader(dovecot, user, processed_folder="Processed")
    assert texts(await after.fetch(found.cursor)) == ["Thank you 2"]
    assert dovecot.names(user) == {"m2"}
    assert len(dovecot.names(user, "Processed")) == 1
    await after.aclose()


async def test_mails_too_old_to_be_read_are_not_moved(dovecot: Dovecot, user: str) -> None:
    old = time.time() - (imap_session.LOOK_BACK_DAYS + 2) * 86_400
    dovecot.put(user, "m1", mail(1), at=old)
    assert await reader(dovecot, user).probe() == Probe(mails=1, idles=True, moves=True)  # it is numbered
    dovecot.put(user, "m2", mail(2))
    found = await (before := reader(dovecot, user, processed_folder="Processed")).fetch("")
    assert texts(found) == ["Thank you 2"]
    await before.aclose()
    dovecot.put(user, "m3", mail(3))
    after = reader(dovecot, user, processed_folder="Processed")
    assert texts(await after.fetch(found.cursor)) == ["Thank you 3"]
    assert dovecot.names(user) == {"m1", "m3"}
    assert len(dovecot.names(user, "Processed")) == 1
    await after.aclose()


async def test_the_first_mails_come_again_if_they_could_not_be_booked(dovecot: Dovecot, user: str) -> None:
    source = reader(dovecot, user)
    dovecot.put(user, "m1", mail(1))
    assert texts(await source.fetch("")) == ["Thank you 1"]
    assert texts(await source.fetch("")) == ["Thank you 1"]
    await source.aclose()


async def test_a_mailbox_that_is_numbered_anew_is_read_again_with_the_same_keys(
    dovecot: Dovecot, user: str
) -> None:
    source = reader(dovecot, user)
    dovecot.put(user, "m1", mail(1))
    first = await source.fetch("")
    await source.aclose()
    place = Place.parse(first.cursor)
    assert place is not None
    other = reader(dovecot, user)
    for cursor in (Place(place.validity + 1, 7), Place(place.validity, 4_000_000)):  # the latter goes back
        again = await other.fetch(str(cursor))
        assert [item.key for item in again.items] == [item.key for item in first.items]
        assert again.cursor == first.cursor
        await other.aclose()


async def test_many_mails_come_in_turns(dovecot: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_session, "FETCH_MAILS", 4)
    monkeypatch.setattr(imap_session, "FETCH_BYTES", 200_000)
    large = b"X" * 120_000
    for number in range(9):
        dovecot.put(user, f"m{number}", mail(number) + (large if number % 2 else b""))
    source = reader(dovecot, user, processed_folder="Processed")
    cursor, turns = "", 0
    seen: list[str] = []
    while len(seen) < 9:
        found = await source.fetch(cursor)
        assert found.items
        assert found.wait == 0
        cursor, turns = found.cursor, turns + 1
        seen += [item.about.address for item in found.items]
        await acknowledge(found)
    assert sorted(seen) == [f"ann{number}@example.org" for number in range(9)]
    assert turns > 3
    await source.aclose()


async def test_an_end_while_it_waits_is_an_end_at_once(dovecot: Dovecot, user: str) -> None:
    source = reader(dovecot, user)
    dovecot.put(user, "m1", mail(1))
    cursor = (await source.fetch("")).cursor
    with trio.move_on_after(0.05) as scope:
        await source.fetch(cursor)
    assert scope.cancelled_caught
    dovecot.put(user, "m2", mail(2))
    assert texts(await source.fetch(cursor)) == ["Thank you 2"]
    await source.aclose()


async def test_a_probe_says_what_the_server_can(dovecot: Dovecot, user: str) -> None:
    dovecot.put(user, "m1", mail(1))
    for security, port in (("none", dovecot.port), ("starttls", dovecot.port), ("tls", dovecot.tls_port)):
        source = reader(dovecot, user, security=security, port=port, context=dovecot.context())
        assert await source.probe() == Probe(mails=1, idles=True, moves=True)


async def test_a_mailbox_is_tested_by_its_name(
    dovecot: Dovecot, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dovecot.put(user, "m1", mail(1))
    monkeypatch.setenv("IMAP_PASSWORD", PASSWORD)
    table = {"host": "localhost", "port": dovecot.tls_port, "username": user}
    secret = {"password": {"env": "IMAP_PASSWORD"}}
    shutil.copy(dovecot.ca_file, tmp_path / "ca.pem")
    (tmp_path / "hubd.toml").write_text(
        tomlkit.dumps(
            {"mailboxes": {"bounces": {**table, **secret, "ca_file": "ca.pem"}, "other": {**table, **secret}}}
        )
    )
    config = load_config(tmp_path / "hubd.toml")
    async with (
        open_hub(tmp_path, probe_mailbox=partial(probe, config, time.time)) as served,
        open_client(served.path) as hub,
    ):
        found = await hub.call("mailbox.test", name="bounces")
        assert found == {"ok": True, "text": "", "person": False, "mails": 1, "idle": True, "move": True}
        found = await hub.call("mailbox.test", name="other")  # its certificate is not that of the system
        assert (found["ok"], found["person"]) == (False, True)
        assert "certificate" in found["text"]
        with pytest.raises(HubError) as caught:
            await hub.call("mailbox.test", name="nobody")
        assert caught.value.code == "mailbox_not_found"
        (tmp_path / "ca.pem").write_text("no certificate")
        with pytest.raises(HubError, match=r"the ca_file .*/ca\.pem cannot be used: "):
            await hub.call("mailbox.test", name="bounces")
    assert [path.name for path in dovecot.maildir(user).glob("cur/*S*")] == []


async def unreadable() -> str:
    raise CredentialMissing("file imap.pass: there is no such file")


async def wrong() -> str:
    return "wrong"


async def test_what_a_person_has_to_do_is_told_apart_from_what_passes(dovecot: Dovecot, user: str) -> None:
    settings = reader(dovecot, user).settings

    async def problem(read: Callable[[], Awaitable[str]] = password, **changes: object) -> tuple[str, object]:
        made = replace(settings, **changes)  # type: ignore[arg-type]
        with pytest.raises(SourceUnavailable) as caught:
            await Mailbox("bounces", made, time.time, read).fetch("")
        assert user not in str(caught.value)
        assert PASSWORD not in str(caught.value)
        return str(caught.value), caught.value.data["person"]

    text, person = await problem(wrong)
    assert "refused the login" in text
    assert person
    text, person = await problem(unreadable)
    assert "there is no such file" in text
    assert person
    text, person = await problem(folder="Nowhere")
    assert "the folder Nowhere cannot be opened" in text
    assert person
    text, person = await problem(security="tls", port=dovecot.tls_port, context=ssl.create_default_context())
    assert "the certificate is not accepted" in text
    assert person
    text, person = await problem(host="127.0.0.2", port=1)
    assert not person


# -- servers that are not as they should be ------------------------------------------------------------------

Say = Callable[[bytes], Awaitable[None]]
Script = Callable[[bytes, list[bytes], Say], Awaitable[bool]]
CAPABILITIES = b"IMAP4rev1 IDLE MOVE AUTH=XOAUTH2"


@asynccontextmanager
async def scripted(
    script: Script, capabilities: bytes = CAPABILITIES
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers as the script does, and as an empty mailbox where that returns False.

    Yields its port and the commands that it was given, without their tags.
    """
    given: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        held = b""
        try:
            await stream.send_all(b"* OK hello\r\n")
            while True:
                while b"\r\n" not in held:
                    if not (more := await stream.receive_some()):
                        return
                    held += more
                line, _, held = held.partition(b"\r\n")
                tag, _, command = line.partition(b" ")
                given.append(command or tag)
                if await script(command or tag, [tag], stream.send_all):
                    continue
                await stream.send_all(usual(command, capabilities) + tag + b" OK done\r\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1], given
        nursery.cancel_scope.cancel()


def usual(command: bytes, capabilities: bytes) -> bytes:
    word = command.split(b" ")[0].upper()
    if word == b"CAPABILITY":
        return b"* CAPABILITY " + capabilities + b"\r\n"
    if word == b"SELECT":
        return b"* 1 EXISTS\r\n* OK [UIDVALIDITY 5] ok\r\n* OK [UIDNEXT 2] ok\r\n"
    if word == b"UID" and b"SEARCH" in command:
        return b"* SEARCH 1\r\n"
    return b""


def at(port: int, **made: object) -> Mailbox:
    settings = MailboxSettings(host="127.0.0.1", port=port, security="none", username="u")
    return Mailbox("bounces", settings, time.time, password, **made)  # type: ignore[arg-type]


async def refusal(script: Script) -> SourceUnavailable:
    async with scripted(script) as (port, _):
        with pytest.raises(SourceUnavailable) as caught:
            await at(port).fetch("5:0")
        return caught.value


async def test_a_literal_of_four_gigabytes_is_not_read() -> None:
    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        if b"FETCH" in command:
            await say(b"* 1 FETCH (UID 1 BODY[]<0> {4294967296}\r\n")
            return True
        return False

    assert "MB at once" in str(await refusal(script))


@pytest.mark.parametrize("command", [b"SELECT", b"UID SEARCH", b"UID FETCH"])
async def test_answers_without_end_are_not_read(command: bytes) -> None:
    async def script(given: bytes, tag: list[bytes], say: Say) -> bool:
        if not given.startswith(command):
            return False
        for _ in range(2 * MOST_ANSWER // 50_000):
            await say(b"* OK " + b"x" * 49_990 + b"\r\n")
        return True

    assert "MB at once" in str(await refusal(script))


@pytest.mark.parametrize(
    "answer",
    [
        b"* 1 FETCH (UID one RFC822.SIZE {2}\r\n\r\n)\r\n",
        b"* 1 FETCH ((((((\r\n",
        b"\xff\xfe\r\n",
        b'* 1 FETCH (UID 1 INTERNALDATE "no date" RFC822.SIZE -5)\r\n',
        b"+ go on\r\n",
        b"* BYE\r\n",
    ],
)
async def test_answers_that_are_none_do_no_harm(answer: bytes) -> None:
    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        if b"FETCH" in command:
            await say(answer + tag[0] + b" OK done\r\n")
            return True
        return False

    async with scripted(script, b"IMAP4rev1") as (port, _):
        source, found = at(port), []
        with suppress(SourceUnavailable):
            found = list((await source.fetch("5:0")).items)
        await source.aclose()
        assert not [item for item in found if item.text]


async def test_a_server_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "_STEP_SECONDS", 0.2)
    monkeypatch.setattr(mailbox, "CONNECT_SECONDS", 0.0)

    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        return b"SELECT" in command or command == b"DONE"

    problem = await refusal(script)
    assert "does not answer" in str(problem)
    assert not problem.data["person"]


async def test_silence_in_idle_ends_when_it_is_to_be_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "renewal", lambda name: 0.05)
    tags: list[bytes] = []

    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        if command == b"IDLE":
            tags.append(tag[0])
            await say(b"+ idling\r\n")
        elif command == b"DONE":
            await say(tags[-1] + b" OK done\r\n")
        elif command.startswith(b"UID SEARCH"):
            await say(b"* SEARCH\r\n" + tag[0] + b" OK done\r\n")
        else:
            return False
        return True

    async with scripted(script) as (port, given):
        source = at(port)
        found = await source.fetch("5:1")
        assert (found.items, found.cursor, found.wait) == ([], "5:1", PAUSE)
        assert given[-3:] == [b"IDLE", b"DONE", b'SELECT "INBOX"']
        await source.fetch("5:1")
        assert given.count(b"IDLE") == 2
        await source.aclose()


async def test_news_before_idle_begins_is_no_error_and_is_not_lost() -> None:
    arrived: list[bytes] = []

    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        if command == b"IDLE":
            arrived.append(tag[0])
            await say(b"* 2 EXISTS\r\n+ idling\r\n")
        elif command == b"DONE":
            await say(arrived[0] + b" OK done\r\n")
        elif command.startswith(b"SELECT"):
            next_uid = b"3" if arrived else b"2"
            await say(
                b"* OK [UIDVALIDITY 5] ok\r\n* OK [UIDNEXT %b] ok\r\n%b OK done\r\n" % (next_uid, tag[0])
            )
        elif b"SEARCH" in command:
            await say(b"* SEARCH 2\r\n" + tag[0] + b" OK done\r\n")
        elif b"INTERNALDATE" in command:
            await say(b'* 1 FETCH (UID 2 INTERNALDATE "30-Nov-2026 10:00:00 +0000" RFC822.SIZE 9)\r\n')
            await say(tag[0] + b" OK done\r\n")
        elif b"FETCH" in command:
            await say(b"* 1 FETCH (UID 2 BODY[]<0> {9}\r\n\r\nhello\r\n)\r\n" + tag[0] + b" OK done\r\n")
        else:
            return False
        return True

    async with scripted(script) as (port, _):
        source = at(port)
        found = await source.fetch("5:1")
        assert texts(found) == ["hello"]
        assert found.cursor == "5:2"
        assert found.items[0].at == 1_796_032_800.0
        await source.aclose()


async def test_without_idle_it_is_looked_at_once_a_minute() -> None:
    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        return False

    async with scripted(script, b"IMAP4rev1") as (port, given):
        source = at(port)
        found = await source.fetch("5:1")
        assert found.wait == POLL
        assert b"IDLE" not in given
        assert await source.probe() == Probe(mails=1, idles=False, moves=False)
        await source.aclose()


async def test_a_refused_access_token_is_replaced_once() -> None:
    asked: list[str] = []

    async def token(refused: str) -> str:
        asked.append(refused)
        return f"token {len(asked)}"

    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        if not command.startswith(b"AUTHENTICATE XOAUTH2") and tag[0] != command:
            return False
        if command.startswith(b"AUTHENTICATE"):
            await say(b"+ \r\n")
            script.tag = tag[0]  # type: ignore[attr-defined]
        else:
            good = b" OK in" if len(asked) > 1 else b" NO [AUTHENTICATIONFAILED] expired"
            await say(script.tag + good + b"\r\n")  # type: ignore[attr-defined]
        return True

    async with scripted(script, b"IMAP4rev1 AUTH=XOAUTH2") as (port, _):
        source = at(port, access_token=token)
        assert (await source.fetch("5:1")).wait == POLL
        assert asked == ["", "token 1"]
        await source.aclose()


@pytest.mark.parametrize(
    ("words", "person"), [(b"[UNAVAILABLE] later", False), (b"[AUTHENTICATIONFAILED] no", True)]
)
async def test_a_refusal_that_passes_needs_nobody(words: bytes, person: bool) -> None:
    async def script(command: bytes, tag: list[bytes], say: Say) -> bool:
        if command.startswith(b"LOGIN"):
            await say(tag[0] + b" NO " + words + b"\r\n")
            return True
        return False

    assert (await refusal(script)).data["person"] is person


def test_idle_is_renewed_within_five_to_nine_minutes() -> None:
    times = {renewal(f"m{number}") for number in range(100)}
    assert min(times) >= 300
    assert max(times) < 540
    assert len(times) > 50


def test_cursors() -> None:
    assert Place.parse(str(Place(5, 7))) == Place(5, 7)
    for bad in ("", "5", "5:", ":7", "a:b", "5:7:9", "-1:2", "٣:1"):
        assert Place.parse(bad) is None
