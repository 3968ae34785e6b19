"""What comes back about messages that were sent, in one shape for all sources.

A source (a mailbox, a queue, a provider's list, a webhook) reads what is there into `Item`s. What each of
them leads to is decided in one place and written in one transaction with the source's cursor, so reading
the same item again has no further effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hubd.core.model import Channel


class ItemKind(StrEnum):
    """What came back."""

    DELIVERED = "delivered"  #: a receipt: it arrived
    BOUNCE = "bounce"  #: it will not arrive
    DELAYED = "delayed"  #: it has not arrived yet, and the sender still tries
    COMPLAINT = "complaint"  #: the person reported it as spam
    OPT_OUT = "opt_out"  #: the person wants no more
    OPT_IN = "opt_in"  #: the person takes an opt-out back
    REPLY = "reply"  #: a person wrote back
    AUTOMATIC = "automatic"  #: an out-of-office notice or the like: counted and nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What an item says about the message that it is about. Whatever a source does not know stays empty."""

    token: str = ""  #: of the envelope sender, the unsubscribe link or the webhook: see `core.tokens`
    envelope_id: str = ""  #: Original-Envelope-Id (RFC 3464, 2.2.1): a token, or a Message-ID as below
    message_ids: tuple[str, ...] = ()  #: RFC 5322 Message-IDs with their angle brackets, the likeliest first
    #: The number that we gave the provider to tell us again, which is that of the delivery
    #: (`RenderedMessage.delivery_id`). Others may use the same account, so it counts only where the address
    #: fits, and the provider id if there is one.
    delivery: int | None = None
    provider_ids: tuple[str, ...] = ()  #: the provider's names for the message
    channel: Channel = Channel.EMAIL
    address: str = ""  #: whom it is about: the final recipient, or who wrote; normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that came back, about one recipient."""

    key: str  #: names it for ever within its source: the same item read again has the same key
    kind: ItemKind
    at: float  #: when it happened, seconds since the epoch, as the source says
    about: Reference
    source: str = ""  #: under whose name it is kept; "" for the source that read it
    #: It may be about a message that somebody else sent with the same account: it counts only if it is ours.
    only_ours: bool = False
    #: Seconds from `at` for which it is left at its source while it fits no message; 0: as the look says.
    look_again: float = 0.0
    #: An entry of the provider's own list of addresses. It names no message, and counts for the address in
    #: any case; what it says may have been told about a message before.
    of_list: bool = False
    code: int = 0  #: reply code or the provider's error number, 0 without one
    enhanced: str = ""  #: enhanced status code such as "5.1.1" (RFC 3463), or ""
    vendor: str = ""  #: the provider's own word for it ("Permanent/General", "30005"), or ""
    permanent: bool | None = None  #: bounces: what the source itself says about trying again; None: nothing
    words: str = ""  #: the server's own words, one line; may name an address
    sender: str = ""  #: who wrote, as written; replies and opt-outs
    subject: str = ""
    text: str = ""  #: a reply: the whole text that the person wrote, without the part that it quotes
    quoted: str = ""  #: the part that it quotes
    message_id: str = ""  #: a reply by mail: its own Message-ID, which an answer to it names
