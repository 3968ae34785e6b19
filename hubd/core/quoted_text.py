"""What a person wrote in a reply, and what the reply quotes.

There is no standard for it. These are the marks that mail programs leave: ">" before lines, a line that says
who wrote when, a line such as "Original Message", the header of the quoted mail. In English, German, French,
Spanish and their neighbours.
"""

from __future__ import annotations

import re

_MOST_LINES = 2_000  #: lines that are looked at; behind them nothing is found
_LONGEST_LINE = 300  #: characters of a line that says who wrote; two more lines may follow

#: "On Monday Ann wrote:". The first words keep sentences that end in a verb and a colon out.
_WROTE = re.compile(
    r"(?:"
    r"on\b.{5,}\bwrote"
    r"|(?:am|den|um)\b.{5,}\b(?:schrieb\b.{0,120}|hat\b.{1,120}\bgeschrieben)"
    r"|.{3,120}\bschrieb (?:am|um)\b.{5,}"
    r"|le\b.{5,}\ba\s+écrit"
    r"|el\b.{5,}\bescribió"
    r"|il\b.{5,}\bha\s+scritto"
    r"|op\b.{5,}\bschreef\b.{0,120}"
    r"|em\b.{5,}\bescreveu"
    r")\s*:",
    re.IGNORECASE,
)
_BEGINS_WROTE = re.compile(r"(?:on|am|den|um|le|el|il|op|em)\b|.{3,120}\bschrieb (?:am|um)\b", re.IGNORECASE)
_SEPARATOR = re.compile(
    r"[-_=*\s]{2,}(?:original(?:\s+message|nachricht)|ursprüngliche\s+(?:nachricht|e-?mail)"
    r"|urspr(?:ue|.)ngliche\s+nachricht|message\s+(?:d.origine|original|transféré|transmis)|mensaje\s+(?:original|reenviado)"
    r"|forwarded\s+message|weitergeleitete\s+nachricht|messaggio\s+originale|oorspronkelijk\s+bericht)[-_=*\s]*:?",
    re.IGNORECASE,
)
_FROM = re.compile(r"\*?(?:from|von|de|da|van)\s*\*?\s?:\*?\s*\S", re.IGNORECASE)
_OTHER_FIELD = re.compile(
    r"\*?(?:sent|date|to|subject|cc|reply-to|gesendet|datum|an|betreff|envoyé|date d.envoi|à|objet"
    r"|enviado(?: el)?|fecha|para|asunto|inviato|data|a|oggetto|verzonden|aan|onderwerp)\s*\*?\s?:\*?\s*\S",
    re.IGNORECASE,
)
_LINE = re.compile(r"[_-]{8,}")


def split_reply(text: str) -> tuple[str, str]:
    """The part that the person wrote, and the quoted part with the line that introduces it."""
    lines = text.split("\n")
    own: list[str] = []
    quoted: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.lstrip().startswith(">"):
            quoted.append(line)
            at += 1
            continue
        introduced = _introduces(lines, at) if at < _MOST_LINES else 0
        if introduced and _all_quoted(lines, at + introduced):
            quoted.extend(lines[at:])
            break
        if introduced:
            quoted.extend(lines[at : at + introduced])
            at += introduced
            continue
        own.append(line)
        at += 1
    return _without_blank_ends(own), _without_blank_ends(quoted)


def _introduces(lines: list[str], at: int) -> int:
    """How many lines from here on introduce the quoted part; 0 if this line is none of them."""
    line = lines[at].strip()
    if not line or len(line) > _LONGEST_LINE:
        return 0
    if _SEPARATOR.fullmatch(line):
        return 1
    if _LINE.fullmatch(line) and _is_header(lines, at + 1):
        return 1
    if _is_header(lines, at):
        return 1
    return _who_wrote(lines, at) if _BEGINS_WROTE.match(line) else 0


def _who_wrote(lines: list[str], at: int) -> int:
    """Long ones are folded: up to three lines."""
    joined = ""
    for count, line in enumerate(lines[at : at + 3], start=1):
        joined = f"{joined} {line.strip()}".strip()
        if not line.strip() or len(joined) > _LONGEST_LINE:
            return 0
        if joined.endswith(":"):
            return count if _WROTE.fullmatch(joined) else 0
    return 0


def _is_header(lines: list[str], at: int) -> bool:
    """Whether the header of a quoted mail begins here, as Outlook shows it: From and two other fields."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at >= len(lines) or not _FROM.match(lines[at].strip()[:_LONGEST_LINE]):
        return False
    return sum(bool(_OTHER_FIELD.match(line.strip()[:_LONGEST_LINE])) for line in lines[at + 1 : at + 8]) >= 2


def _all_quoted(lines: list[str], at: int) -> bool:
    """Whether everything from here on is quoted: no ">" marks it line by line."""
    following = next((line for line in lines[at : at + 20] if line.strip()), "")
    return not following.lstrip().startswith(">")


def _without_blank_ends(lines: list[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).strip("\n \t")
