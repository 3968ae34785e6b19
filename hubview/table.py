"""A CSV file that was dropped on the page: read here by the same reader as `hubctl import`, row by row."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

from hubctl.csv_file import BadRow, CsvFile, GoodRow, survey
from hubd.errors import BadInput

SAMPLE_ROWS = 3
MAX_ROWS = 2000  #: in one page, as many as the daemon takes
MAX_BYTES = 900_000  #: of the cells of one page, a little less than the daemon takes


class Table:
    """One file. Its rows are handed out in pages, in order, as often as wanted."""

    def __init__(self, content: bytes, name: str) -> None:
        """Raises `Damaged` (a `HubError`) for a file that cannot be read without guessing."""
        self._content = content
        self._name = name
        self._rows = survey(io.BytesIO(content), name).rows
        self._header = CsvFile(io.BytesIO(content), name).header
        self._position = 0
        self._reading: Iterator[GoodRow | BadRow] = iter(())
        self._ahead: list[GoodRow | BadRow] = []

    def describe(self) -> dict[str, Any]:
        """Its columns, how many rows it has, and the first of them."""
        rows = CsvFile(io.BytesIO(self._content), self._name).rows()
        good = (row.cells for row in rows if isinstance(row, GoodRow))
        return {
            "name": self._name,
            "size": len(self._content),
            "columns": list(self._header.columns),
            "delimiter": self._header.delimiter,
            "rows": self._rows,
            "sample": [list(cells) for cells in islice(good, SAMPLE_ROWS)],
        }

    def page(self, position: int) -> dict[str, Any]:
        """The rows from this one on, as many as fit a message; `next` is None after the last."""
        if position == 0:
            self._reading, self._ahead = CsvFile(io.BytesIO(self._content), self._name).rows(), []
        elif position != self._position:
            raise BadInput.at("position", f"must be 0 or {self._position}")
        rows: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        size = taken = 0
        while (row := self._take()) is not None:
            weight = sum(map(len, row.cells)) * 2 + 100
            if taken == MAX_ROWS or (taken and size + weight > MAX_BYTES):
                self._ahead.append(row)
                break
            taken, size = taken + 1, size + weight
            if isinstance(row, BadRow):
                bad.append({"line": row.line, "field": row.field, "problem": row.problem})
            else:
                rows.append({"line": row.line, "cells": list(row.cells)})
        self._position = position + taken
        return {"rows": rows, "bad": bad, "next": self._position if self._ahead else None}

    def _take(self) -> GoodRow | BadRow | None:
        return self._ahead.pop() if self._ahead else next(self._reading, None)
