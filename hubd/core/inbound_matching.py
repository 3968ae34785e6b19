"""Whose message it is: which delivery something that came back is about. Pure, and never a guess.

What proves most is asked first: a token, which only this installation can make; a Message-ID, which nobody
can guess; the name that the provider gave the message, or the number that we gave the provider; and last the
recipient, if there is a message of the last days to them and the item names no other message. What names
something of ours that is gone, or somebody else's message, is about nothing here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hubd.core.inbound import Item, ItemKind
from hubd.core.model import Channel, DeliveryState
from hubd.core.tokens import Purpose, Tokens

RECENT = 7 * 86_400.0  #: seconds: how old a message may be that is found by its recipient
SKEW = 3_600.0  #: seconds by which the clock of who reports may be behind ours
MOST_NAMES = 100  #: Message-IDs, or names of the provider's, that are looked at

#: What a person does, who may have several messages before them and means the newest.
_BY_PEOPLE = frozenset({ItemKind.REPLY, ItemKind.OPT_OUT, ItemKind.OPT_IN, ItemKind.AUTOMATIC})
#: The states of a message that left, or may have.
_WENT_OUT = frozenset(
    {
        DeliveryState.SENDING,
        DeliveryState.SENT,
        DeliveryState.DELIVERED,
        DeliveryState.UNDELIVERED,
        DeliveryState.IN_DOUBT,
    }
)


class How(StrEnum):
    """What showed whose message it is, from what proves most to what proves least."""

    TOKEN = "token"  # noqa: S105 - not a secret
    MESSAGE_ID = "message_id"
    PROVIDER = "provider"
    RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A delivery that an item may be about, with what is known of its attempts."""

    delivery_id: int
    campaign_id: int
    channel: Channel
    address_key: str  #: "" once it was erased
    state: DeliveryState
    doubtful: bool  #: whether the answer to one of its attempts is not known
    content_hashes: frozenset[str] = frozenset()
    message_ids: frozenset[str] = frozenset()
    provider_ids: frozenset[str] = frozenset()
    tried_at: float | None = None  #: when the last attempt began


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The delivery that an item is about."""

    delivery: Candidate
    how: How

    @property
    def certain(self) -> bool:
        """Whether only who has seen the message can have said this."""
        return self.how is not How.RECIPIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The deliveries that an item names, or seems to name. `whose` says which of them it is about."""

    token: int | None = None
    message_ids: Mapping[str, int]  #: of the form of ours, with the delivery that each would be of
    delivery: int | None = None
    provider_ids: tuple[str, ...] = ()

    @property
    def deliveries(self) -> set[int]:
        """All of them."""
        found = {self.token, self.delivery, *self.message_ids.values()}
        return {number for number in found if number is not None}


def named_by(item: Item, tokens: Tokens) -> Named:
    """What an item names."""
    about = item.about
    named = {name: tokens.read_message_id(name) for name in about.message_ids[:MOST_NAMES]}
    return Named(
        token=_read_token(item, tokens),
        message_ids={name: number for name, number in named.items() if number is not None},
        delivery=about.delivery,
        provider_ids=about.provider_ids[:MOST_NAMES],
    )


def _read_token(item: Item, tokens: Tokens) -> int | None:
    purposes = [Purpose.BOUNCE]
    if item.kind in (ItemKind.OPT_OUT, ItemKind.OPT_IN):
        purposes.append(Purpose.UNSUBSCRIBE)  # the link in a message proves no bounce: it is forwarded
    for text in (item.about.token, item.about.envelope_id):
        for purpose in purposes:
            if text and (number := tokens.read(purpose, text)) is not None:
                return number
    return None


def whose(
    item: Item,
    named: Named,
    known: Mapping[int, Candidate],
    recent: Sequence[Candidate],
    tokens: Tokens,
) -> Match | None:
    """The delivery that an item is about; None for none of ours.

    `known` has the deliveries that the item names, and those that the provider's names are of; `recent` those
    to the address, tried in the time before the item.
    """
    if named.token is not None:
        return _match(known.get(named.token), How.TOKEN)
    names = item.about.message_ids[:MOST_NAMES]
    for name in names:
        found = known.get(named.message_ids.get(name, 0))
        if found is not None and _is_named(found, name, tokens):
            return _match(found, How.MESSAGE_ID)
    for found in recent:  # names given before they told the delivery
        if found.message_ids.intersection(names):
            return _match(found, How.MESSAGE_ID)
    return _by_provider(item, named, known.values()) or _by_recipient(item, recent)


def _is_named(delivery: Candidate, name: str, tokens: Tokens) -> bool:
    number = delivery.delivery_id
    return name in delivery.message_ids or any(
        tokens.made(name, number, content) for content in delivery.content_hashes
    )


def _by_provider(item: Item, named: Named, known: Iterable[Candidate]) -> Match | None:
    """The name or the number fits, and nothing else that is known contradicts it: others use the account."""
    address, names = item.about.address, set(named.provider_ids)
    fitting = [each for each in known if not address or each.address_key == address]
    for found in fitting:
        if found.provider_ids & names:
            return _match(found, How.PROVIDER)
    for found in fitting:
        if found.delivery_id == named.delivery and not (found.provider_ids and names):
            return _match(found, How.PROVIDER)
    return None


def _by_recipient(item: Item, recent: Sequence[Candidate]) -> Match | None:
    about = item.about
    sent = [each for each in recent if each.state in _WENT_OUT]
    if about.message_ids or about.provider_ids:
        # It names a message, and none of ours. Some providers give messages a Message-ID of their own, named
        # after what they answered (SES); for a text message the person names nothing.
        local = {name.strip().strip("<>").partition("@")[0] for name in about.message_ids}
        own = [each for each in sent if each.provider_ids & local.union(about.provider_ids)]
        if len(own) == 1:
            return _match(own[0], How.PROVIDER)
        if about.channel is Channel.EMAIL or item.kind not in _BY_PEOPLE:
            return None
    if item.kind in _BY_PEOPLE and sent:
        return _match(max(sent, key=lambda each: (each.tried_at or 0.0, each.delivery_id)), How.RECIPIENT)
    return _match(sent[0], How.RECIPIENT) if len(sent) == 1 else None


def _match(delivery: Candidate | None, how: How) -> Match | None:
    return None if delivery is None else Match(delivery=delivery, how=how)


def happened_at(item: Item, now: float) -> float:
    """When it happened, as far as that can be: whoever reports it may have a wrong clock."""
    return now if not 0 < item.at < now else item.at


def tried_between(at: float, now: float) -> tuple[float, float]:
    """When a message was tried that an item of the time `at` may be about, if only the recipient is known."""
    at = now if not 0 < at < now else at
    return at - RECENT, at + SKEW


def addresses_of(item: Item, match: Match | None) -> Collection[str]:
    """Whose wish a reply or an opt-out is: who wrote, and whom the message went to (mail is forwarded)."""
    found = {item.about.address}
    if match is not None and match.certain:
        found.add(match.delivery.address_key)
    return found - {""}
