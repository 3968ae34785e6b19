"""People who do not exist, the same ones every time.

No message could reach anybody: the addresses are in the domains that RFC 2606 keeps for documentation, and
the phone numbers are in ranges that regulators keep for fiction (555-0100 to 555-0199 of North American area
codes; 070-174 06 05 to 06 99 of the Swedish PTS; 0171-39200xx of the German BNetzA). They are valid all the
same, so that every check sees what it would see with real ones.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from typing import TextIO

COLUMNS = ("email", "phone", "first_name", "last_name", "city", "timezone")

_PLACES = {
    "US": (
        ("Austin", "America/Chicago"),
        ("Portland", "America/Los_Angeles"),
        ("Boston", "America/New_York"),
    ),
    "SE": (("Göteborg", "Europe/Stockholm"), ("Malmö", "Europe/Stockholm"), ("Umeå", "Europe/Stockholm")),
    "DE": (("Köln", "Europe/Berlin"), ("Zürich", "Europe/Zurich"), ("Tübingen", "Europe/Berlin")),
    "": (
        ("São Paulo", "America/Sao_Paulo"),
        ("Kraków", "Europe/Warsaw"),
        ("大阪", "Asia/Tokyo"),
        ("Αθήνα", "Europe/Athens"),
    ),
}
_NAMES = {
    "US": "Amara Okafor, Grace Liu, Diego Hernández, Noah Whitfield, Priya Raman, Siobhán O'Rourke, "
    "Malik Johnson, Chloë Tremblay, Renée Baptiste, Tom Ngata",
    "SE": "Åsa Lindström, Björn Sjöberg, Elin Öberg, Yusuf Demir, Maj-Britt Ek",
    "DE": "Jürgen Groß, Ayşe Yılmaz, Heike Schönfeld, Łukasz Wójcik, Zoé Krämer",
    "": "João Conceição, Ewa Świątek, さくら 田中, Ελένη Παππά, Małgorzata Żak, Thiago Araújo, "
    "Дарья Соколова, Noor el-Amin",
}
_DOMAINS = ("example.com", "example.org", "example.net")
#: Area codes of big North American cities; each has the hundred numbers 555-0100 to 555-0199.
_AREA_CODES = [
    *(202, 205, 206, 208, 212, 213, 214, 215, 216, 301, 303, 304, 305, 307, 312, 313, 314, 317, 401, 402),
    *(404, 405, 406, 412, 414, 415, 501, 502, 503, 504, 505, 512, 513, 515, 601, 602, 603, 605, 612, 614),
    *(615, 617, 701, 702, 704, 713, 716, 801, 802, 803, 808, 816, 901, 907, 916, 919),
]


def people(count: int) -> Iterator[tuple[str, ...]]:
    """`count` rows of good contacts with distinct addresses. About half have a phone number."""
    chance = random.Random(2606)  # noqa: S311 - the same people every time is the point
    numbers = {"US": _american(), "SE": _swedish(), "DE": _german()}
    regions = ("US", "SE", "DE", "")
    for number in range(1, count + 1):
        region = chance.choices(regions, weights=(5, 2, 2, 3))[0]
        first, last = chance.choice(_NAMES[region].split(", ")).split(" ", 1)
        city, zone = chance.choice(_PLACES[region])
        email = f"{_ascii(first)}.{_ascii(last)}.{number}@{chance.choice(_DOMAINS)}"
        phone = next(numbers[region], "") if region and chance.random() < 0.7 else ""
        yield email, phone, first, last, city if chance.random() < 0.85 else "", zone


def bad_rows(good: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What real files hold: the same person twice in another spelling, and rows that no message can reach."""
    return [
        (good[0].upper(), good[1], *good[2:]),
        ("ana@localhost", "", "Ana", "Prieto", "Lima", ""),
        ("kim.lee@example.com, k.lee@example.org", "", "Kim", "Lee", "Seoul", ""),
        ("", "+1 555 0100", "Omar", "Haddad", "Detroit", ""),
    ]


def write(stream: TextIO, count: int) -> None:
    """A CSV file of `count` good contacts with a few bad rows among them."""
    out = csv.writer(stream, lineterminator="\n")
    out.writerow(COLUMNS)
    spoiled: list[tuple[str, ...]] = []
    for number, row in enumerate(people(count), 1):
        out.writerow(row)
        spoiled = bad_rows(row) if number == 1 else spoiled
        if number % 37 == 0 and spoiled:
            out.writerow(spoiled.pop(0))
    out.writerows(spoiled)


def _american() -> Iterator[str]:
    for line in range(100):
        for area in _AREA_CODES:
            yield f"+1{area}55501{line:02}"


def _swedish() -> Iterator[str]:
    for line in range(5, 100):
        yield f"+467017406{line:02}"


def _german() -> Iterator[str]:
    for line in range(100):
        yield f"+4917139200{line:02}"


_PLAIN = {"ß": "ss", "Ł": "l", "ł": "l", "ı": "i", "ø": "o"}
_WRITTEN = {
    "さくら": "sakura",
    "田中": "tanaka",
    "Ελένη": "eleni",
    "Παππά": "pappa",
    "Дарья": "darya",
    "Соколова": "sokolova",
}


def _ascii(name: str) -> str:
    """A name as people write it in an address."""
    import unicodedata

    name = _WRITTEN.get(name, name)
    spelled = "".join(_PLAIN.get(char, char) for char in name)
    letters = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode().lower()
    return "".join(char for char in letters if char.isalnum() or char == "-")
