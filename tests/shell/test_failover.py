"""A campaign with several providers: the next one sends what those before it certainly did not accept."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from hubd.client import Client, open_client
from hubd.config.file import load_config
from hubd.core.model import Answer, DeliveryState
from hubd.core.spec import spec_from_json, spec_json
from hubd.core.spec_reading import parse_spec
from hubd.engine import failover
from hubd.engine.failover import Failover
from hubd.engine.providers import Providers
from hubd.engine.worker import IDLE
from hubd.errors import BadInput
from hubd.provider_specs import provider_specs
from hubd.providers import registry
from hubd.store.database import Database
from tests.fakes import ACCEPTED, FakeTransport
from tests.shell.breaker_crew import make_spec
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.open_hub import PERSONAL, open_hub
from tests.shell.raw_http import Peer, Seen, answer, serve_http
from tests.shell.test_methods import import_people, until

TAKEN = answer("202 OK", b"")
REFUSED = answer("401 Unauthorized", b'{"word": "", "text": "wrong whistle"}')


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.KINDS, "pigeon", "tests.shell.pigeon")
    for name in ("FAIL_OVER_AFTER", "LOOK_EVERY", "TRY_EVERY"):
        monkeypatch.setattr(failover, name, 0.1)


class Loft:
    """A provider whose answers a test decides."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.accepted: Counter[str] = Counter()
        self.broken = False
        self.takes = 10**9  #: so many letters before it refuses its own account
        self.lost: set[str] = set()  #: whose answer is lost, after the letter was accepted

    async def __call__(self, peer: Peer) -> None:
        while True:
            seen = await peer.request()
            if self.broken:
                peer.close()
                return
            if not await self._answer(peer, seen):
                return

    async def _answer(self, peer: Peer, seen: Seen) -> bool:
        roof = seen.headers.get("x-roof", "")
        if not roof:
            await peer.say(answer("200 OK", b""))
            return True
        if sum(self.accepted.values()) >= self.takes:
            await peer.say(REFUSED)
            return True
        self.accepted[roof] += 1
        if roof in self.lost:
            peer.close()
            return False
        await peer.say(TAKEN)
        return True


@asynccontextmanager
async def hub_with(
    tmp_path: Path, urls: Sequence[str], people: int = 12, without_secret: str = "", **keys: Any
) -> AsyncIterator[Client]:
    """A hub with lofts there as `a` and `b`, and a campaign on both that is started."""
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        sections = []
        for name, url in zip("abc", urls, strict=False):
            secret = "w" if url not in without_secret else "gone"
            sections.append(
                f'[providers.{name}]\ntype = "pigeon"\nloft_url = "{url}"\n'
                f'whistle = {{ file = "{secret}" }}\npigeons = 1\n'
            )
        for file, text in (("w", "pheep"), ("hubd.toml", "".join(sections))):
            (tmp_path / file).write_text(text)
            (tmp_path / file).chmod(0o600)
        specs = await provider_specs(load_config(tmp_path / "hubd.toml"), tmp_path, served.bridge)
        await served.hub.supervisor.reconfigure(specs)
        await import_people(hub, people)
        await hub.call("campaign.apply", spec=PERSONAL | {"provider": ["a", "b"], **keys})
        await hub.call("campaign.start", name="spring")
        yield hub


async def test_what_a_provider_that_stops_did_not_accept_goes_through_the_next(tmp_path: Path) -> None:
    """And what it may have accepted does not, whatever the policy says."""
    one, two = Loft(1), Loft(2)
    one.takes, one.lost = 4, {"p1@example.com"}
    async with (
        serve_http(one) as a,
        serve_http(two) as b,
        hub_with(tmp_path, urls=(a.url, b.url), in_doubt="retry") as hub,
    ):
        view = await until(hub, "spring", "completed")
        counts = view["counts"]
        assert (counts["sent"], counts["in_doubt"]) == (11, 1)
        assert sum(one.accepted.values()) == 4
        assert not one.accepted & two.accepted, "nobody got it from both"
        assert sum((one.accepted + two.accepted).values()) == 12
        (doubt,) = (await hub.call("delivery.list", campaign="spring", state="in_doubt"))["deliveries"]
        assert doubt["recipient"] == "p1@example.com"


