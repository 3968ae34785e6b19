"""What is rendered, encoded and compiled exists once, and not more of it than there is memory for."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from weakref import ref

import trio
import trio.testing

from hubd.core.compose import content_hash
from hubd.core.ledger import Open
from hubd.core.model import (
    Answer,
    Attachment,
    CampaignState,
    Channel,
    Content,
    DeliveryState,
    Kind,
    RenderedMessage,
)
from hubd.engine.plan import RenderBudget, TemplateCache
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.engine_world import world

MIB = 1024 * 1024
FILE = Attachment(name="a.bin", type="application/octet-stream", sha256="aa", size=MIB)
CONTENT = Content(
    channel=Channel.EMAIL,
    kind=Kind.TRANSACTIONAL,
    sender="Acme <news@acme.example>",
    subject="Hi",
    text="Hello",
    attachments=(FILE,),
)


class Contents:
    """Contents by number, whose attachments are read one after the other, and slowly."""

    def __init__(self, *contents: Content) -> None:
        self.contents = dict(enumerate(contents, 1))
        self.read: list[str] = []

    async def content(self, content_id: int) -> Content:
        await trio.lowlevel.checkpoint()
        return self.contents[content_id]

    async def blob(self, sha256: str) -> bytes:
        self.read.append(sha256)
        await trio.testing.wait_all_tasks_blocked()
        return sha256.encode() * (MIB // 2)


def differing(count: int) -> list[Content]:
    return [replace(CONTENT, text=f"Hello {n}") for n in range(count)]


async def test_whoever_asks_at_the_same_time_gets_the_same_plan() -> None:
    contents = Contents(CONTENT, CONTENT)
    cache = TemplateCache(contents, b"key")
    plans = []

    async def ask(number: int) -> None:
        plans.append(await cache.get(number))

    async with trio.open_nursery() as nursery:
        for number in (1, 2) * 12:
            nursery.start_soon(ask, number)
    assert len({id(plan) for plan in plans}) == 1
    assert contents.read == ["aa"]
    assert (await cache.of(CONTENT)) is plans[0]


async def test_an_attachment_of_several_contents_is_read_and_encoded_once() -> None:
    contents = Contents(*differing(3))
    cache = TemplateCache(contents, b"key")
    plans = [await cache.get(number) for number in (1, 2, 3)]
    assert contents.read == ["aa"]
    assert len({plan.content_hash for plan in plans}) == 3
    assert len({id(plan.encoded[0]) for plan in plans}) == 1


async def test_fifty_campaigns_with_attachments_are_each_compiled_once() -> None:
    files = [replace(FILE, sha256=f"a{n % 25}") for n in range(50)]  # each is in two campaigns
    body = "{{ name }}" + "é é é\n" * 4_000
    contents = Contents(
        *(replace(CONTENT, text=f"{n}{body}", html=body, attachments=(f,)) for n, f in enumerate(files))
    )
    cache = TemplateCache(contents, b"key")
    first = [ref(await cache.get(number)) for number in range(1, 51)]
    for _ in range(3):
        for number, plan in enumerate(first, 1):
            assert await cache.get(number) is plan()
    assert sorted(contents.read) == sorted(file.sha256 for file in files[:25])


async def test_plans_of_one_off_messages_are_kept_up_to_their_bytes() -> None:
    """Each has a content of its own, of which nobody will ask again."""
    text = "x" * 100_000
    contents = Contents(*(replace(CONTENT, attachments=(), text=text, subject=f"{n}") for n in range(150)))
    cache = TemplateCache(contents, b"key")
    plans = [ref(await cache.get(number)) for number in range(1, 151)]
    kept = [plan for plan in plans if plan() is not None]
    assert kept == plans[-len(kept) :]
    assert 32 < len(kept) < TemplateCache.PLAN_BYTES / len(text)


async def test_room_for_attachments_is_made_by_plans_that_have_some() -> None:
    contents = Contents(
        replace(CONTENT, attachments=()), CONTENT, replace(CONTENT, attachments=(replace(FILE, sha256="ab"),))
    )
    cache = TemplateCache(contents, b"key")
    cache.BYTES = 2 * MIB  # one of them, encoded
    plans = [ref(await cache.get(number)) for number in (1, 2, 3)]
    assert [plan() is not None for plan in plans] == [True, False, True]


async def test_a_plan_that_somebody_holds_is_not_compiled_again() -> None:
    contents = Contents(CONTENT, replace(CONTENT, attachments=(replace(FILE, sha256="ab"),)))
    cache = TemplateCache(contents, b"key")
    cache.BYTES = 0
    held = await cache.get(1)
    await cache.get(2)
    assert await cache.get(1) is held
    assert contents.read == ["aa", "ab"]


async def test_plans_are_forgotten_by_their_bytes_and_the_one_in_use_never() -> None:
    files = [replace(FILE, sha256=f"a{n}") for n in range(4)]
    contents = Contents(*(replace(CONTENT, attachments=(file,)) for file in files))
    cache = TemplateCache(contents, b"key")
    cache.BYTES = 3 * MIB  # two of them, encoded
    first, second = ref(await cache.get(1)), ref(await cache.get(2))
    assert await cache.get(1) is first()
    third = ref(await cache.get(3))
    assert second() is None, "the first was used later"
    assert await cache.get(1) is first()
    cache.BYTES = 0
    last = ref(await cache.get(4))
    assert (first(), third()) == (None, None)
    assert await cache.get(4) is last()
    assert content_hash(contents.contents[1]) == (await cache.get(1)).content_hash


async def test_not_more_messages_are_rendered_at_once_than_the_budget_allows_and_all_are_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Messages of 300 kB each: the text is the recipient's own."""
    store = FakeStore()
    most = 0

    def answer(rendered: RenderedMessage) -> Answer:
        nonlocal most
        most = max(most, here.supervisor._context.rendered.used)
        return ACCEPTED

    transport = FakeTransport(connections=16, latency=1.0, answer=answer)
    content = replace(CONTENT, attachments=(), text="x" * 300_000)
    campaign = store.add_campaign("large", 100, content)
    async with world(store, transport) as here:
        budget = here.supervisor._context.rendered
        budget.BYTES = 1_000_000
        campaign = await here.ended(campaign)
        assert budget.used == 0
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 100}
    assert 1_000_000 <= most < 1_000_000 + 400_000
    assert 1 < transport.most_busy <= 4


