"""The outbox: what a message becomes on the disk, and what happens when the disk does not want it."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.errors import ProviderUnavailable
from hubd.providers.outbox.transport import JOURNAL, OutboxTransport, folder_name, open_outbox

BODY = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n and more\r\nTo: x\r\n\r\n.\r\nSubject: not this\r\n"


def email(number: int = 1, payload: bytes = BODY, campaign: str = "spring") -> RenderedMessage:
    return RenderedMessage(
        delivery_id=number,
        channel=Channel.EMAIL,
        recipient="to@example.net",
        sender="from@example.org",
        message_id=f"<{number}@example.org>",
        payload=payload,
        campaign=campaign,
    )


def sms(number: int = 1, text: str = "Grüße 🎈", campaign: str = "texts") -> RenderedMessage:
    return RenderedMessage(
        delivery_id=number, channel=Channel.SMS, recipient="+15005550006", text=text, campaign=campaign
    )


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JOURNAL).read_bytes().splitlines()]


async def deliver(outbox: OutboxTransport, rendered: RenderedMessage) -> Answer:
    connection = outbox.connection()
    assert await connection.prepare(rendered) is None
    return await connection.deliver(rendered)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A disk that is full at that size, without being root: writes beyond it fail with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_an_email_is_a_file_and_a_line(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox")
    answer = await deliver(outbox, email(7))
    assert answer == Answer(
        stage=Stage.LOCAL, code=250, text="written to spring/7.eml", provider_id="spring/7.eml"
    )
    assert (tmp_path / "outbox" / "spring" / "7.eml").read_bytes() == BODY
    assert journal(tmp_path / "outbox" / "spring") == [
        {
            "delivery_id": 7,
            "channel": "email",
            "recipient": "to@example.net",
            "subject": "Grüße and more",
            "message_id": "<7@example.org>",
            "file": "7.eml",
        }
    ]


async def test_an_sms_is_its_text(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    assert (await deliver(outbox, sms(3))).provider_id == "texts/3.txt"
    assert (tmp_path / "texts" / "3.txt").read_text("utf-8") == "Grüße 🎈"
    assert journal(tmp_path / "texts") == [
        {"delivery_id": 3, "channel": "sms", "recipient": "+15005550006", "file": "3.txt"}
    ]


async def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "a" / "outbox")
    await deliver(outbox, email())
    folder = tmp_path / "a" / "outbox"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "spring").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / "spring").iterdir()} == {0o600}


async def test_the_same_delivery_twice_is_one_message(tmp_path: Path) -> None:
    """A retry in doubt overwrites: no second file and no second line, in this process or the next."""
    outbox = open_outbox(tmp_path)
    await deliver(outbox, email(1, b"first\r\n"))
    await deliver(outbox, email(1, b"second\r\n"))
    await deliver(open_outbox(tmp_path), email(1, b"third\r\n"))
    assert (tmp_path / "spring" / "1.eml").read_bytes() == b"third\r\n"
    assert [line["delivery_id"] for line in journal(tmp_path / "spring")] == [1]
    assert sorted(os.listdir(tmp_path / "spring")) == ["1.eml", JOURNAL]


@pytest.mark.parametrize("torn", [b"", b'{"delivery_id":1,"chan', b"x" * 10_000])
async def test_a_crash_between_the_file_and_its_line_is_made_up_for(tmp_path: Path, torn: bytes) -> None:
    """What a crash leaves: the file, and its line missing or half written."""
    outbox = open_outbox(tmp_path)
    await deliver(outbox, email(5))
    (tmp_path / "spring" / "1.eml").write_bytes(BODY)
    (tmp_path / "spring" / ".2.eml.new").write_bytes(b"half")
    with (tmp_path / "spring" / JOURNAL).open("ab") as lines:
        lines.write(torn)
    outbox = open_outbox(tmp_path)
    assert (await deliver(outbox, email(1))).code == 250
    assert (await deliver(outbox, email(2))).code == 250
    assert [line["delivery_id"] for line in journal(tmp_path / "spring")] == [5, 1, 2]
    assert sorted(os.listdir(tmp_path / "spring")) == ["1.eml", "2.eml", "5.eml", JOURNAL]


async def test_connections_deliver_at_the_same_time_and_nothing_is_lost(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    assert outbox.connections == 4
    rest = iter(range(200))

    async def work() -> None:
        connection = outbox.connection()
        for number in rest:
            rendered = email(number) if number % 2 else sms(number, campaign="spring")
            assert await connection.prepare(rendered) is None
            assert (await connection.deliver(rendered)).code == 250
        await connection.aclose()

    async with trio.open_nursery() as nursery:
        for _ in range(outbox.connections):
            nursery.start_soon(work)
    await outbox.aclose()
    assert sorted(line["delivery_id"] for line in journal(tmp_path / "spring")) == list(range(200))
    assert len(os.listdir(tmp_path / "spring")) == 201


async def test_a_cancelled_connection_leaves_the_others_alone(tmp_path: Path) -> None:
    """Whoever holds the disk writes for all that wait; a cancellation must not take their messages along."""
    outbox = open_outbox(tmp_path)
    answers: list[Answer] = []

    async def work(number: int) -> None:
        answers.append(await deliver(outbox, email(number)))

    async with trio.open_nursery() as survivors, trio.open_nursery() as cancelled:
        for number in range(10):
            (cancelled if number % 2 else survivors).start_soon(work, number)
        await trio.lowlevel.checkpoint()
        cancelled.cancel_scope.cancel()
    written = {int(path.stem) for path in (tmp_path / "spring").glob("*.eml")}
    assert {0, 2, 4, 6, 8} <= written
    assert {answer.code for answer in answers} == {250}
    assert {line["delivery_id"] for line in journal(tmp_path / "spring")} == written


async def test_a_full_disk_is_trouble_of_the_provider_and_passes(tmp_path: Path) -> None:
    """Nothing half written stays, and the same message goes through when there is enough disk space again."""
    outbox = open_outbox(tmp_path)
    assert (await deliver(outbox, email(1))).code == 250
    with files_no_larger_than(4096):
        answer = await deliver(outbox, email(2, b"x" * 10_000 + b"\r\n"))
        assert (answer.stage, answer.signal, answer.code) == (Stage.LOCAL, Signal.DROPPED, 0)
        assert os.strerror(errno.EFBIG) in answer.text
        assert sorted(os.listdir(tmp_path / "spring")) == ["1.eml", JOURNAL]
        assert (await deliver(outbox, email(3))).code == 250
    assert (await deliver(outbox, email(2))).code == 250
    assert [line["delivery_id"] for line in journal(tmp_path / "spring")] == [1, 3, 2]


async def test_a_journal_that_cannot_grow_is_trouble_too_and_is_not_torn(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    number = 0
    with files_no_larger_than(777):  # in the middle of a line
        while (answer := await deliver(outbox, email(number))).code == 250:
            number += 1
    assert (answer.stage, answer.signal) == (Stage.LOCAL, Signal.DROPPED)
    assert [line["delivery_id"] for line in journal(tmp_path / "spring")] == list(range(number))
    assert (await deliver(outbox, email(number))).code == 250
    assert [line["delivery_id"] for line in journal(tmp_path / "spring")] == list(range(number + 1))


async def test_one_message_that_cannot_be_written_does_not_fail_its_neighbours(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    answers: dict[int, Answer] = {}

    async def work(number: int) -> None:
        payload = b"x" * 10_000 + b"\r\n" if number == 2 else BODY
        answers[number] = await deliver(outbox, email(number, payload))

    with files_no_larger_than(4096):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(work, number)
    assert [answers[number].code for number in range(5)] == [250, 250, 0, 250, 250]


async def test_a_folder_that_went_away_is_made_again(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    await deliver(outbox, email(1))
    for path in (tmp_path / "spring").iterdir():
        path.unlink()
    (tmp_path / "spring").rmdir()
    assert (await deliver(outbox, email(2))).code == 250


async def test_a_probe_tells_whether_files_can_be_written(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox")
    assert (await outbox.probe()).code == 250
    assert os.listdir(tmp_path / "outbox") == []
    (tmp_path / "outbox").rmdir()
    answer = await outbox.probe()
    assert (answer.stage, answer.signal) == (Stage.LOCAL, Signal.DROPPED)


def test_a_place_that_cannot_be_a_directory_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProviderUnavailable, match="outbox directory"):
        open_outbox(tmp_path / "file")


async def test_the_outbox_says_what_it_is(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    assert (outbox.name, outbox.kind, outbox.in_doubt) == ("outbox", "outbox", InDoubt.RETRY)
    assert outbox.channels == frozenset(Channel)


@given(st.text(st.characters(exclude_categories=[])))
def test_no_campaign_name_leads_out_of_the_outbox(name: str) -> None:
    folder = folder_name(name)
    assert folder
    assert not folder.startswith(".")
    assert "/" not in folder
    assert "\0" not in folder
    assert len(folder.encode()) <= 255


@pytest.mark.parametrize("name", ["spring-sale", "a.b_c", "~outbox"])
def test_an_ordinary_campaign_name_is_its_folders_name(name: str) -> None:
    assert folder_name(name) == name


async def test_a_campaign_called_dot_dot_stays_inside(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox")
    assert (await deliver(outbox, email(campaign="../../evil"))).code == 250
    assert (await deliver(outbox, email(campaign=".."))).code == 250
    assert os.listdir(tmp_path) == ["outbox"]
    assert len(os.listdir(tmp_path / "outbox")) == 2
