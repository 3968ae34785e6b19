"""A provider whose answers are chosen one by one, and what it really has, whatever the hub knows of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import trio

from hubd.core.model import Answer, Channel, InDoubt, RenderedMessage, Signal, Stage
from hubd.core.request_verdicts import PLAIN, RequestVerdicts
from hubd.failpoints import reach

CONNECTIONS = 3


class Mood(Enum):
    """What `prepare` meets."""

    WELL = None
    DOWN = Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text="connection refused")
    BUSY = Answer(stage=Stage.MAIL, code=421, enhanced="4.3.2", text="try later")
    BAD_LOGIN = Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="authentication failed")


class Mailbox(Enum):
    """What `prepare` meets for one address."""

    OPEN = None
    GREYLISTED = Answer(stage=Stage.RCPT, code=451, enhanced="4.7.1", text="greylisted")
    UNKNOWN = Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user")
    REFUSED = Answer(stage=Stage.RCPT, code=550, enhanced="5.7.1", text="not from you")


class Reply(Enum):
    """What `deliver` gets: whether the provider took the message, and what we hear of it."""

    TAKEN = (True, Answer(stage=Stage.DOT, code=250, text="ok", provider_id="q1"))
    LATER = (False, Answer(stage=Stage.DOT, code=451, enhanced="4.3.0", text="try later"))
    TOO_LARGE = (False, Answer(stage=Stage.DOT, code=552, enhanced="5.3.4", text="too large"))
    BLOCKED = (False, Answer(stage=Stage.DOT, code=554, enhanced="5.7.1", text="blocked"))
    LOST = (False, Answer(stage=Stage.DOT, signal=Signal.TIMEOUT, text="nothing came"))
    TAKEN_AND_LOST = (True, Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="closed"))
    TAKEN_AND_GARBAGE = (True, Answer(stage=Stage.DOT, signal=Signal.GARBAGE, text="%!"))
    BUG = (True, None)  #: it was taken, and our own code breaks over the answer


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A message that the provider has, whatever the hub knows of it."""

    delivery_id: int
    message_id: str
    recipient: str


@dataclass(slots=True)
class Witness:
    """What happened at the provider's end, over all lives of the hub."""

    accepted: list[Acceptance] = field(default_factory=list)
    begun: list[tuple[float, str]] = field(default_factory=list)  #: (when, campaign) of each message
    faults: list[str] = field(default_factory=list)  #: what should never have reached the provider
    broken: set[int] = field(default_factory=set)  #: deliveries over whose answer a bug of ours stumbled
    halted: set[str] = field(default_factory=set)  #: campaigns that answered that they do not send
    suppressed: set[str] = field(default_factory=set)  #: addresses to which nothing may begin

    def of(self, delivery_id: int) -> list[Acceptance]:
        return [each for each in self.accepted if each.delivery_id == delivery_id]


@dataclass(slots=True, eq=False)
class Parked:
    """A message past the irrevocable byte, whose answer has not come."""

    rendered: RenderedMessage
    answered: trio.Event = field(default_factory=trio.Event)
    reply: Reply | None = None


@dataclass(slots=True, eq=False)
class Wire:
    """A provider whose answers are chosen one by one. One for each life of the hub."""

    witness: Witness
    now: Callable[[], float]
    name: str = "post"
    kind: str = "post"
    account: str = ""
    connections: int = CONNECTIONS
    channels: frozenset[Channel] = frozenset({Channel.EMAIL})
    in_doubt: InDoubt = InDoubt.HOLD
    verdicts: RequestVerdicts = PLAIN
    talks_first: bool = True
    largest_message: int | None = None
    mood: Mood = Mood.WELL
    mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    parked: list[Parked] = field(default_factory=list)
    cut_is_taken: bool = True  #: whether the provider has a message whose connection was cut
    dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connection(self) -> WireConnection:
        return WireConnection(self)

    async def probe(self) -> Answer:
        await trio.lowlevel.checkpoint()
        return self.mood.value or Reply.TAKEN.value[1]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def answer(self, reply: Reply) -> bool:
        """Answer the message that waits with the lowest id. False when none waits."""
        waiting = sorted((p for p in self.parked if p.reply is None), key=lambda p: p.rendered.delivery_id)
        if not waiting:
            return False
        waiting[0].reply = reply
        waiting[0].answered.set()
        return True

    def begin(self, rendered: RenderedMessage) -> Parked:
        """A message passes the irrevocable byte."""
        parked = Parked(rendered)
        with self._lock:
            if not self.dead:
                self.witness.begun.append((self.now(), rendered.campaign))
                if rendered.campaign in self.witness.halted:
                    self.witness.faults.append(f"{rendered.campaign} went on after it had answered")
                if rendered.recipient in self.witness.suppressed:
                    self.witness.faults.append("something was sent to a suppressed address")
            self.parked.append(parked)
        return parked

    def end(self, parked: Parked, *, taken: bool) -> None:
        """The provider has it or not."""
        with self._lock:
            self.parked.remove(parked)
            if taken and not self.dead:
                self._accept(parked)

    def die(self, taken: int) -> None:
        """The hub is gone. Bit n of `taken`: whether the n-th message on the wire arrives all the same."""
        with self._lock:
            for number, parked in enumerate(self.parked):
                if taken >> number & 1 and not self.dead:
                    self._accept(parked)
            self.dead = True

    def _accept(self, parked: Parked) -> None:
        rendered = parked.rendered
        self.witness.accepted.append(
            Acceptance(rendered.delivery_id, rendered.message_id, rendered.recipient)
        )


@dataclass(slots=True, eq=False)
class WireConnection:
    wire: Wire

    async def prepare(self, rendered: RenderedMessage) -> Answer | None:
        await trio.lowlevel.checkpoint()
        said: Answer | None = self.wire.mood.value
        return said or self.wire.mailboxes.get(rendered.recipient, Mailbox.OPEN).value

    async def deliver(self, rendered: RenderedMessage, following: RenderedMessage | None = None) -> Answer:
        reach("before_dot")
        parked = self.wire.begin(rendered)
        taken = self.wire.cut_is_taken
        try:
            reach("after_dot")
            await parked.answered.wait()
            assert parked.reply is not None
            answer: Answer | None
            taken, answer = parked.reply.value
            if answer is None:
                self.wire.witness.broken.add(rendered.delivery_id)
                raise ZeroDivisionError("a bug")
        finally:
            self.wire.end(parked, taken=taken)
        return answer

    @property
    def connected(self) -> bool:
        return False

    def waits(self, rendered: RenderedMessage) -> bool:
        return False

    def drop(self) -> None: ...

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