async def test_a_message_above_the_whole_budget_goes_alone(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8, latency=1.0)
    campaign = store.add_campaign("large", 20, replace(CONTENT, attachments=(), text="x" * 300_000))
    async with world(store, transport) as here:
        here.supervisor._context.rendered.BYTES = 1
        campaign = await here.ended(campaign)
    assert store.states(campaign.id) == {DeliveryState.SENT: 20}
    assert transport.most_busy == 1


async def test_what_a_worker_holds_is_given_back_when_it_is_cancelled() -> None:
    budget, freed = RenderBudget(), []
    budget.when_freed(lambda: freed.append(budget.used))
    with trio.CancelScope() as scope, budget.hold() as held:
        held.add(budget.BYTES)
        assert budget.full
        scope.cancel()
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert budget.used == 0
    assert freed == [0], "whoever waits for it is told"


async def test_an_attempt_has_the_date_of_its_email(autojump_clock: trio.testing.MockClock) -> None:
    """With which it is shown again as it was sent, however long the one before it was on the wire."""
    dates: dict[int, float] = {}

    def answer(rendered: RenderedMessage) -> Answer:
        date = message_from_bytes(rendered.payload)["Date"]
        dates[rendered.delivery_id] = parsedate_to_datetime(date).timestamp()
        return ACCEPTED

    store = FakeStore()
    campaign = store.add_campaign("all", 4, replace(CONTENT, attachments=()))
    async with world(store, FakeTransport(connections=1, latency=1.7, answer=answer)) as here:
        assert (await here.ended(campaign)).state is CampaignState.COMPLETED
    opened = {entry.delivery_id: entry.at for entry in store.entries if isinstance(entry, Open)}
    assert len(opened) == 4
    assert {number: float(int(at)) for number, at in opened.items()} == dates
