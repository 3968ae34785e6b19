"""The stable words for why a message did not go out, each with one sentence for people.

The word is what programs and the ledger keep, the sentence is what is shown. Neither ever holds an
address. `verdict` chooses the word.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from hubd.core.model import DeliveryState

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        # about the recipient
        "mailbox_unknown": "The mail server says that there is no such mailbox.",
        "domain_unknown": "The mail server says that the domain of the address does not exist.",
        "address_malformed": "The mail server says that the address is not valid.",
        "mailbox_moved": "The mail server says that the mailbox has moved and left no forwarding address.",
        "domain_takes_no_mail": "The domain of the address declares that it accepts no mail.",
        "mailbox_disabled": "The mail server says that the mailbox is disabled.",
        "mailbox_full": "The recipient's mailbox is full.",
        "mailbox_owner_changed": "The mailbox now belongs to somebody else.",
        "domain_owner_changed": "The domain of the address now belongs to somebody else.",
        "address_ambiguous": "The mail server says that the address matches more than one mailbox.",
        "recipient_refused": "The mail server refused this recipient.",
        "address_rejected": "The mail server rejects the address of the recipient and does not say why.",
        "greylisted": "The mail server refused this recipient for now, as it does with unknown senders.",
        "number_invalid": "The provider says that this is not a valid phone number.",
        "number_unknown": "The number is unknown or no longer in use.",
        "not_a_mobile_number": "The number cannot receive text messages.",
        "opted_out": "The recipient replied STOP and accepts no more messages from this sender.",
        "handset_unreachable": "The phone could not be reached.",
        "blocked": "The message was blocked on its way to this number.",
        "region_not_permitted": "The account is not allowed to send to this country.",
        "route_missing": "The provider has no route from this sender to this number.",
        # what came back later
        "bounced": "The message came back: it could not be delivered.",
        "bounced_often": "Messages to this address came back too often.",
        "complaint": "The recipient reported a message as spam.",
        "expired": "A mail server on the way tried for days and gave up.",
        # about the message or the sender
        "refused_by_policy": "The mail server refused this recipient by its own policy.",
        "block_listed": "The mail server refuses this machine or the sender because of a block list.",
        "content_refused": "The message was refused because of its content or a policy on it.",
        "message_refused": "The mail server refused the message.",
        "message_too_large": "The message is larger than the provider accepts.",
        "request_refused": "The provider refused the request.",
        "sender_refused": "The provider does not let this sender send; verify the sender address or number.",
        "sender_unauthenticated": "The sender's domain failed authentication; check SPF, DKIM, reverse DNS.",
        "sender_unregistered": "The sender number is not registered for this kind of traffic.",
        "daily_quota": "The provider's daily quota is used up; resume when it is renewed.",
        "sending_limit": "The account has reached its sending limit; resume when it is renewed.",
        "trial_account": "The provider account is a trial and may only send to verified numbers.",
        # for now, or about the conversation
        "refused_for_now": "The provider refused the message for now.",
        "storage_full": "The mail server is out of storage at the moment.",
        "routing_trouble": "The mail server could not reach the recipient's domain.",
        "domain_throttled": "The mail server of the recipient's domain is slowing messages down.",
        "too_many_recipients": "The mail server accepts no more recipients at the moment.",
        "too_fast": "The provider asks to send more slowly.",
        "connection_lost": "The connection was lost before the message was handed over.",
        "no_answer": "The mail server did not answer in time before the message was handed over.",
        "not_a_reply": "The mail server sent no valid reply before the message was handed over.",
        "out_of_sync": "The mail server's replies do not match the commands; the connection was closed.",
        "answer_lost": "The message was handed over but the answer was lost: it may have been accepted.",
        "waits_for_provider": "Another provider may have accepted it; only that provider may send it again.",
        # about the provider
        "provider_unreachable": "The provider cannot be reached.",
        "provider_busy": "The provider is busy and accepts nothing more for now.",
        "too_many_connections": "The mail server accepts no more connections at the moment.",
        "busy_at_recipient": "The mail server was too busy for this recipient and closed the connection.",
        "greeting_refused": "The mail server does not accept the name that hubd gives it; set ehlo_name.",
        "provider_refused": "The provider does not accept connections from this machine at the moment.",
        "provider_nonsense": "The server at the provider's address does not speak the expected protocol.",
        "sender_queue_full": "The provider's queue for this sender is full.",
        "login_unavailable": "The provider cannot check the login at the moment.",
        "login_refused": "The provider refused the login; check the account and what it is allowed to do.",
        "login_unsupported": "The provider offers no supported way to log in.",
        "encryption_required": "The login needs an encrypted connection; set security to starttls or tls.",
        "login_required": "The provider requires a login or encryption first; check username and security.",
        "bad_credentials": "The provider does not accept the user name or the password.",
        "account_unknown": "The provider does not know this account; check the account name and the address.",
        "clock_skew": "The clock of this machine differs too much from the provider's; correct it.",
        "account_suspended": "The provider account is suspended or unpaid.",
        "tls_unavailable": "An encrypted connection could not be set up.",
        "tls_refused": "The mail server refuses to encrypt the connection.",
        "tls_certificate": "The server's certificate cannot be trusted; check the host name and ca_file.",
        "starttls_missing": "The mail server does not offer encryption, which the configuration requires.",
        "outbox_unwritable": "The outbox folder cannot be written.",
    }
)

#: With these another try can help although nothing was changed. "gave_up" is a deferral that grew too old.
TRANSIENT: frozenset[str] = frozenset(
    {"greylisted", "mailbox_full", "handset_unreachable", "refused_for_now", "storage_full", "gave_up"}
    | {"routing_trouble", "too_many_recipients", "too_fast", "connection_lost", "no_answer", "not_a_reply"}
    | {"out_of_sync", "answer_lost", "provider_unreachable", "provider_busy", "provider_refused"}
    | {"provider_nonsense", "sender_queue_full", "login_unavailable", "tls_unavailable", "outbox_unwritable"}
    | {
        "daily_quota",
        "sending_limit",
        "greeting_refused",
        "busy_at_recipient",
        "domain_throttled",
        "too_many_connections",
    }
)


def class_of(state: DeliveryState, reason: str) -> Literal["transient", "permanent", "in_doubt"]:
    """What may help a failed delivery while nothing else changes: "transient" another try, "in_doubt" a
    person's word, "permanent" neither.
    """
    if state is DeliveryState.IN_DOUBT:
        return "in_doubt"
    return "transient" if state is DeliveryState.FAILED and reason in TRANSIENT else "permanent"
