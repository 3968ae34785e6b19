"""What a marketing email says at its end, where its text does not say it itself: how to unsubscribe, and from
whom it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from types import MappingProxyType

from hubd.errors import BadInput

#: "Unsubscribe" on a link, by language (BCP 47; "pt-br" is looked for before "pt").
UNSUBSCRIBE: Mapping[str, str] = MappingProxyType(
    {
        "cs": "Odhlásit se",
        "da": "Afmeld",
        "de": "Abmelden",
        "el": "Διαγραφή",
        "en": "Unsubscribe",
        "es": "Darse de baja",
        "fi": "Peru tilaus",
        "fr": "Se désabonner",
        "hu": "Leiratkozás",
        "it": "Annulla l'iscrizione",
        "ja": "配信停止",
        "ko": "수신 거부",
        "nb": "Meld deg av",
        "nl": "Afmelden",
        "no": "Meld deg av",
        "pl": "Wypisz się",
        "pt": "Cancelar subscrição",
        "pt-br": "Cancelar inscrição",
        "ro": "Dezabonare",
        "ru": "Отписаться",
        "sv": "Avsluta prenumerationen",
        "tr": "Abonelikten çık",
        "uk": "Відписатися",
        "zh": "退订",
    }
)
_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


def language_tag(text: str) -> str:
    """A language tag such as "de" or "pt-BR", in lower case. Raises BadInput."""
    tag = text.strip().lower().replace("_", "-")
    if _TAG.fullmatch(tag) is None:
        raise BadInput('is not a language such as "de" or "pt-BR"')
    return tag


def unsubscribe_word(language: str) -> str | None:
    """The word on the link in a language ("" is English); None for one that is not known here."""
    tag = language or "en"
    while tag and tag not in UNSUBSCRIBE:
        tag = tag.rpartition("-")[0]
    return UNSUBSCRIBE.get(tag)


def text_footer(lines: list[str]) -> str:
    """The end of a plain text: a signature, by which readers know it (RFC 3676 §4.3)."""
    return "\n-- \n" + "\n".join(lines) + "\n"


def html_footer(lines: list[str]) -> str:
    """The end of a page. The lines are HTML already."""
    return "<hr>\n<p>" + "<br>\n".join(lines) + "</p>\n"


def html_lines(text: str, url: str) -> str:
    """A plain text as HTML, with the URL in it as a link."""
    lines = "<br>\n".join(map(escape, text.strip().splitlines()))
    link = escape(url)
    return lines.replace(link, f'<a href="{link}">{link}</a>') if url else lines
