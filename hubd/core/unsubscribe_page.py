"""The page behind an unsubscribe link: one question, one button, and nothing that asks anybody else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

from hubd.core.footer import UNSUBSCRIBE

#: What a mail program sends to a link on its own (RFC 8058, 3.2), and what the button of the page sends.
ONE_CLICK = ("List-Unsubscribe", "One-Click")


@dataclass(frozen=True, slots=True)
class _Words:
    question: str
    done: str
    unknown: str
    nobody: str


_WORDS: Mapping[str, _Words] = MappingProxyType(
    {
        "da": _Words(
            "Vil du ikke længere modtage disse e-mails?",
            "Du er afmeldt.",
            "Dette link er ikke gyldigt.",
            "Vi ved ikke længere, hvilken adresse denne e-mail gik til, så ingen er afmeldt. "
            "Får du stadig vores e-mails, så brug linket i den nyeste, eller svar på den.",
        ),
        "de": _Words(
            "Möchten Sie diese E-Mails nicht mehr erhalten?",
            "Sie sind abgemeldet.",
            "Dieser Link ist nicht gültig.",
            "Wir wissen nicht mehr, an welche Adresse diese E-Mail ging; deshalb ist niemand abgemeldet. "
            "Falls Sie weiterhin E-Mails von uns erhalten, nutzen Sie den Link in der neuesten "
            "oder antworten Sie darauf.",
        ),
        "en": _Words(
            "Do you want to stop receiving these emails?",
            "You are unsubscribed.",
            "This link is not valid.",
            "We no longer know which address this email went to, so nobody is unsubscribed. "
            "If you still receive our emails, use the link in the newest one, or reply to it.",
        ),
        "es": _Words(
            "¿Quiere dejar de recibir estos correos?",
            "Se ha dado de baja.",
            "Este enlace no es válido.",
            "Ya no sabemos a qué dirección se envió este correo, por lo que no se ha dado de baja a nadie. "
            "Si sigue recibiendo nuestros correos, use el enlace del más reciente o responda a él.",
        ),
        "fr": _Words(
            "Ne souhaitez-vous plus recevoir ces e-mails ?",
            "Vous êtes désabonné.",
            "Ce lien n'est pas valide.",
            "Nous ne savons plus à quelle adresse cet e-mail a été envoyé ; personne n'a donc été désabonné. "
            "Si vous recevez encore nos e-mails, utilisez le lien du plus récent ou répondez-y.",
        ),
        "it": _Words(
            "Non vuole più ricevere queste e-mail?",
            "La sua iscrizione è stata annullata.",
            "Questo link non è valido.",
            "Non sappiamo più a quale indirizzo sia stata inviata questa e-mail, "
            "quindi nessuna iscrizione è stata annullata. "
            "Se riceve ancora le nostre e-mail, usi il link nella più recente o risponda a quella.",
        ),
        "nl": _Words(
            "Wilt u deze e-mails niet meer ontvangen?",
            "U bent afgemeld.",
            "Deze link is niet geldig.",
            "We weten niet meer naar welk adres deze e-mail is gestuurd, dus niemand is afgemeld. "
            "Ontvangt u nog steeds onze e-mails, gebruik dan de link in de nieuwste of beantwoord die.",
        ),
        "pl": _Words(
            "Czy nie chcesz już otrzymywać tych wiadomości?",
            "Wypisano z listy.",
            "Ten link jest nieprawidłowy.",
            "Nie wiemy już, na jaki adres wysłano tę wiadomość, więc nikt nie został wypisany. "
            "Jeśli nadal otrzymuje Pan/Pani nasze wiadomości, prosimy użyć linku w najnowszej "
            "lub na nią odpowiedzieć.",
        ),
        "pt": _Words(
            "Deseja deixar de receber estes e-mails?",
            "A sua subscrição foi cancelada.",
            "Esta ligação não é válida.",
            "Já não sabemos para que endereço este e-mail foi enviado, por isso ninguém foi removido. "
            "Se ainda recebe os nossos e-mails, use a ligação do mais recente ou responda-lhe.",
        ),
        "sv": _Words(
            "Vill du inte längre få de här mejlen?",
            "Du har avslutat prenumerationen.",
            "Den här länken är inte giltig.",
            "Vi vet inte längre vilken adress det här mejlet skickades till, "
            "så ingen har avslutat prenumerationen. "
            "Får du fortfarande våra mejl, använd länken i det senaste eller svara på det.",
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


def nobody(language: str) -> str:
    """The page after the button when it can no longer be found whose message it was in."""
    return _page(language, _WORDS[language].nobody)


def unknown(language: str) -> str:
    """The page for a link that is not one of ours."""
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
