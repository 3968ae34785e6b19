"""What the methods about templates answer."""

from __future__ import annotations

from typing import TypedDict

from hubd.wire.results import Done


class TemplateVersion(TypedDict):
    """A version of a template. `campaigns` have its content; in a list of templates, that of any version."""

    name: str
    version: int
    channel: str
    created_at: str | None
    campaigns: list[str]


class TemplateView(TemplateVersion):
    """A version of a template with its words, as they were applied."""

    subject: str
    text: str
    html: str


class TemplateResult(TypedDict):
    template: TemplateView


class TemplatesResult(TypedDict):
    templates: list[TemplateVersion]


class TemplateHistory(TypedDict):
    name: str
    versions: list[TemplateVersion]


class AppliedVersion(TypedDict):
    name: str
    version: int
    changed: bool  #: whether it is a new version


class TemplatesApplied(Done):
    """`campaigns` have not begun, and have other content now."""

    templates: list[AppliedVersion]
    campaigns: list[str]
