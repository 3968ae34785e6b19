"""A model test: whatever is asked of a hub, whatever a provider answers, whenever it is killed.

Hypothesis makes up the story, of commands, answers, passing time, kills and restarts; after every step the
records are held against what the provider really has. At the end of each story the world is made well again,
and everybody who was to get a message has one, or it is known why not.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hubd.core import decide as decisions
from hubd.core.decide import Pages, Retried
from hubd.core.intake import ContactRow
from hubd.core.lifecycle import CAMPAIGN, CampaignEvent
from hubd.core.model import CampaignState, Channel, Content
from hubd.core.spec import spec_json
from hubd.engine import campaign
from hubd.errors import Conflict, InvalidTransition
from hubd.failpoints import arm
from hubd.store.requeue import Class, Settlement
from tests.shell.model import LiveHub, Reaper
from tests.shell.model_promises import GOING, Promises, check_recovery
from tests.shell.model_records import CampaignLine, auditor, read_records, records_in
from tests.shell.model_wire import CONNECTIONS, Mailbox, Mood, Reply, Witness

pytestmark = pytest.mark.slow

BORN = 1_800_000_000.0
POLICIES = {"held": "hold", "tried": "retry", "capped": "hold"}
LISTS = {"held": ["ann"], "tried": ["bob"], "capped": ["ann", "bob"]}
NAMES = sorted(POLICIES)
PEOPLE = 9
EXPRESS = "~post"
#: Where a hub can be killed: the points that messages meet (`Wire` has its own), and those of other work.
ON_THE_WAY = (
    *("before_open", "after_open", "before_dot", "after_dot", "after_reply", "mid_commit", "after_commit"),
)
ASIDE = ("in_recovery", "in_freeze", "in_import")

names = st.sampled_from(NAMES)
people = st.integers(0, PEOPLE - 1)
replies = st.sampled_from([reply for reply in Reply if reply is not Reply.BUG])
masks = st.integers(0, 2**CONNECTIONS - 1)
rates = st.sampled_from([(), ("1/s",), ("2/s", "5/minute"), ("4/hour",)])
SINGLE = Content(channel=Channel.EMAIL, sender="Acme <news@acme.example>", subject="one", text="just one")


def address(number: int) -> str:
    return f"p{number}@example.com"


class Hub(RuleBasedStateMachine):
    """The story. What is drawn never depends on the hub, so that each story can be told again."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="hub-model-"))
        self.witness = Witness()
        self.reaper = Reaper(self.root)
        arm(self.reaper.reach)
        self.moods = (Mood.WELL, dict[str, Mailbox]())
        self.sound = False  #: whether all was well after the last step
        self.promises = Promises(self.witness)
        first = self.root / "life0"
        first.mkdir(mode=0o700)
        self.records = records_in(first)
        self._wake_up(first, BORN)

    # -- a hub's life and death --------------------------------------------------------------------

    def _wake_up(self, directory: Path, born: float) -> None:
        """Start a hub on the files in `directory`; again and again if it is killed while it starts."""
        self.witness.halted.clear()  # what should run goes on by itself
        self.reaper.remains = directory
        while self.reaper.remains is not None:
            directory, self.reaper.remains = self.reaper.remains, None
            before = records_in(directory)
            self.hub = LiveHub(directory, self.witness, self.reaper, born=born)
            self.hub.wire.mood, self.hub.wire.mailboxes = self.moods
            if self.reaper.remains is not None:
                self.hub.end()
                continue
            check_recovery(before, records_in(directory), self.witness.broken)
        self.files = ExitStack()
        self.auditor = self.files.enter_context(auditor(directory))

    def _lie_down(self) -> None:
        self.files.close()
        self.hub.end()

    def _bury(self) -> bool:
        """If the hub was killed, start the next on what is left; whether it was."""
        remains = self.reaper.remains
        if remains is None:
            return False
        self._lie_down()
        self._wake_up(remains, self.hub.now_is + 1.0)
        return True

    def _tell(self, command: Callable[[], Awaitable[Any]]) -> Future[Any] | None:
        """Give a command. None: the hub was killed over it, and nobody knows whether it was carried out."""
        self.sound = False
        answer = self.hub.begin(command)
        return None if self._bury() else answer

    def _line(self, name: str) -> CampaignLine | None:
        return self.records.campaigns.get(name)

    def _command(
        self, name: str, event: CampaignEvent, command: Callable[[], Awaitable[Any]], *replies: Reply
    ) -> None:
        """A command of the lifecycle: carried out when the table allows it, else refused without effect.

        Some wait for what is on the wire: it gets `replies`, and then its time runs out.
        """
        line = self._line(name)
        if line is None:
            return
        to = CAMPAIGN[CampaignState(line.state)].get(event)
        if event is CampaignEvent.SCHEDULE and line.fixed:
            to = None  # only one that has not begun can be scheduled
        if to is CampaignState.RUNNING:
            self.witness.halted.discard(name)
        on_the_wire = self._on_the_wire(name)
        answer = self._tell(command)
        if answer is not None and to is not None and on_the_wire:
            assert self._on_the_wire(name) == on_the_wire, f"{event} cut what was on the wire"
        for reply in replies:
            if answer is None or answer.done() or not self.hub.answer(reply):
                break
            if self._bury():
                return
        if answer is not None and not answer.done():
            self._let_scheduled_ones_start()
            self.hub.pass_time(60.0)
            if self._bury():
                return
        if answer is None:
            return
        assert answer.done(), f"{event} of {name} is never answered"
        if to is None:
            assert isinstance(answer.exception(), InvalidTransition)
            self._unchanged()
            return
        found = read_records(self.auditor).campaigns[name].state
        if found == CampaignState.FAILED and self.witness.broken:
            # A bug had ended it; its other messages on the wire were waited for, and the command with them.
            assert isinstance(answer.exception(), InvalidTransition)
            self.witness.halted.add(name)
            return
        answer.result()
        by_itself = {CampaignState.COMPLETED} if to is CampaignState.PAUSED else set()
        if to is CampaignState.RUNNING:
            by_itself = {CampaignState.COMPLETED, CampaignState.PAUSED}
        assert CampaignState(found) in {to, *by_itself}
        if found != CampaignState.RUNNING:
            self.witness.halted.add(name)

    def _let_scheduled_ones_start(self) -> None:
        for line in self.records.campaigns.values():
            if line.state == CampaignState.SCHEDULED:
                self.witness.halted.discard(line.name)

    def _on_the_wire(self, name: str) -> list[int]:
        return [p.rendered.delivery_id for p in self.hub.wire.parked if p.rendered.campaign == name]

    def _unchanged(self) -> None:
        assert read_records(self.auditor) == self.records, "what was refused changed something all the same"

    # -- the story: people and campaigns -----------------------------------------------------------

    @initialize(count=st.integers(1, PEOPLE), started=st.sets(names, min_size=2))
    def begin(self, count: int, started: set[str]) -> None:
        self._import("ann", range(count))
        self._import("bob", range(count // 2, PEOPLE))
        for name in NAMES:
            self._apply(name, ())
        for name in sorted(started):
            self.records = read_records(self.auditor)
            self.start(name, 3 if name == "capped" else None)

    def _import(self, name: str, numbers: range) -> None:
        rows = [
            ContactRow(line=n, email=address(n), email_key=address(n), fields={"first_name": f"P{n}"})
            for n in numbers
        ]
        store = self.hub.store
        answer = self._tell(lambda: store.contacts.import_rows(name, rows, import_id=str(numbers)))
        if answer is not None:
            answer.result()

    def _apply(self, name: str, rate: tuple[str, ...]) -> Future[Any] | None:
        store = self.hub.store
        spec = store.spec(
            name=name, provider="post", lists=LISTS[name], rate=list(rate), in_doubt=POLICIES[name],
            subject=name, text="Hi {{ first_name }}",
        )  # fmt: skip
        content = spec.content()
        return self._tell(lambda: store.campaigns.apply(spec, spec_json(spec), content, f"hash of {content}"))

    @rule(name=st.sampled_from(["ann", "bob"]), first=people, count=st.integers(1, 3))
    def import_people(self, name: str, first: int, count: int) -> None:
        self._import(name, range(first, first + count))

    @rule(name=names, rate=rates)
    def apply(self, name: str, rate: tuple[str, ...]) -> None:
        line = self._line(name)
        answer = self._apply(name, rate)
        if answer is None:
            return
        if line is not None and line.state in ("running", "completed", "failed"):
            assert isinstance(answer.exception(), Conflict)
            self._unchanged()
        else:
            answer.result()

    @rule(name=names, rate=rates)
    def change_rate(self, name: str, rate: tuple[str, ...]) -> None:
        line = self._line(name)
        if line is None:
            return
        hub = self.hub

        async def change() -> None:
            await hub.store.campaigns.set_rate(line.id, rate)
            await hub.supervisor.change_rate(line.id)

        self._tell(change)

    # -- the story: commands -----------------------------------------------------------------------

    @rule(name=names, limit=st.sampled_from([None, None, 1, 3]))
    def start(self, name: str, limit: int | None) -> None:
        self._command(name, CampaignEvent.START, partial(self.hub.supervisor.start, name, limit=limit))

    @rule(name=names, replies=st.lists(replies, max_size=CONNECTIONS), taken=st.booleans())
    def pause(self, name: str, replies: list[Reply], taken: bool) -> None:
        self.hub.wire.cut_is_taken = taken
        self._command(name, CampaignEvent.PAUSE, partial(self.hub.supervisor.pause, name), *replies)

    @rule(name=names)
    def resume(self, name: str) -> None:
        self._command(name, CampaignEvent.RESUME, partial(self.hub.supervisor.resume, name))

    @rule(name=names, replies=st.lists(replies, max_size=CONNECTIONS), taken=st.booleans())
    def stop(self, name: str, replies: list[Reply], taken: bool) -> None:
        self.hub.wire.cut_is_taken = taken
        self._command(name, CampaignEvent.STOP, partial(self.hub.supervisor.stop, name), *replies)

    @rule(name=names, seconds=st.sampled_from([20.0, 5000.0]))
    def schedule(self, name: str, seconds: float) -> None:
        at = self.hub.now_is + seconds
        self._command(name, CampaignEvent.SCHEDULE, partial(self.hub.supervisor.schedule, name, at))

    @rule(name=names)
    def unschedule(self, name: str) -> None:
        self._command(name, CampaignEvent.UNSCHEDULE, partial(self.hub.supervisor.unschedule, name))

    @rule(name=names, which=st.sampled_from(["transient", "permanent", "all"]))
    def retry(self, name: str, which: Class) -> None:
        """Failures are queued again, as `hubctl retry` does it."""
        line = self._line(name)
        if line is None or CampaignEvent.RETRY not in CAMPAIGN[CampaignState(line.state)]:
            return
        hub = self.hub
        self.promises.retried.add(name)
        self.witness.halted.discard(name)

        async def retry() -> None:
            await self._requeue(line.id, name, hub.store.ledger.retrying(line.id, which, None))

        self._answered(self._tell(retry))

    @rule(name=st.sampled_from([*NAMES, EXPRESS]), how=st.sampled_from(["resend", "sent", "failed"]))
    def decide(self, name: str, how: Settlement) -> None:
        """A person decides what is in doubt, as `hubctl retry --in-doubt` does it."""
        line = self._line(name)
        if line is None or CampaignEvent.RETRY not in CAMPAIGN[CampaignState(line.state)]:
            return
        hub = self.hub
        self.promises.finished.add(name)
        if how == "resend":
            self.promises.resent.add(name)
            self.witness.halted.discard(name)
        if how == "failed":
            self.promises.written_off |= {d.id for d in self.records.of(name) if d.state == "in_doubt"}

        async def decide() -> None:
            await self._requeue(line.id, name, hub.store.ledger.retrying(line.id, None, how))
            if how == "resend" and line.transactional_queue:
                await hub.supervisor.wake_transactional("post", Channel.EMAIL)

        self._answered(self._tell(decide))

    async def _requeue(self, number: int, name: str, pages: Pages[Retried]) -> None:
        store = self.hub.store

        async def commit() -> bool:
            done, ended = pages.begin, False
            while not ended:
                done, ended = await store.db.write(lambda unit, done=done: pages.page(unit, done), bulk=True)
            decide = partial(decisions.retry, queued=done.queued > 0)
            return (await store.campaigns.carry_out(number, decide)).plan.changed

        planned = await store.db.read(pages.plan)
        await self.hub.supervisor.requeue(name, commit, queues=planned.queued > 0)

    def _answered(self, answer: Future[Any] | None) -> None:
        if answer is not None:
            assert answer.done()
            answer.result()

    @rule(number=people)
    def suppress(self, number: int) -> None:
        contacts = self.hub.store.contacts
        self._tell(partial(contacts.suppress, Channel.EMAIL, address(number), "opted_out", "test"))

    @rule(number=people)
    def unsuppress(self, number: int) -> None:
        self.witness.suppressed.discard(address(number))
        self._tell(partial(self.hub.store.contacts.unsuppress, Channel.EMAIL, address(number)))

    @rule(number=people)
    def send_one(self, number: int) -> None:
        """One message ahead of bulk, as `hubctl send` does it."""
        hub, to = self.hub, address(number)

        async def send() -> None:
            content_id = await hub.store.campaigns.add_content(SINGLE, "one")
            queue = await hub.supervisor.transactional_queue("post", Channel.EMAIL)
            await hub.store.ledger.add_transactional(queue.id, to, to, {"email": to}, content_id)
            await hub.supervisor.wake_transactional("post", Channel.EMAIL)

        self._answered(self._tell(send))

    # -- the story: the world ----------------------------------------------------------------------

    @rule(reply=replies, count=st.integers(1, CONNECTIONS))
    def answer(self, reply: Reply, count: int) -> None:
        for _ in range(count):
            self.sound = False
            if not self.hub.answer(reply) or self._bury():
                return

    @rule()
    def stumble(self) -> None:
        """A bug of ours ends a campaign in the middle; the others go on."""
        self.answer(Reply.BUG, 1)

    @rule(count=st.integers(1, 12))
    def let_through(self, count: int) -> None:
        self.answer(Reply.TAKEN, count)

    @rule(mood=st.sampled_from(Mood))
    def provider_is(self, mood: Mood) -> None:
        self.moods = (mood, self.moods[1])
        self.hub.wire.mood = mood

    @rule(number=people, mailbox=st.sampled_from(Mailbox))
    def mailbox_is(self, number: int, mailbox: Mailbox) -> None:
        self.moods[1][address(number)] = mailbox

    @rule(seconds=st.sampled_from([1.0, 30.0, 400.0, 4_000.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        self.sound = False
        self._let_scheduled_ones_start()
        self.hub.pass_time(seconds)
        self._bury()

    # -- the story: the end of the process ---------------------------------------------------------

    @rule(taken=masks)
    def kill(self, taken: int) -> None:
        """Now; then some of what is on the wire arrives."""
        self.sound = False
        self.reaper.kill(taken)
        self._bury()

    @rule(point=st.sampled_from(ON_THE_WAY), times=st.integers(1, 5), taken=masks, reply=replies)
    def kill_on_the_way(self, point: str, times: int, taken: int, reply: Reply) -> None:
        """When messages reach a point for the n-th time, which may be in a later step."""
        self.reaper.aim(point, times, taken)
        self.answer(reply, times)

    @rule(point=st.sampled_from(ASIDE), times=st.integers(1, 2), taken=masks)
    def kill_aside(self, point: str, times: int, taken: int) -> None:
        """In the middle of a recovery, or when people are next written down."""
        self.reaper.aim(point, times, taken)
        if point == "in_recovery":
            self.kill(taken)

    @rule(taken=st.booleans())
    def restart(self, taken: bool) -> None:
        """End in order, with messages on the wire that get no time."""
        self.sound = False
        self.hub.wire.cut_is_taken = taken
        self._lie_down()
        self._wake_up(self.reaper.remains or self.hub.directory, self.hub.now_is + 1.0)

    # -- what holds, always ------------------------------------------------------------------------

    @invariant()
    def records_and_world_agree(self) -> None:
        self.sound = False
        before, self.records = self.records, read_records(self.auditor)
        self.promises.check(before, self.records, self.hub.wire.parked, self.hub.now_is)
        self.sound = True

    # -- and in the end ----------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if self.sound:
                self._all_is_well_that_ends_well()
        finally:
            self.reaper.spare()
            self._lie_down()
            arm(lambda point: None)
            shutil.rmtree(self.root)

    def _all_is_well_that_ends_well(self) -> None:
        """With a provider that works, everybody gets what they were to get, and every campaign ends."""
        self.reaper.spare()
        self.moods = (Mood.WELL, {})
        self.hub.wire.mood, self.hub.wire.mailboxes = self.moods
        for line in self.records.campaigns.values():
            self.change_rate(line.name, ())
        for _ in range(60):
            for line in self.records.campaigns.values():
                if line.state in ("scheduled", "paused", "stopped", "failed"):
                    self.start(line.name, None)
            while self.hub.answer(Reply.TAKEN):
                pass
            self.records_and_world_agree()
            if all(
                line.state in ("draft", "completed", "running") for line in self.records.campaigns.values()
            ) and (not any(line.state in GOING for line in self.records.deliveries.values())):
                break
            self.wait(4_000.0)
        self.promises.check_end(self.records)


def story(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,  # the same stories on each machine and each day
        database=None,
        deadline=None,  # a machine that does other things meanwhile is no failure
        suppress_health_check=[HealthCheck.too_slow],  # each step is real work on a real file
        print_blob=False,
        phases=[Phase.generate, Phase.shrink],
    )


def test_whatever_happens_nobody_is_lost_and_nobody_is_silently_sent_to_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign, "FREEZE_PAGE", 3)
    run_state_machine_as_test(Hub, settings=story(25, 40))


@pytest.mark.soak
def test_whatever_happens_in_many_long_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "FREEZE_PAGE", 3)
    run_state_machine_as_test(Hub, settings=settings(story(400, 80), derandomize=False))
