"""What the settings of every kind of provider have in common."""

from __future__ import annotations

from dataclasses import dataclass

from hubd.config.rates import Limited


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings(Limited):
    """One table of hubd.toml. Each kind has a class of its own, whose fields are its keys.

    A field with a `Meta` description is a key; a trailing `_` is left out in the file.
    """

    type: str
