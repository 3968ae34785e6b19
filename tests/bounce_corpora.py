"""How well returned mail is read, measured on two public collections. Needs the network; no test.

    python -m tests.bounce_corpora             fetch flufl.bounce's sources and sisimai's set of emails
    python -m tests.bounce_corpora DIRECTORY   that has them: flufl/, set-of-emails/ and rb-sisimai/

Neither is part of this repository. What sisimai expects of each mail, a class of failure and whether the
address is dead, is in the tests of its Ruby edition.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hubd.core.inbound import Item, ItemKind
from hubd.core.returned_mail import read_returned_mail

#: At once and for ever: RFC 3463 statuses that say the address does not exist.
DEAD = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"}
_ROWS = re.compile(r"'(\d\d)'\s*=>\s*\[(\[.*?\])\]\s*,?\s*(?=\n\s*(?:'\d\d'|\}|#))", re.DOTALL)
_ROW = re.compile(r"\['[^']*',\s*'[^']*',\s*'[^']*',\s*(true|false)")


def fetch(into: Path) -> None:
    """Download all of it, some 10 MB."""
    for name in ("set-of-emails", "rb-sisimai"):
        address = f"https://github.com/sisimai/{name}"
        subprocess.run(["git", "clone", "-q", "--depth=1", address, str(into / name)], check=True)
    options = ["--no-deps", "--no-binary", ":all:", "-q", "-d", str(into), "flufl.bounce"]
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
    with tarfile.open(next(into.glob("flufl*.tar.gz"))) as archive:
        archive.extractall(into / "flufl", filter="data")


def read(path: Path) -> list[Item]:
    return read_returned_mail(path.read_bytes(), received=0.0)


def names_a_recipient(items: list[Item]) -> bool:
    """Whether a report was recognised, and whom it is about."""
    kinds = (ItemKind.BOUNCE, ItemKind.DELAYED, ItemKind.DELIVERED, ItemKind.COMPLAINT)
    return any(item.kind in kinds and item.about.address for item in items)


def found(name: str, paths: list[Path]) -> None:
    """Print how many of these mails are recognised."""
    count = sum(names_a_recipient(read(path)) for path in paths)
    print(f"{name}: recipient found in {count} of {len(paths)} ({count / len(paths):.1%})")


def expectations(tests: Path) -> Iterator[tuple[str, bool]]:
    """The names of mails, and whether one of their recipients is dead."""
    for path in sorted(tests.glob("*.rb")):
        for number, rows in _ROWS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.stem}-{number}", "true" in _ROW.findall(rows)


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        if len(sys.argv) == 1:
            fetch(folder)
        found("flufl.bounce", sorted((folder / "flufl").glob("**/tests/data/*.txt")))
        mails = {path.stem: path for path in sorted((folder / "set-of-emails/maildir/bsd").glob("*"))}
        found("set-of-emails", list(mails.values()))
        told = [
            (mails[name], dead)
            for name, dead in expectations(folder / "rb-sisimai/test/public")
            if name in mails
        ]
        says = [
            (any(item.kind is ItemKind.BOUNCE and item.enhanced in DEAD for item in read(path)), dead)
            for path, dead in told
        ]
        right = sum(ours and dead for ours, dead in says)
        ours, theirs = sum(one for one, _ in says), sum(dead for _, dead in says)
        print(
            f"suppressed at once: {ours}, of these dead: {right} ({right / ours:.1%}); dead: {theirs}, ",
            end="",
        )
        print(f"found at once: {right / theirs:.1%}")


if __name__ == "__main__":
    main()
