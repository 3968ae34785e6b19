"""Stored templates: named, versioned content that campaigns share, and the file that one is made from.

A template that extends another one is kept as it was written. What a campaign says is made of it when the
campaign or a template changes, until the campaign starts: then it stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from hubd.core.html_text import plain_text
from hubd.core.inheritance import Flat, Source, extended, flatten
from hubd.core.model import Channel, Content
from hubd.core.spec import CampaignSpec
from hubd.core.spec_reading import MAX_BODY_BYTES, campaign_name, parse_reference
from hubd.core.tables import Fault, Table, unknown_first
from hubd.core.template import compile_template
from hubd.errors import BadInput, BadTemplate, Conflict, NotFound

T = TypeVar("T")
_PARTS = ("subject", "text", "html")


class TemplateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A validated template file."""

    name: Annotated[
        str, Meta(description="The unique name: a-z, 0-9 and `.` `_` `-`, up to 64 characters. Required.")
    ]
    channel: Annotated[Channel, Meta(description="What it is for. Required.")]
    subject: Annotated[
        str,
        Meta(description="The subject. A template that others merely extend may leave it out. Email only."),
    ] = ""
    text: Annotated[
        str,
        Meta(
            description='The plain text. `{% extends "layout" %}` takes the text of another '
            "template and fills "
            "its blocks. Email needs text, HTML or both; SMS needs text."
        ),
    ] = ""
    html: Annotated[str, Meta(description="The HTML part, likewise. Email only.")] = ""


class Stored(NamedTuple):
    """A version of a template."""

    spec: TemplateSpec
    version: int
    created_at: float

    @property
    def reference(self) -> str:
        """Such as "welcome@3"."""
        return f"{self.spec.name}@{self.version}"


class TemplateUsers(NamedTuple):
    """A version of a template, and the names of the campaigns that have its content."""

    stored: Stored
    campaigns: Sequence[str]


#: Gives a version of a template by its reference; without a version the newest. Raises NotFound.
Load = Callable[[str], Stored]


def parse_template(raw: object) -> TemplateSpec:
    """The template in a parsed file. Raises BadInput with all faults."""
    faults: list[Fault] = []
    top = Table(raw, faults)
    for key in ("name", "channel"):
        if top.raw.get(key) in (None, ""):
            top.fault(key, "is missing" if key == "name" else 'is missing; "email" or "sms"')
    channel = top.choice("channel", tuple(Channel), None)
    body = partial(_limited, size=MAX_BODY_BYTES)
    spec = TemplateSpec(
        name=top.checked("name", campaign_name, "", example="welcome"),
        channel=channel or Channel.EMAIL,
        subject=top.checked("subject", partial(_limited, size=998), ""),
        text=top.checked("text", body, "", lines=True),
        html=top.checked("html", body, "", lines=True),
    )
    if channel is Channel.SMS:
        for key in ("subject", "html"):
            if getattr(spec, key):
                top.fault(key, 'is for email only; this template has channel = "sms"')
    if channel is not None and not spec.text.strip() and not spec.html.strip():
        top.fault("text", f"is missing; {'an SMS needs text' if channel is Channel.SMS else 'or html'}")
    top.close(also=("text_file", "html_file"))
    if faults:
        raise BadInput.of(unknown_first(faults))
    return spec


def _limited(text: str, size: int) -> str:
    if len(text.encode()) > size:
        raise BadInput(f"is longer than {size:,} bytes")
    return text


def bases(spec: TemplateSpec) -> set[str]:
    """The names of the templates that this one extends itself."""
    found = (extended(source) for source in _sources(spec))
    return {parse_reference(reference)[0] for reference in found if reference}


def joined(spec: TemplateSpec, load: Load) -> Mapping[str, Flat]:
    """The parts of a template, each with all that it extends. Raises BadInput if they do not fit together."""
    return {source.name: flatten(source, partial(_base, source.name, load)) for source in _sources(spec)}


def check_renders(parts: Mapping[str, Flat]) -> None:
    """Raise BadTemplate if a part cannot be rendered, with the line where it was written."""
    for part, flat in parts.items():
        try:
            compile_template(flat.text, html=part == "html", name=part)
        except BadTemplate as error:
            raise _relocated(error, flat, part) from None


def content_with(spec: CampaignSpec, load: Load) -> tuple[Content, str]:
    """What a campaign with a template says, and the reference of the version that it comes from.

    Raises BadInput for a template that there is not, or that does not fit.
    """
    try:
        stored = load(spec.template)
    except NotFound as error:
        raise BadInput.at("template", str(error), hint=error.hint) from None
    if stored.spec.channel is not spec.channel:
        raise BadInput.at("template", f"{stored.reference} is for {stored.spec.channel.value}")
    if spec.channel is Channel.EMAIL and not stored.spec.subject.strip():
        raise BadInput.at("template", f"{stored.reference} has no subject, so it can only be extended")
    parts = {part: flat.text for part, flat in joined(stored.spec, load).items()}
    subject, text, html = (parts.get(part, "") for part in _PARTS)
    text = text if text.strip() else plain_text(html)
    return replace(spec.content(), subject=subject, text=text, html=html), stored.reference


def still_fits(user: str, make: Callable[[], T]) -> T:
    """What `make` returns. Raises Conflict ("template_in_use") where it raises BadInput."""
    try:
        return make()
    except BadInput as error:
        raise Conflict(
            f"{user} would no longer be valid: {error}",
            code="template_in_use",
            hint="apply all of them together: hubctl template apply FILE...",
        ) from None


def within(error: BadInput, place: str) -> BadInput:
    """The same error, at a place inside of another value."""
    return type(error).of([(f"{place}.{path}", problem) for path, problem in _faults(error)], hint=error.hint)


def _sources(spec: TemplateSpec) -> Iterator[Source]:
    return (Source(part, getattr(spec, part)) for part in _PARTS if getattr(spec, part))


def _base(part: str, load: Load, reference: str) -> Source:
    try:
        parse_reference(reference)
    except BadInput as error:
        raise BadTemplate.at(part, f"extends {reference!r}, which {error}") from None
    try:
        stored = load(reference)
    except NotFound as error:
        raise BadTemplate.at(part, f"extends {reference!r}, and {error}", hint=error.hint) from None
    text = getattr(stored.spec, part)
    if not text:
        raise BadTemplate.at(part, f"extends {stored.reference}, which has no {part}")
    return Source(f"{stored.reference} {part}", text)


def _relocated(error: BadTemplate, flat: Flat, part: str) -> BadTemplate:
    """The error at the line where it was written, which may be in a template that is extended."""
    ((path, problem),) = _faults(error)
    found = re.fullmatch(rf"{part} line (\d+)", path)
    if found is not None:
        name, line = flat.origin(int(found[1]))
        path = f"{name} line {line}"
    return BadTemplate.at(path, problem, hint=error.hint)


def _faults(error: BadInput) -> list[tuple[str, str]]:
    listed = error.data["errors"]
    assert isinstance(listed, list)
    return [(str(each["path"]), str(each["problem"])) for each in listed]
