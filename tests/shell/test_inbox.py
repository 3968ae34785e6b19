"""The inbox on the real store, and what sending has to do with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hubd.control.inbox_methods import UNKNOWN_RECIPIENT, item_view
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.ledger import Rejection
from hubd.core.model import CampaignState, Channel, DeliveryState
from hubd.core.tokens import Purpose, Tokens
from hubd.errors import Conflict, NotFound
from hubd.store.database import Database
from hubd.store.forgetting import erase
from hubd.store.housekeeping import tidy
from hubd.store.inbox import AT_ONCE, Inbox
from tests.shell.conftest import Store, close_entry, open_entry

D, K = DeliveryState, ItemKind
SOURCE = "mailbox bounces"


@pytest.fixture
async def inbox(database: Database) -> Inbox:
    return Inbox(database, Tokens(database.install_key))


@pytest.fixture
async def about(database: Database) -> Callable[..., Reference]:
    tokens = Tokens(database.install_key)

    def refer(delivery: int, **values: object) -> Reference:
        return Reference(token=tokens.of(Purpose.BOUNCE, delivery), **values)  # type: ignore[arg-type]

    return refer


def item(key: str, kind: ItemKind, reference: Reference, **values: object) -> Item:
    return Item(key=key, kind=kind, at=1_000.0, about=reference, **values)  # type: ignore[arg-type]


async def sent(store: Store, *people: str) -> list[int]:
    """Deliveries of a running campaign, all of them sent."""
    campaign = await store.running(*people)
    numbers = await store.ids(campaign)
    for number in numbers:
        await store.ledger.record([open_entry(number), close_entry(number)])
    return numbers


async def test_cursor_and_effects_are_one_unit_of_work(
    inbox: Inbox, store: Store, about: Callable[..., Reference], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = await sent(store, "ann", "bob")
    assert await inbox.cursor(SOURCE) == ""
    items = [item(str(n), K.DELIVERED, about(n)) for n in numbers]
    done = await inbox.book(SOURCE, items, "7:2")
    assert (dict(done.new), done.left) == ({K.DELIVERED: 2}, ())
    assert await inbox.cursor(SOURCE) == "7:2"
    (campaign,) = await store.campaigns.list()
    assert campaign.counts.delivered == 2
    await store.check_counters(campaign)

    broken = item("b", K.BOUNCE, about(numbers[0]), code=2**70)  # SQLite has no such number
    with pytest.raises(OverflowError):
        await inbox.book(SOURCE, [item("a", K.BOUNCE, about(numbers[1])), broken], "7:9")
    assert await inbox.cursor(SOURCE) == "7:2"
    assert await inbox.page() == [], "nothing of a unit of work that failed is there"


async def test_a_long_look_lets_messages_between_and_moves_the_cursor_at_its_end(
    inbox: Inbox, store: Store
) -> None:
    nobody = [item(str(n), K.BOUNCE, Reference()) for n in range(AT_ONCE + 1)]
    before = store.db.head_seq
    await inbox.book(SOURCE, nobody, "end")
    assert (await inbox.cursor(SOURCE), store.db.head_seq) == ("end", before)
    assert len(await inbox.page(kind="unmatched", limit=1_000)) == AT_ONCE + 1

    more = [item(f"more {n}", K.BOUNCE, Reference()) for n in range(AT_ONCE)]
    broken = item("broken", K.BOUNCE, Reference(), code=2**70)  # SQLite has no such number
    with pytest.raises(OverflowError):
        await inbox.book(SOURCE, [*more, broken], "later")
    assert await inbox.cursor(SOURCE) == "end", "what was not booked is read again"


async def test_a_mailbox_with_another_name_is_read_again_to_no_further_effect(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    numbers = await sent(store, "ann", "bob")
    items = [item(str(n), kind, about(n)) for n, kind in zip(numbers, (K.REPLY, K.BOUNCE), strict=True)]
    await inbox.book("mailbox bounces", items, "7:2")
    told = store.db.head_seq
    done = await inbox.book("mailbox returns", items, "7:2")
    assert (dict(done.new), store.db.head_seq) == ({}, told)
    assert len(await inbox.page()) == 2
    (campaign,) = await store.campaigns.list()
    await store.check_counters(campaign)
    await inbox.book("provider text", items[:1], "1")
    assert len(await inbox.page()) == 3, "another kind of source has keys of its own"


async def test_what_fits_no_message_yet_is_left(inbox: Inbox, store: Store, database: Database) -> None:
    young = Item(key="1", kind=K.DELIVERED, at=2e9, about=Reference(provider_ids=("SM1",)))
    done = await inbox.book(SOURCE, [young], "c", leave_for=60.0)
    assert done.left == ("1",)
    assert (await inbox.book(SOURCE, [young], "c")).left == ()


async def test_pages_are_of_a_campaign_and_of_a_kind_the_newest_first(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    ann, bob = await sent(store, "ann", "bob")
    (campaign,) = await store.campaigns.list()
    await inbox.book(
        SOURCE,
        [
            item("1", K.BOUNCE, about(ann), enhanced="5.2.2", words="552 5.2.2 <ann@example.com>: full"),
            item("2", K.REPLY, about(bob, address="bob@example.com"), text="Hello", subject="Re: Hi"),
            item("3", K.COMPLAINT, Reference(address="else@example.com")),
            item("4", K.AUTOMATIC, about(bob)),
        ],
        "c",
    )
    assert [row.kind for row in await inbox.page()] == [K.COMPLAINT, K.REPLY, K.BOUNCE]
    assert [row.id for row in await inbox.page(campaign.id)] == [2, 1]
    assert [row.id for row in await inbox.page(kind="reply")] == [2]
    assert [row.id for row in await inbox.page(kind="unmatched")] == [3]
    assert [row.id for row in await inbox.page(before=2, limit=1)] == [1]
    bounce = await inbox.get(1)
    assert (bounce.campaign, bounce.words, bounce.reason) == (
        "spring-sale",
        "552 5.2.2 <***@example.com>: full",
        "mailbox_full",
    )
    with pytest.raises(NotFound):
        await inbox.get(9)


async def test_a_reply_that_may_be_an_opt_out_holds_messages_until_somebody_decides(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    (first,) = await sent(store, "ann")
    reply = item("1", K.REPLY, about(first, address="ann@example.com"), text="how do I stop this?")
    await inbox.book(SOURCE, [reply], "c")
    second = await store.running("ann", name="second")
    (waiting,) = await store.ids(second)
    assert await store.ledger.record([open_entry(waiting)]) == [Rejection(why="held")]
    assert await store.ledger.due(second.id, 1_001.0, 10) == []
    assert await store.states(second) == [D.PENDING]
    assert await inbox.waiting() == 1

    assert await store.db.write(inbox.deciding(1, "continue")) is True
    assert await store.db.write(inbox.deciding(1, "continue")) is False
    assert [row.id for row in await store.ledger.due(second.id, 1_001.0, 10)] == [waiting]
    assert await store.ledger.record([open_entry(waiting)]) == [None]
    assert await inbox.waiting() == 0
    with pytest.raises(Conflict):
        await store.db.write(inbox.deciding(1, "opt_out"))


async def test_a_person_may_read_an_opt_out_in_any_reply(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    (first,) = await sent(store, "ann")
    await inbox.book(
        SOURCE, [item("1", K.REPLY, about(first, address="ann@home.example"), text="I moved")], "c"
    )
    second = await store.running("ann", name="second")
    await store.db.write(inbox.deciding(1, "opt_out"))
    assert await store.states(second) == [D.SKIPPED]
    addresses = {each.address: each.reason for each in await store.contacts.suppressions()}
    assert addresses == {"ann@example.com": "opted_out", "ann@home.example": "opted_out"}
    counted = await store.db.read(
        lambda db: db.execute("SELECT sum(n_replies), sum(n_opt_outs) FROM campaign_count").fetchone()
    )
    assert tuple(counted) == (1, 1)
    assert "reply.decided" in await store.types()


async def test_what_else_a_person_wrote_is_decided_with_their_opt_out(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    ann, work, bob = await sent(store, "ann", "ann-at-work", "bob")
    unclear = "how do I stop this?"
    items = [
        item("1", K.REPLY, about(ann, address="ann@home.example"), text=unclear),
        item("2", K.REPLY, about(work, address="ann@home.example"), text=unclear),
        item("3", K.REPLY, about(work, address="ann-at-work@example.com"), text=unclear),
        item("4", K.REPLY, about(bob, address="bob@example.com"), text=unclear),
    ]
    await inbox.book(SOURCE, items, "c")
    assert await inbox.waiting() == 4
    await store.db.write(inbox.deciding(1, "opt_out"))
    assert [row.id for row in await inbox.page(kind="waiting")] == [4]
    theirs = {"ann@example.com", "ann@home.example", "ann-at-work@example.com"}
    assert await suppressed(store) == dict.fromkeys(theirs, "opted_out")
    told = [each.data for each in await store.events.page(0, 1_000) if each.type == "reply.decided"]
    assert sorted((each["item"], each["decision"]) for each in told) == [(n, "opt_out") for n in (1, 2, 3)]
    assert await store.db.write(inbox.deciding(2, "opt_out")) is False

    stop = item("5", K.REPLY, about(bob, address="bob@example.com"), text="STOP")
    await inbox.book(SOURCE, [stop], "d")
    assert await inbox.waiting() == 0
    told = [each.data for each in await store.events.page(0, 1_000) if each.type == "reply.decided"]
    assert (len(told), told[-1]["item"]) == (4, 4)


async def test_a_late_answer_to_a_message_that_came_back_is_noted(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann)])
    await inbox.book(SOURCE, [item("1", K.DELIVERED, about(ann))], "c")
    assert await store.states(campaign) == [D.DELIVERED]
    answer = close_entry(ann, stage="request", provider_id="SM1", code=201)
    assert await store.ledger.record([answer]) == [None]
    life = await store.ledger.message(ann)
    assert (life.delivery.state, life.delivery.provider_id, life.delivery.attempts) == (D.DELIVERED, "SM1", 1)
    (attempt,) = life.attempts
    assert (attempt.outcome, attempt.provider_id, attempt.code) == ("sent", "SM1", 201)
    await store.check_counters(campaign)


async def test_a_second_answer_to_an_ordinary_message_is_still_refused(store: Store) -> None:
    (ann,) = await sent(store, "ann")
    with pytest.raises(Conflict):
        await store.ledger.record([close_entry(ann)])


async def test_what_a_removed_contact_wrote_is_erased(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    (ann,) = await sent(store, "ann")
    reply = item(
        "1", K.REPLY, about(ann, address="ann@example.com"), text="Secret", sender="Ann <ann@example.com>"
    )
    await inbox.book(SOURCE, [reply], "c")
    await store.db.write(store.contacts.removing("ann@example.com"))
    (row,) = await inbox.page()
    assert (row.kind, row.text, row.sender, row.address_key) == (K.REPLY, "", "", "")


async def test_what_comes_back_to_an_erased_recipient_suppresses_and_holds_nobody_else(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    (ann,) = await sent(store, "ann")
    await store.db.write(lambda unit: erase(unit, [ann]))
    items = [
        item("1", K.BOUNCE, about(ann), enhanced="5.1.1"),
        item("2", K.BOUNCE, about(ann), enhanced="5.2.2"),
        item("3", K.DELIVERED, about(ann)),
        item("4", K.REPLY, about(ann, address="ann@home.example"), text="I moved"),
    ]
    await inbox.book(SOURCE, items, "c")
    rows = await inbox.page()
    assert [row.delivery_id for row in rows] == [ann] * 3
    assert await store.contacts.suppressions() == []
    for table in ("soft_bounce", "held_address"):
        found = await store.db.read(lambda db, table=table: db.execute(f"SELECT * FROM {table}").fetchall())
        assert found == []


@pytest.fixture
async def link(database: Database) -> Callable[[int], Reference]:
    tokens = Tokens(database.install_key)
    return lambda delivery: Reference(token=tokens.of(Purpose.UNSUBSCRIBE, delivery))


async def suppressed(store: Store) -> dict[str, str]:
    return {each.address: each.reason for each in await store.contacts.suppressions()}


@pytest.mark.parametrize("how", ["erased", "deleted", "forgotten", "came again"])
async def test_a_link_unsubscribes_whoever_it_was_sent_to_though_their_message_says_so_no_more(
    inbox: Inbox, store: Store, link: Callable[[int], Reference], how: str
) -> None:
    ann, bob = await sent(store, "ann", "bob")
    (campaign,) = await store.campaigns.list()
    if how == "erased":
        await store.db.write(lambda unit: erase(unit, [ann, bob]))
    elif how == "deleted":
        await store.move(campaign, CampaignState.STOPPED)
        await store.campaigns.delete(campaign.name)
    else:
        await store.db.write(store.contacts.forgetting("ann@example.com", ["ann@example.com"]))
    if how == "came again":
        await store.people("ann", list_name="again")
    for _ in range(2):  # the second press of the button changes nothing, and is told the same
        done = await inbox.book("listener", [item("u/1", K.OPT_OUT, link(ann))], "")
        assert done.nobody == ()
    if how == "forgotten":
        assert await suppressed(store) == {}, "nobody has the address now"
        await store.people("ann", list_name="again")
    assert await suppressed(store) == {"ann@example.com": "opted_out"}


async def test_who_pressed_the_button_may_be_allowed_again(
    inbox: Inbox, store: Store, link: Callable[[int], Reference]
) -> None:
    (ann,) = await sent(store, "ann")
    await store.db.write(store.contacts.forgetting("ann@example.com", ["ann@example.com"]))
    await inbox.book("listener", [item("u/1", K.OPT_OUT, link(ann))], "")
    assert await store.db.write(store.contacts.unsuppressing(Channel.EMAIL, "ann@example.com"))
    await store.people("ann", list_name="again")
    assert await suppressed(store) == {}


async def test_a_link_of_which_nothing_tells_whose_it_is_says_so(
    inbox: Inbox, store: Store, link: Callable[[int], Reference]
) -> None:
    (ann,) = await sent(store, "ann")
    await store.db.write(lambda unit: erase(unit, [ann]))
    now = store.db.steady()
    assert (await tidy(store.db, now=now + 364 * 86_400.0)).recipients == 0
    assert (await tidy(store.db, now=now + 366 * 86_400.0)).recipients == 1
    for _ in range(2):
        done = await inbox.book("listener", [item("u/1", K.OPT_OUT, link(ann))], "")
        assert done.nobody == ("u/1",)
    gone = await inbox.book("listener", [item("u/2", K.OPT_OUT, link(ann + 1))], "")
    assert gone.nobody == ("u/2",)
    assert await suppressed(store) == {}


async def test_who_replied_stop_or_complains_is_suppressed_though_their_message_was_erased(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    ann, bob, eve = await sent(store, "ann", "bob", "eve")
    await store.db.write(lambda unit: erase(unit, [ann, bob, eve]))
    items = [
        item("1", K.REPLY, about(ann, address="ann@home.example"), text="STOP"),
        item("2", K.COMPLAINT, about(bob)),
        item("3", K.REPLY, about(eve, address="eve@home.example"), text="no thanks"),
    ]
    await inbox.book(SOURCE, items, "c")
    await store.db.write(inbox.deciding(3, "opt_out"))
    assert await suppressed(store) == {
        "ann@example.com": "opted_out",
        "ann@home.example": "opted_out",
        "bob@example.com": "complaint",
        "eve@example.com": "opted_out",
        "eve@home.example": "opted_out",
    }


async def test_bounces_show_what_the_server_said(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    (ann,) = await sent(store, "ann")
    (campaign,) = await store.campaigns.list()
    said = item("1", K.BOUNCE, about(ann), enhanced="5.1.1", code=550, words="550 5.1.1 No such user")
    await inbox.book(SOURCE, [said], "c")
    (group,) = await store.ledger.failures(campaign.id)
    assert (group.state, group.reason, group.provider_reply) == (
        D.UNDELIVERED,
        "mailbox_unknown",
        "550 5.1.1 No such user",
    )
    (row,) = await store.ledger.deliveries(campaign.id, D.UNDELIVERED)
    assert (row.reason, row.code, row.provider_reply) == ("mailbox_unknown", 550, "550 5.1.1 No such user")
    assert [each.kind for each in await inbox.about(ann)] == [K.BOUNCE]


REPORTS: tuple[tuple[str, dict[str, object], str], ...] = (
    ("bounce", {"enhanced": "5.1.1"}, "mailbox_unknown"),
    ("complaint", {}, "complaint"),
)


@pytest.mark.parametrize(("kind", "values", "reason"), REPORTS)
@pytest.mark.parametrize("how", ["deleted", "forgotten"])
async def test_a_report_with_our_token_suppresses_to_whom_it_was_though_the_campaign_was_deleted(
    inbox: Inbox,
    store: Store,
    about: Callable[..., Reference],
    how: str,
    kind: str,
    values: dict[str, object],
    reason: str,
) -> None:
    ann, bob = await sent(store, "ann", "bob")
    (campaign,) = await store.campaigns.list()
    await store.move(campaign, CampaignState.STOPPED)
    await store.campaigns.delete(campaign.name)
    if how == "forgotten":
        await store.db.write(store.contacts.forgetting("ann@example.com", ["ann@example.com"]))
    reported = item("1", K(kind), about(ann, address="ann@example.com"), only_ours=True, **values)
    named = "" if K(kind) is K.BOUNCE else "victim@example.com"  # a stranger's word for whom it was to
    other = item("2", K(kind), about(bob, address=named), **values)
    await inbox.book(SOURCE, [reported, other], "c")
    if how == "forgotten":
        assert "ann@example.com" not in await suppressed(store), "nobody has the address now"
        await store.people("ann", list_name="again")
    assert await suppressed(store) == {"ann@example.com": reason, "bob@example.com": reason}
    rows = await inbox.page()
    assert {(row.delivery_id, row.matched_by) for row in rows} == {(None, "token")}
    assert not any("advice" in item_view(row) for row in rows)


async def test_no_report_about_a_deleted_message_suppresses_who_is_only_named(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    ann, bob = await sent(store, "ann", "bob")
    await store.people("victim", list_name="others")
    (campaign,) = await store.campaigns.list()
    await store.move(campaign, CampaignState.STOPPED)
    await store.campaigns.delete(campaign.name)
    token = about(ann).token
    forged = Reference(token=("b" if token[0] == "a" else "a") + token[1:], address="victim@example.com")
    to_link = Tokens(store.db.install_key).of(Purpose.UNSUBSCRIBE, bob)
    reports = [
        item("forwarded", K.BOUNCE, about(ann, address="victim@example.com"), enhanced="5.1.1"),
        item("passes", K.BOUNCE, about(ann, address="ann@example.com"), enhanced="5.2.2"),
        *(
            item(f"{kind} {n}", kind, reference, enhanced="5.1.1")
            for kind in (K.BOUNCE, K.COMPLAINT)
            for n, reference in enumerate(
                (
                    forged,
                    Reference(address="ann@example.com"),
                    Reference(token=to_link, address="bob@example.com"),
                )
            )
        ),
    ]
    await inbox.book(SOURCE, reports, "c")
    assert await suppressed(store) == {}


async def test_a_report_of_which_nothing_tells_to_whom_it_was_says_so_and_what_to_do(
    inbox: Inbox, store: Store, about: Callable[..., Reference]
) -> None:
    (ann,) = await sent(store, "ann")
    (campaign,) = await store.campaigns.list()
    await store.move(campaign, CampaignState.STOPPED)
    await store.campaigns.delete(campaign.name)
    await tidy(store.db, now=store.db.steady() + 366 * 86_400.0)
    reports = [
        item("1", K.COMPLAINT, about(ann, address="ann@example.com"), only_ours=True),
        item("2", K.BOUNCE, about(ann), enhanced="5.1.1"),
        item("3", K.BOUNCE, about(ann), enhanced="5.2.2"),
    ]
    await inbox.book(SOURCE, reports, "c")
    assert await suppressed(store) == {}
    views = [item_view(row) for row in reversed(await inbox.page())]
    assert [view["matched_by"] for view in views] == ["token_only"] * 3
    assert [view.get("advice") for view in views] == [UNKNOWN_RECIPIENT, UNKNOWN_RECIPIENT, None]
