"""The page behind an unsubscribe link: one question, one button, and nothing that asks anybody else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

from hubd.core.footer import UNSUBSCRIBE

#: What a mail program sends to a link by itself (RFC 8058, 3.2), and what the button of the page sends.
ONE_CLICK = ("List-Unsubscribe", "One-Click")


@dataclass(frozen=True, slots=True)
class _Words:
    question: str
    done: str
    unknown: str


_WORDS: Mapping[str, _Words] = MappingProxyType(
    {
        "da": _Words(
            "Vil du ikke længere modtage disse e-mails?",
            "Du er afmeldt.",
            "Dette link er ikke gyldigt.",
        ),
        "de": _Words(
            "Möchten Sie diese E-Mails nicht mehr erhalten?",
            "Sie sind abgemeldet.",
            "Dieser Link ist nicht gültig.",
        ),
        "en": _Words(
            "Do you want to stop receiving these emails?",
            "You are unsubscribed.",
            "This link is not valid.",
        ),
        "es": _Words(
            "¿Quiere dejar de recibir estos correos?",
            "Se ha dado de baja.",
            "Este enlace no es válido.",
        ),
        "fr": _Words(
            "Ne souhaitez-vous plus recevoir ces e-mails ?",
            "Vous êtes désabonné.",
            "Ce lien n'est pas valide.",
        ),
        "it": _Words(
            "Non vuole più ricevere queste e-mail?",
            "La sua iscrizione è stata annullata.",
            "Questo link non è valido.",
        ),
        "nl": _Words(
            "Wilt u deze e-mails niet meer ontvangen?",
            "U bent afgemeld.",
            "Deze link is niet geldig.",
        ),
        "pl": _Words(
            "Czy nie chcesz już otrzymywać tych wiadomości?",
            "Wypisano z listy.",
            "Ten link jest nieprawidłowy.",
        ),
        "pt": _Words(
            "Deseja deixar de receber estes e-mails?",
            "A sua subscrição foi cancelada.",
            "Esta ligação não é válida.",
        ),
        "sv": _Words(
            "Vill du inte längre få de här mejlen?",
            "Du har avslutat prenumerationen.",
            "Den här länken är inte giltig.",
        ),
    }
)
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")
_MOST_RANGES = 20


def language_of(accepted: str) -> str:
    """The language to answer in, by Accept-Language (RFC 9110, 12.5.4)."""
    wanted: list[tuple[float, int, str]] = []
    for number, part in enumerate(accepted[:500].split(",")[:_MOST_RANGES]):
        found = _RANGE.fullmatch(part)
        if found and float(found[2] or 1) > 0:
            wanted.append((-float(found[2] or 1), number, found[1].lower().partition("-")[0]))
    return next((tag for _, _, tag in sorted(wanted) if tag in _WORDS), "en")


def asking(language: str) -> str:
    """The page with the button."""
    words, button = _WORDS[language], UNSUBSCRIBE[language]
    name, value = ONE_CLICK
    form = (
        f'<form method="post"><input type="hidden" name="{name}" value="{value}">'
        f"<button>{escape(button)}</button></form>"
    )
    return _page(language, words.question, form)


def done(language: str) -> str:
    """The page after the button."""
    return _page(language, _WORDS[language].done)


def unknown(language: str) -> str:
    """The page for a link that is none of ours."""
    return _page(language, _WORDS[language].unknown)


def _page(language: str, sentence: str, more: str = "") -> str:
    style = "font:1.1rem/1.5 sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem;text-align:center"
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f'<title>{escape(sentence)}</title></head>\n<body style="{style}"><p>{escape(sentence)}</p>{more}'
        "</body></html>\n"
    )


def is_one_click(fields: Iterable[tuple[str, str]]) -> bool:
    """Whether a form has what unsubscribes, so that whoever only follows links unsubscribes nobody."""
    return ONE_CLICK in fields