async def test_what_waits_to_be_sent_again_is_not_sent_through_the_next_provider(tmp_path: Path) -> None:
    """It was put back into the queue, for the provider that may have it; then another one took over."""
    one, two = Loft(1), Loft(2)
    one.lost = {"p1@example.com"}
    async with (
        serve_http(one) as a,
        serve_http(two) as b,
        hub_with(tmp_path, urls=(a.url, b.url), in_doubt="retry") as hub,
    ):
        with trio.fail_after(30):
            while True:
                view = (await hub.call("campaign.get", name="spring"))["campaign"]
                if (view["counts"]["sent"], view["counts"]["pending"]) == (11, 1):
                    break
                await trio.sleep(0.02)
        await hub.call("provider.disable", name="a")
        view = await until(hub, "spring", "completed")
        assert (view["counts"]["sent"], view["counts"]["in_doubt"]) == (11, 1)
        assert two.accepted.total() == 0
        (doubt,) = (await hub.call("delivery.list", campaign="spring", state="in_doubt"))["deliveries"]
        assert (doubt["recipient"], doubt["reason"]) == ("p1@example.com", "waits_for_provider")


async def test_only_the_provider_in_whose_hands_a_doubt_is_may_repeat_it(database: Database) -> None:
    """Unless a person decided so, or the provider said that it has no such message."""
    store = Store(database)
    campaign = await store.running("ann", "bob", "cho", "dan", provider=["a", "b"])
    ann, bob, cho, dan = await store.ids(campaign)

    async def lose(number: int, provider: str) -> None:
        await store.ledger.record([msgspec.structs.replace(open_entry(number), provider=provider)])
        await store.ledger.record([close_entry(number, DeliveryState.IN_DOUBT, provider=provider)])

    async def waiting() -> list[int]:
        return [row.id for row in await store.ledger.due(campaign.id, 10_000.0, 10)]

    for number in (ann, bob):
        await lose(number, "a")
    assert await store.ledger.release_doubts(campaign.id, 5_000.0, provider="b") == 0
    assert await store.ledger.release_doubts(campaign.id, 5_000.0, provider="a") == 2
    # bob is tried again by the same provider, which refuses him for now: the first try stays in doubt
    await store.ledger.record([msgspec.structs.replace(open_entry(bob), provider="a")])
    await store.ledger.record(
        [close_entry(bob, DeliveryState.DEFERRED, reason="greylisted", next_at=6_000.0)]
    )
    await lose(cho, "a")
    await store.ledger.resolve_doubt(campaign.id, "resend")  # a person decides about cho
    assert sorted(await waiting()) == [ann, bob, cho, dan]
    await store.ledger.hold_elsewhere(campaign.id, "a")
    assert sorted(await waiting()) == [ann, bob, cho, dan], "it is the one that may have them"
    await store.ledger.hold_elsewhere(campaign.id, "b")
    assert sorted(await waiting()) == [cho, dan]
    await store.check_counters(campaign)
    assert await store.ledger.possible_duplicates(campaign.id) == 2, "bob was sent again, and cho will be"
    assert await store.ledger.release_doubts(campaign.id, provider="b") == 0
    assert await store.ledger.release_doubts(campaign.id, provider="a") == 2
    assert sorted(await waiting()) == [ann, bob, cho, dan]
    await store.check_counters(campaign)


