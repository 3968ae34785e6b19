"""`[notify]` of hubd.toml: who is told by email what campaigns and the daemon do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from hubd.core.addresses import email_address, mailbox
from hubd.core.notices import NoticeKind
from hubd.core.tables import Table
from hubd.errors import BadInput

MOST = 20  #: addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Emails about campaigns that are completed, paused or failed, and about what needs somebody."""

    email: Annotated[
        tuple[str, ...],
        Meta(description='The addresses that are notified, such as `["ops@acme.example"]`. Required.'),
    ]
    provider: Annotated[
        str,
        Meta(
            description="The provider that sends these emails. If it does not work, another one that sends "
            "email is used. Required."
        ),
    ]
    sender: Annotated[str, Meta(description="The sender, such as `Hub <hub@acme.example>`. Required.")]
    on: Annotated[
        tuple[str, ...],
        Meta(
            description="What they are notified of: "
            + ", ".join(f'`"{kind}"`' for kind in NoticeKind)
            + ". The default is everything."
        ),
    ] = ()
    keys: dict[str, str] = field(default_factory=dict)  #: the addresses, with what they are compared by

    @property
    def kinds(self) -> frozenset[NoticeKind]:
        """What they are told."""
        return frozenset(map(NoticeKind, self.on)) if self.on else frozenset(NoticeKind)


def read_notify(table: Table, providers: Collection[str]) -> NotifySettings | None:
    """The settings; None without the table. `providers` are those that send email."""
    keys: dict[str, str] = {}
    for at, text in enumerate(table.texts("email", example='["ops@acme.example"]')):
        address, key = table.run(f"email[{at}]", email_address, text, ("", ""))
        if address:
            keys[address] = key
    provider = table.text("provider", example="office")
    sender = table.checked("sender", mailbox, "", example="Hub <hub@acme.example>")
    on = table.texts("on", example='["failed", "paused"]')
    kinds = tuple(table.run(f"on[{at}]", _kind, word, "") for at, word in enumerate(on))
    table.close()
    if not table.raw:
        return None
    for key, value in (("email", keys), ("provider", provider), ("sender", sender)):
        if table.raw.get(key) in (None, "", []):
            table.fault(key, "is missing")
        elif key == "provider" and isinstance(value, str) and value and value not in providers:
            table.fault(key, "is not a provider in this file that sends email")
    if len(keys) > MOST:
        table.fault("email", f"at most {MOST} addresses")
    return NotifySettings(email=tuple(keys), provider=provider, sender=sender, on=kinds, keys=keys)


def _kind(word: str) -> str:
    if word not in set(NoticeKind):
        raise BadInput(f"must be one of {', '.join(NoticeKind)}")
    return word
