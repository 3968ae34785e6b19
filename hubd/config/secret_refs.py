"""References to secrets in hubd.toml, such as `{ file = "office.pass" }`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from hubd.core.tables import Table, kind_of
from hubd.errors import BadInput
from hubd.secrets import Place, SecretRef

_NAME = {
    Place.CREDENTIAL: re.compile(r"(?!\.)[A-Za-z0-9._@:-]{1,255}"),
    Place.ENV: re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}"),
}


def read_secret(table: Table, key: str) -> SecretRef | None:
    """Where the secret of this key is; None if it is absent or no reference. A secret itself is refused,
    unseen.
    """
    value = table.take(key)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        what = "a secret" if isinstance(value, str) else kind_of(value)
        table.fault(key, f"{what} is not allowed here; {how_to(key)}")
        return None
    inner = table.sub(key)
    named = [(place, inner.checked(place, _name(place), "")) for place in Place if place in value]
    for place in Place:
        inner.take(place)
    inner.close()
    if len(value) != 1:
        table.fault(key, f"must name exactly one place; {how_to(key)}")
    return SecretRef(*named[0]) if len(named) == 1 and named[0][1] else None


def how_to(key: str) -> str:
    """What to write instead of a secret."""
    return (
        f'put it in a file of mode 0600 and write {key} = {{ file = "NAME" }}, '
        f"or refer to it with {{ credential = ... }}, {{ keyring = ... }} or {{ env = ... }}"
    )


def _name(place: Place) -> Callable[[str], str]:
    pattern = _NAME.get(place)

    def check(text: str) -> str:
        if pattern is not None and pattern.fullmatch(text) is None:
            raise BadInput("is not a valid name; use letters, digits and . _ -")
        return text

    return check