async def test_a_provider_that_cannot_be_reached_gives_way_and_comes_back(tmp_path: Path) -> None:
    one, two = Loft(1), Loft(2)
    gone = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = gone[0].socket.getsockname()[1]
    await gone[0].aclose()
    async with (
        serve_http(two) as b,
        hub_with(tmp_path, urls=(f"http://127.0.0.1:{port}", b.url), people=60, rate="20/s") as hub,
        trio.open_nursery() as nursery,
    ):
        await b.until(lambda: bool(two.accepted))
        (listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        server = type(b)(one)
        nursery.start_soon(trio.serve_listeners, server.handle, [listener])
        view = await until(hub, "spring", "completed")
        nursery.cancel_scope.cancel()
    assert view["counts"]["sent"] == 60
    assert one.accepted, "the first one sends again once it works"
    assert not one.accepted & two.accepted


async def test_a_provider_whose_secret_is_missing_is_passed_over(tmp_path: Path) -> None:
    two = Loft(2)
    url = "http://127.0.0.1:1"
    async with (
        serve_http(two) as b,
        hub_with(tmp_path, urls=(url, b.url), without_secret=url) as hub,
    ):
        view = await until(hub, "spring", "completed")
    assert view["counts"]["sent"] == 12


async def test_the_end_of_a_rest_is_no_sign_that_a_provider_works_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    specs = {name: replace(make_spec(FakeTransport(name=name)), name=name) for name in ("a", "b")}
    providers = Providers(specs, lambda: 0.5)
    choice = Failover(("a", "b"), providers)
    assert choice.choose() == "a"
    pool = await providers.get("a").open()
    lease = pool.breaker.begin(None, pool.transport)
    pool.breaker.trouble(lease, "down")
    pool.breaker.end(lease)
    assert choice.choose() == "b"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(providers.tidy)
        await trio.sleep(10 * IDLE)
        nursery.cancel_scope.cancel()
    assert providers.get("a").view().state == "ready", "nothing keeps anybody from trying it"
    assert choice.choose() == "b"
    await providers.get("a").probe()
    assert choice.choose() == "a"


class Silent(FakeTransport):
    """A server that does not answer who logs in."""

    async def probe(self) -> Answer:
        self.surplus_times.append(trio.current_time())
        await trio.sleep(600)
        return ACCEPTED


async def test_a_provider_that_does_not_answer_keeps_nobody_from_watching_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    silent = Silent(name="a")
    transports = {"a": silent, "b": FakeTransport(name="b"), "c": FakeTransport(name="c")}
    specs = {name: replace(make_spec(each), name=name) for name, each in transports.items()}
    providers = Providers(specs, lambda: 0.5)
    for name in transports:
        await providers.get(name).open()
    pool = await providers.get("a").open()
    lease = pool.breaker.begin(None, pool.transport)
    pool.breaker.trouble(lease, "down")
    pool.breaker.end(lease)
    choice = Failover(tuple(transports), providers)
    chosen: list[str] = []

    async def watch() -> None:
        chosen.append(await choice.until_another("b"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.sleep(60)
        assert (len(silent.surplus_times), chosen) == (1, []), "and it is not asked by two at a time"
        providers.get("b").disable()
        await trio.sleep(1)
        assert chosen == ["c"]


async def test_when_no_provider_is_left_the_campaign_pauses(tmp_path: Path) -> None:
    one, two = Loft(1), Loft(2)
    one.takes, two.takes = 2, 3
    async with (
        serve_http(one) as a,
        serve_http(two) as b,
        hub_with(tmp_path, urls=(a.url, b.url)) as hub,
    ):
        view = await until(hub, "spring", "paused")
    assert (view["counts"]["sent"], view["counts"]["pending"]) == (5, 7)


async def test_check_names_a_provider_of_the_list_that_is_not_there(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        await import_people(hub, 1)
        await hub.call("campaign.apply", spec=PERSONAL | {"provider": ["outbox", "nowhere"]})
        found = await hub.call("campaign.check", name="spring")
    assert "there is no provider nowhere" in str(found["problems"])


def test_a_list_of_providers_is_kept_as_it_was_written() -> None:
    spec = parse_spec(PERSONAL | {"provider": ["relay", "ses"]})
    assert (spec.provider, spec.providers) == (("relay", "ses"), ("relay", "ses"))
    assert spec_from_json(spec_json(spec)) == spec
    assert parse_spec(PERSONAL | {"provider": ["relay"]}).provider == "relay"
    assert parse_spec(PERSONAL).providers == ("outbox",)


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ([], "is an empty list"),
        (["a", "a"], "occurs twice in the list"),
        (["a", "../b"], "not the name of a provider"),
        (["a", 7], "must be text"),
        (list("abcdef"), "more than 5"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(provider: list[Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec(PERSONAL | {"provider": provider})
    assert words in str(caught.value.data["errors"])
