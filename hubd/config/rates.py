"""The part of hubd.toml that says how fast a provider may be used.

    rate = ["30/minute", "10000/day"]
    warmup = { start = "200/day", double_every = "2 days" }
    sender_rates = { "news@acme.example" = ["500/day"], "*" = "2000/day" }
    domain_rates = { "gmail.com" = ["10/s", "5000/day"], "*" = "20/s" }

The keys of the last two are normalised, so that they compare with what is sent from and to: addresses and
domains in lower case and ASCII, phone numbers as E.164. "*" is each other one, for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, TypedDict

from msgspec import Meta

from hubd.core.addresses import email_address, sms_sender
from hubd.core.pacing import parse_rate
from hubd.core.tables import Table, problem_of, shown
from hubd.core.warmup import Warmup, parse_doubling, parse_start
from hubd.errors import BadInput

Rates = Mapping[str, tuple[str, ...]]  #: what is limited, or "*", and its rates
_NONE: Rates = MappingProxyType({})
MOST_KEYS = 1_000  #: senders or domains with rates of their own, on one provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """How fast a provider may be used."""

    rate: Annotated[
        tuple[str, ...],
        Meta(
            title="rate or list of rates",
            description='How much may be sent in total, such as `"30/minute"`. Several rates apply at once.',
        ),
    ] = ()
    warmup: Annotated[
        Warmup | None,
        Meta(
            description='Sender warm-up: a daily quota that grows, `{ start = "200/day", double_every = '
            '"2 days" }`, counted from the first message of this provider.'
        ),
    ] = None
    sender_rates: Annotated[
        Rates,
        Meta(description="Rates for single senders; `*` stands for every other sender, each on its own."),
    ] = field(default_factory=lambda: _NONE, hash=False)
    domain_rates: Annotated[
        Rates,
        Meta(
            description="Rates for single recipient domains, for email only; `*` stands for every "
            "other domain, each on its own."
        ),
    ] = field(default_factory=lambda: _NONE, hash=False)


class Limits(TypedDict):
    """The fields of `Limited`."""

    rate: tuple[str, ...]
    warmup: Warmup | None
    sender_rates: Rates
    domain_rates: Rates


def read_limits(table: Table, *senders: Callable[[str], str], domains: bool) -> Limits:
    """What a provider's table says of them. `senders` are the kinds of senders that it can have, and
    `domains` is whether it sends email.
    """
    return Limits(
        rate=_rates(table, "rate"),
        warmup=_warmup(table),
        sender_rates=_rates_of(table, "sender_rates", senders),
        domain_rates=_rates_of(table, "domain_rates", (domain,)) if domains else _NONE,
    )


def email_sender(text: str) -> str:
    """An address in the form it is compared in. Raises `BadInput`."""
    return email_address(text)[1]


def text_sender(text: str) -> str:
    """What a text comes from, in the form it is compared in. Raises `BadInput`."""
    return sms_sender(text).lower()


def domain(text: str) -> str:
    """A domain in lower case and ASCII. Raises `BadInput`."""
    try:
        return email_address(f"postmaster@{text}")[1].rpartition("@")[2]
    except BadInput:
        raise BadInput('must be a domain such as "gmail.com", or "*" for all others') from None


def _rates(table: Table, key: str) -> tuple[str, ...]:
    rates = table.texts(key, or_one=True, example='"30/minute"')
    for rate in rates:
        table.run(key, parse_rate, rate, None)
    return rates


def _warmup(table: Table) -> Warmup | None:
    value = table.take("warmup")
    if value is None:
        return None
    if not isinstance(value, Mapping):
        table.fault("warmup", 'must be a table such as { start = "200/day", double_every = "2 days" }')
        return None
    inner = table.sub("warmup")
    start = inner.checked("start", parse_start, 0, example="200/day")
    double_every = inner.checked("double_every", parse_doubling, 0.0, example="2 days")
    for key in ("start", "double_every"):
        if value.get(key) in (None, ""):
            inner.fault(key, "is missing; a warm-up needs start and double_every")
    inner.close()
    return Warmup(start=start, double_every=double_every) if start and double_every else None


def _rates_of(table: Table, key: str, kinds: tuple[Callable[[str], str], ...]) -> Rates:
    """Rates by sender or by domain."""
    value = table.take(key)
    if value is None:
        return _NONE
    if not isinstance(value, Mapping):
        table.fault(key, f'must be a table such as {{ "{_EXAMPLES[key]}" = "500/day", "*" = "2000/day" }}')
        return _NONE
    inner = table.sub(key)
    found: dict[str, tuple[str, ...]] = {}
    if len(value) > MOST_KEYS:
        table.fault(key, f"has more than {MOST_KEYS} keys")
        return _NONE
    for name in [name for name in value if isinstance(name, str)]:
        normal = "*" if name == "*" else _normal(inner, name, kinds)
        if not normal:
            inner.take(name)
        elif normal in found:
            inner.take(name)
            inner.fault(shown(name), "occurs twice in the table, in different spellings")
        else:
            found[normal] = _rates(inner, name)
            if value[name] in ("", []):
                inner.fault(shown(name), 'has no rate; write one like "500/day"')
    inner.close()
    return MappingProxyType(found)


_EXAMPLES = {"sender_rates": "news@acme.example", "domain_rates": "gmail.com"}


def _normal(table: Table, name: str, kinds: tuple[Callable[[str], str], ...]) -> str:
    """A sender or domain as it is compared; "" with a fault when it is none."""
    problem = ""
    for kind in kinds:
        try:
            return kind(name)
        except BadInput as error:
            problem = problem or problem_of(error)
    table.fault(shown(name), problem)
    return ""
