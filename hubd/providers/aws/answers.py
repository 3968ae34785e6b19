"""What the services of AWS answer: the names of their errors, and the two formats. Pure.

SES answers in JSON, SQS in JSON with the error's name in another place, SNS in XML. A document type, where
an XML bomb would declare its entities, is refused unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from xml.parsers import expat

from hubd.transports.http_protocol import Response

#: Nesting depth of an answer, and its number of elements; a page of 100 numbers has about 120.
MOST_DEPTH = 20
MOST_ELEMENTS = 10_000
#: Seconds by which this machine's clock may differ from the service's; AWS accepts five minutes.
MOST_SKEW = 240.0
#: What the name of an error looks like; what a proxy says instead is not stored or shown as one.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Unreadable(Exception):
    """An answer is not in the expected format; `str()` says why, and quotes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as a service names it. Both are "" if the answer does not say."""

    name: str  #: such as "MessageRejected"
    message: str


def failure_of(response: Response) -> Failure:
    """The error in an unsuccessful answer. Never raises: a proxy may have answered."""
    name = response.headers.get("x-amzn-errortype", "").partition(":")[0].strip()
    message = ""
    body = response.body.strip()
    try:
        if body.startswith(b"<"):
            texts = {path.rpartition("Error/")[2]: text for path, text in read_xml(body)}
            name, message = texts.get("Code", name), texts.get("Message", "")
        else:
            fields = read_json(body)
            named = name or fields.get("__type") or fields.get("code")
            said = fields.get("message") or fields.get("Message")
            name, message = (text if isinstance(text, str) else "" for text in (named, said))
    except Unreadable:
        pass
    # "com.amazonaws.sqs#QueueDoesNotExist": the part before the # says where the name is declared.
    name = name.rpartition("#")[2].partition(":")[0]
    return Failure(name=name if _NAME.fullmatch(name) else "", message=message)


def read_json(body: bytes) -> Mapping[str, object]:
    """The object that a body is. Raises `Unreadable`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # bytes that are not UTF-8 are a ValueError, too
        raise Unreadable("it is not JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("it is not an object of JSON")
    return found


def read_xml(body: bytes) -> list[tuple[str, str]]:
    """The texts of an XML document in their order, each with the path of its element below the root.

    `<R><A><B>x</B></A></R>` is `[("A/B", "x"), ("A", "")]`. Raises `Unreadable`, also for any document type.
    """
    found: list[tuple[str, str]] = []
    names: list[str] = []
    texts: list[list[str]] = []
    elements = 0

    def start(name: str, _: object) -> None:
        nonlocal elements
        elements += 1
        if elements > MOST_ELEMENTS or len(names) >= MOST_DEPTH:
            raise Unreadable("it has too many elements")
        names.append(name.rpartition(":")[2])
        texts.append([])

    def end(_: str) -> None:
        found.append(("/".join(names[1:]), "".join(texts.pop()).strip()))
        names.pop()

    def refuse(*_: object) -> None:
        raise Unreadable("it has a document type")

    parser = expat.ParserCreate("utf-8")  # whatever encoding the document declares
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: texts[-1].append(text)
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise Unreadable("it is not well-formed XML") from None
    return found


def values_at(texts: Iterable[tuple[str, str]], path: str) -> Iterator[str]:
    """The texts at one path of what `read_xml` found."""
    return (text for where, text in texts if where == path)


def skew(response: Response, at: float) -> float:
    """By how many seconds this machine's clock is ahead of the one that answered; 0.0 if that is unknown.

    `at` is the time here, epoch seconds.
    """
    try:
        return at - parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def skew_sentence(seconds: float) -> str:
    """What is wrong with the clock, for people; "" while it is accurate enough for signatures."""
    if abs(seconds) <= MOST_SKEW:
        return ""
    minutes = round(abs(seconds) / 60)
    direction = "ahead of" if seconds > 0 else "behind"
    return f"The clock of this machine is {minutes:,} minutes {direction} that of AWS; correct it."
