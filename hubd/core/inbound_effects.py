"""What something that came back leads to: for the delivery, for the address, and for the people who read it.

Pure. The states of a delivery move by `lifecycle` and only forward; a bounce of what was delivered changes no
state. Nothing is suppressed for a message that is not known to be ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hubd.core.inbound import Item, ItemKind
from hubd.core.inbound_matching import Match
from hubd.core.lifecycle import DeliveryEvent as V
from hubd.core.measures import Measure
from hubd.core.model import Channel, SkipReason
from hubd.core.model import DeliveryState as D
from hubd.core.opt_out_words import Wish, wish_of

#: Enhanced codes (RFC 3463) that speak of the address itself and of nothing that passes.
AT_ONCE: Mapping[str, str] = MappingProxyType(
    {
        "5.1.1": "mailbox_unknown",
        "5.1.2": "domain_unknown",
        "5.1.3": "address_malformed",
        "5.1.6": "mailbox_moved",
        "5.1.10": "domain_takes_no_mail",
    }
)
#: The same of text messages: Twilio says of 30006 not to try again, and after 21610 refuses every other one.
AT_ONCE_SMS: Mapping[str, str] = MappingProxyType(
    {"30006": "not_a_mobile_number", "21610": SkipReason.OPTED_OUT.value}
)
#: Why the others came back, by enhanced code without its class, and by Twilio's numbers.
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "1.1": "mailbox_unknown",
        "1.2": "domain_unknown",
        "1.3": "address_malformed",
        "1.4": "address_ambiguous",
        "1.6": "mailbox_moved",
        "1.10": "domain_takes_no_mail",
        "2.1": "mailbox_disabled",
        "2.2": "mailbox_full",
        "2.3": "message_too_large",
        "3.1": "storage_full",
        "3.4": "message_too_large",
        "4.1": "routing_trouble",
        "4.2": "routing_trouble",
        "4.3": "routing_trouble",
        "4.4": "routing_trouble",
        "4.6": "routing_trouble",
        "4.7": "expired",
        "6.0": "content_refused",
        "7.1": "refused_by_policy",
        "7.17": "mailbox_owner_changed",
        "7.18": "domain_owner_changed",
        "7.25": "sender_unauthenticated",
        "7.26": "sender_unauthenticated",
        "7.27": "sender_unauthenticated",
        "30003": "handset_unreachable",
        "30004": "blocked",
        "30005": "number_unknown",
        "30006": "not_a_mobile_number",
        "30007": "content_refused",
        "21610": "opted_out",
    }
)
#: These, and what is kept as unmatched, are listed for people; the others are too many, and say too little.
_LISTED = frozenset({ItemKind.BOUNCE, ItemKind.COMPLAINT, ItemKind.OPT_OUT, ItemKind.OPT_IN, ItemKind.REPLY})
_MEASURES = {
    ItemKind.BOUNCE: Measure.BOUNCED,
    ItemKind.COMPLAINT: Measure.COMPLAINTS,
    ItemKind.OPT_OUT: Measure.OPT_OUTS,
    ItemKind.REPLY: Measure.REPLIES,
}
#: Whose answer is not known.
_UNANSWERED = frozenset({D.SENDING, D.IN_DOUBT})
_WAITING = frozenset({D.PENDING, D.DEFERRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an item leads to. Without a match it changes no delivery."""

    kind: ItemKind  #: what it is, after a reply was read
    moves: tuple[V, ...] = ()  #: of the delivery, in order
    reason: str = ""  #: of a bounce: one of `reasons`
    measure: Measure | None = None  #: of the campaign: one more
    suppress: str = ""  #: the reason for which the addresses are suppressed; "" for none
    soft: bool = False  #: a bounce that counts with others, and suppresses nobody on its own
    reached: bool = False  #: the address works: soft bounces before it no longer count
    allow: bool = False  #: an opt-out of the addresses is taken back
    hold: bool = False  #: nothing more is sent to the addresses until a person has decided
    listed: bool = False  #: it is kept, for people to read


