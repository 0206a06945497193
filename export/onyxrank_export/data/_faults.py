"""Collects faults while reading goes on, so that one error can name them all."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from onyxrank_export.data.values import DataError, Fault

# A column that is wrong throughout says the same thing once per row: past this many, a count is enough.
_ROWS_PER_COLUMN = 1000


class Faults:
    """The faults found so far, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def add(self, file: str, message: str, *, row: int | None = None, column: str | None = None) -> None:
        """Note one fault; ``row`` counts data rows from 1."""
        self._found.append(Fault(file, row, column, message))

    def add_rows(self, file: str, column: str, wrong: pl.Series, describe: Callable[[int], str]) -> None:
        """Note one fault for every true value of the mask ``wrong``.

        Args:
            file: name of the file.
            column: name of the column at fault.
            wrong: Boolean, shape [rows]; null counts as false.
            describe: gives the message for a position (counted from 0).

        """
        positions = wrong.fill_null(False).arg_true().to_list()
        for position in positions[:_ROWS_PER_COLUMN]:
            self.add(file, describe(position), row=position + 1, column=column)
        if len(positions) > _ROWS_PER_COLUMN:
            self.add(file, f"{len(positions) - _ROWS_PER_COLUMN} more rows have such faults", column=column)

    def raise_any(self) -> None:
        """Raise everything found as one ``DataError``; do nothing where nothing was found."""
        if self._found:
            raise DataError(self._found)
