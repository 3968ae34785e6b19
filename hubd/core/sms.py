"""Text messages: which alphabet a text needs, how many segments it costs, and the compiled SMS plan.

A short message carries 140 bytes (3GPP TS 23.040 §9.2.3.16). They hold 160 septets of the GSM 7 bit default
alphabet (3GPP TS 23.038 §6.1.2.1) or 70 units of UCS-2 (§6.2.3, in practice UTF-16). A longer text is cut
into segments that each begin with a user data header of 6 bytes (TS 23.040 §9.2.3.24.1), which leaves 153
septets or 67 units. Two things are never cut in half: a character of the extension table, which is an escape
and a second septet (TS 23.038 §6.2.1.1), and a cluster of UTF-16 units that shows as one character: a
surrogate pair, a letter with its accents, an emoji sequence. That is also how Twilio's calculator counts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from hubd.core.model import Content
from hubd.core.template import Template, compile_template
from hubd.errors import BadInput, BadTemplate

Encoding = Literal["gsm7", "ucs2"]

TEXT_LIMIT = 1600  #: UTF-16 units; Twilio refuses a longer body (its error 21617)

#: TS 23.038 §6.2.1, the default alphabet in the order of its codes, without the escape at 0x1B.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"  #: TS 23.038 §6.2.1.1, two septets each
_GSM7 = frozenset(_BASIC + _EXTENSION)
_TWO_SEPTETS = frozenset(_EXTENSION)

_JOINER = "\u200d"  # zero width joiner, glues emoji together
_MARKS = frozenset({"Mn", "Me", "Mc"})  # categories of Unicode: accents and the like
_REGIONAL = range(0x1F1E6, 0x1F200)  # two of these are one flag
_SKIN_TONES = range(0x1F3FB, 0x1F400)


@dataclass(frozen=True, slots=True)
class Segments:
    """What a text costs. `units` are septets for gsm7 and UTF-16 units for ucs2, headers not included."""

    encoding: Encoding
    units: int
    segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms:
    """One finished text message."""

    text: str
    encoding: Encoding
    segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsPlan:
    """A campaign's text message, compiled once."""

    fields: frozenset[str]
    _template: Template

    def render(self, values: Mapping[str, str]) -> Sms:
        """The message for one recipient.

        Raises BadTemplate for a missing field, an empty result or one above `TEXT_LIMIT`.
        """
        text = self._template.render(values)
        if not text.strip():
            raise BadTemplate.at("text", "is empty for this recipient")
        try:
            cost = segments(text)
        except BadInput as error:
            raise BadTemplate(str(error), hint=error.hint, data=error.data) from None
        return Sms(text=text, encoding=cost.encoding, segments=cost.segments)


@dataclass(slots=True, kw_only=True)
class Bill:
    """What the messages of a campaign cost, in segments."""

    least: int = 0  #: of one message
    most: int = 0
    total: int = 0
    messages: int = 0

    def add(self, segments: int, messages: int) -> None:
        """So many messages have so many segments each."""
        self.least = min(self.least, segments) if self.total else segments
        self.most = max(self.most, segments)
        self.total += segments * messages
        self.messages += messages


def compile_sms(content: Content) -> SmsPlan:
    """Compile a campaign's text. Raises BadTemplate."""
    if not content.text.strip():
        raise BadTemplate.at("text", "is empty")
    template = compile_template(content.text, html=False, name="text")
    return SmsPlan(fields=template.fields, _template=template)


def segments(text: str) -> Segments:
    """The cheapest encoding of `text`, its units and its segments (0 for an empty text).

    Raises BadInput for a text above `TEXT_LIMIT` units or with half a surrogate pair.
    """
    characters = set(text)
    if _GSM7.issuperset(characters):
        _check_length(len(text))
        pairs = sum(map(text.count, characters & _TWO_SEPTETS))
        septets = (2 if character in _TWO_SEPTETS else 1 for character in text) if pairs else None
        return _cost("gsm7", len(text) + pairs, septets, single=160, several=153)
    try:
        units = len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise BadInput.at("text", "holds half of a surrogate pair") from None
    _check_length(units)
    clusters = map(_units, _clusters(text)) if any(map(_is_large, characters)) else None
    return _cost("ucs2", units, clusters, single=70, several=67)


def _check_length(units: int) -> None:
    if units > TEXT_LIMIT:
        raise BadInput.at(
            "text",
            f"is {units} characters long; a text message has at most {TEXT_LIMIT}",
            hint="shorten the text",
        )


def _cost(
    encoding: Encoding, units: int, sizes: Iterable[int] | None, *, single: int, several: int
) -> Segments:
    """`sizes` are the units of what must not be cut; None if each is a single one."""
    if units <= single:
        count = min(units, 1)
    else:
        count = -(-units // several) if sizes is None else _fill(sizes, several)
    return Segments(encoding, units, count)


def _fill(sizes: Iterable[int], capacity: int) -> int:
    """How many segments the pieces fill, none of them cut."""
    count, free = 1, capacity
    for size in sizes:
        if size > free:
            count, free = count + 1, capacity
        free -= size
    return count


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _clusters(text: str) -> Iterator[str]:
    """Cut a text into what shows as one character each (the common rules of Unicode UAX #29).

    A cluster that would not fit in a segment of its own is cut between its characters.
    """
    cluster = ""
    flags = 0  # regional indicators in the cluster so far
    for character in text:
        flag = ord(character) in _REGIONAL
        joins = _extends(cluster, character) or (flag and flags == 1)
        if cluster and (not joins or _units(cluster) + _units(character) > 67):
            yield cluster
            cluster, flags = "", 0
        cluster += character
        flags += flag
    if cluster:
        yield cluster


def _is_large(character: str) -> bool:
    """Whether it can be in a cluster of more than one unit with whatever stands before it."""
    return character > "\uffff" or character == _JOINER or unicodedata.category(character) in _MARKS


def _extends(cluster: str, character: str) -> bool:
    last = cluster[-1:]
    if last < " " or character < " ":
        return False
    return (
        character == _JOINER
        or unicodedata.category(character) in _MARKS
        or ord(character) in _SKIN_TONES
        or (last == _JOINER and unicodedata.category(character) == "So")
    )