def effect_of(item: Item, match: Match | None, *, opted_out: bool = False, proven: bool = False) -> Effect:
    """What an item leads to.

    `opted_out`: whether its address is suppressed because of an earlier opt-out. `proven`: a token of ours
    shows to whom the message was, which is gone itself, and the item speaks of nobody else.
    """
    kind, unclear = _kind_of(item, opted_out)
    known = item.of_list or proven
    suppress, soft = (
        _bounce(item, match, known) if kind is ItemKind.BOUNCE else (_SUPPRESS.get(kind, ""), False)
    )
    if kind is ItemKind.COMPLAINT and match is None and not known:
        suppress = ""  # anybody can send one
    moves = _moves(kind, match)
    certain = match is not None and match.certain
    by_phone = item.about.channel is Channel.SMS  # the network says who wrote
    return Effect(
        kind=kind,
        moves=moves,
        reason=reason_of(item) if kind is ItemKind.BOUNCE else "",
        measure=_MEASURES.get(kind) if match is not None else None,
        suppress=suppress,
        soft=soft,
        reached=V.RECEIPT_ARRIVED in moves or (kind is ItemKind.REPLY and certain),
        allow=kind is ItemKind.OPT_IN and (certain or by_phone),
        hold=unclear,
        listed=kind in _LISTED,
    )


_SUPPRESS = {ItemKind.COMPLAINT: "complaint", ItemKind.OPT_OUT: SkipReason.OPTED_OUT.value}


def _kind_of(item: Item, opted_out: bool) -> tuple[ItemKind, bool]:
    """What it is, and whether it may be an opt-out in other words."""
    if item.kind is not ItemKind.REPLY:
        return item.kind, False
    match wish_of(item.text):
        case Wish.OPT_OUT:
            return ItemKind.OPT_OUT, False
        case Wish.OPT_IN if opted_out:  # else "yes" answers some other question
            return ItemKind.OPT_IN, False
        case wish:
            return ItemKind.REPLY, wish is Wish.UNCLEAR and not opted_out


def _moves(kind: ItemKind, match: Match | None) -> tuple[V, ...]:
    if match is None:
        return ()
    delivery, moves = match.delivery, []
    state = delivery.state
    # Who has seen the message says it, so the provider took it: also one that was to be sent again.
    in_doubt = state in _UNANSWERED or (state in _WAITING and delivery.doubtful)
    if in_doubt and match.certain:
        moves.append(V.FOUND_SENT)
        state = D.SENT
    if state is D.SENT and kind is ItemKind.DELIVERED:
        moves.append(V.RECEIPT_ARRIVED)
    elif state is D.SENT and kind is ItemKind.BOUNCE:
        moves.append(V.RECEIPT_LOST)
    return tuple(moves)


def _bounce(item: Item, match: Match | None, known: bool) -> tuple[str, bool]:
    """For which reason a bounce suppresses the recipient, and whether it counts as a soft one."""
    if item.about.channel is Channel.SMS:
        suppress = AT_ONCE_SMS.get(item.vendor, "")
    else:
        suppress = AT_ONCE.get(item.enhanced, "")
    if item.permanent is False:  # whoever reports it says that it may pass
        suppress = ""
    if match is None:
        return (suppress if known else ""), False
    # A report that anybody could write, or that speaks of where the recipient's mail is forwarded to.
    about_another = item.about.address not in ("", match.delivery.address_key)
    if not (match.certain or item.of_list) or about_another:
        suppress = ""
    return suppress, not suppress


def reason_of(item: Item) -> str:
    """Why it came back: a word of `reasons`."""
    _, _, rest = item.enhanced.partition(".")
    return _REASONS.get(rest) or _REASONS.get(item.vendor) or "bounced"


def too_many(bounced_at: Iterable[float], *, limit: int, days: float) -> bool:
    """Whether soft bounces at these times are as many in so many days as suppress an address."""
    times = sorted(bounced_at)
    window = days * 86_400.0
    return any(last - first <= window for first, last in zip(times, times[limit - 1 :], strict=False))
