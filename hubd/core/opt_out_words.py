"""What a person who replies wants: no more messages, messages again, or something that a person has to read.

A word counts as an opt-out only where it is the whole text: the words of 47 CFR 64.1200(a)(10), those that
Twilio and AWS know, and their German, French, Spanish and Italian forms. A text that merely has one in it
("please stop writing to me", "the bus stop") is for a person: no list of phrases is right often enough.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from itertools import pairwise

_OPT_OUT = """
stop stopall unsubscribe unsub cancel end quit revoke optout remove td
stopp abmelden abmeldung abbestellen abbestellung austragen kundigen kuendigen widerruf widerrufen
arret arreter desabonner desabonnement desinscrire desinscription sedesabonner resilier
baja dardebaja darsedebaja darmedebaja cancelar parar alto desuscribir desuscribirse detener
basta annulla cancella cancellami disiscrivi disiscrivimi disiscrizione annullaiscrizione
"""
_OPT_IN = """
start unstop yes subscribe resubscribe
ja anmelden oui reprendre si alta suscribir iscrivi iscrivimi
"""
OPT_OUT = frozenset(_OPT_OUT.split())
OPT_IN = frozenset(_OPT_IN.split())
#: Part of too many texts to mean anything there.
_ONLY_ALONE = frozenset({"end", "td", "alto", "parar"})
_MENTIONED = OPT_OUT - _ONLY_ALONE

#: So many characters of a reply are read; what a person wants is not said later than that.
MOST_READ = 20_000
_LONGEST_WORD = 100  #: characters of a text that can be one word, with what stands around it
_WORD = re.compile(r"[^\W_]+")
#: What ends the words of a person: a signature (RFC 3676, 4.3), or what a phone adds automatically.
_SIGNATURE = re.compile(
    r"^(?:-- ?|sent from (?:my )?.{1,40}|get outlook for .{1,20}|von mein\w+ .{1,40}gesendet.{0,20}"
    r"|gesendet (?:von|mit) .{1,40}|envoy\S* (?:de|depuis) .{1,40}|enviado (?:desde|de) .{1,40}"
    r"|inviato da .{1,40})$",
    re.IGNORECASE | re.MULTILINE,
)


class Wish(Enum):
    """What a text asks for."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    UNCLEAR = "unclear"  #: it has a word of the first kind in it, and others
    NONE = "none"


def wish_of(text: str) -> Wish:
    """What a reply asks for; `text` is without the part that it quotes."""
    text = text[:MOST_READ]
    signature = _SIGNATURE.search(text)
    if signature is not None:
        text = text[: signature.start()]
    words = _WORD.findall(_folded(text))
    if len(text.strip()) <= _LONGEST_WORD:
        whole = "".join(words)
        if whole in OPT_OUT:
            return Wish.OPT_OUT
        if whole in OPT_IN:
            return Wish.OPT_IN
    if _MENTIONED.intersection(words) or any(one + two in _MENTIONED for one, two in pairwise(words)):
        return Wish.UNCLEAR
    return Wish.NONE


def _folded(text: str) -> str:
    """Small letters without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in parts if not unicodedata.combining(char))
