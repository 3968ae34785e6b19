"""The key `ca_file`: certificate authorities to trust for one server."""

from __future__ import annotations

from pathlib import Path

from hubd.core.tables import Table
from hubd.ownership import find_weakness, folder_owner


def read_ca_file(table: Table, folder: Path) -> Path | None:
    """The file that `ca_file` names, relative to `folder`; None without one. What is wrong is noted."""
    name = table.text("ca_file", example="ca.pem")
    if not name:
        return None
    path = folder / name
    if not path.is_file():
        table.fault("ca_file", "there is no such file; the path is relative to the folder of this file")
    elif (weakness := find_weakness(path, also=[folder_owner(path)])) is not None:
        table.fault("ca_file", f"{weakness.problem}; {weakness.remedy}")
    return path
