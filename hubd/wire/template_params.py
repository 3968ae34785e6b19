"""What the methods about templates take."""

from __future__ import annotations

from typing import Annotated

import msgspec

from hubd.wire.params import Key, Name, Params, Reference


class TemplateApply(Params, frozen=True):
    """Template files as parsed, with the texts read in; all of them are applied, or none."""

    specs: Annotated[list[dict[str, object]], msgspec.Meta(min_length=1, max_length=50)]
    idempotency_key: Key = None
    dry_run: bool = False


class TemplateReference(Params, frozen=True):
    """A template such as "welcome", or one version of it: "welcome@3"."""

    name: Reference


class TemplateName(Params, frozen=True):
    """A template with all its versions."""

    name: Name


class TemplateDelete(Params, frozen=True):
    """A template that nothing uses any more, with all its versions."""

    name: Name
    idempotency_key: Key = None
    dry_run: bool = False
