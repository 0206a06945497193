"""One small interface for tables of pandas, polars and pyarrow, which imports none of them.

A table can only be of a library that the caller has imported, so the library is found in `sys.modules`. Nulls, and
the NaN of pandas, come out as None, and every other value as a Python object.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput

Rows: TypeAlias = "slice | NDArray[np.intp]"
"""Positions of rows, from 0: either a range of step 1, or an array of any positions in any order."""


class Table(Protocol):
    """A pandas or polars DataFrame, or a pyarrow Table or RecordBatch."""

    @property
    def columns(self) -> Any:
        """The columns, or their names."""

    def __len__(self) -> int:
        """Number of rows."""


class Frame(ABC):
    """What this package does with a table, whatever its library.

    Args:
        table: the library's own table.

    """

    def __init__(self, table: Any) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    @property
    def names(self) -> Sequence[object]:
        """Names of the columns, from left to right."""
        return list(self.table.columns)

    def find(self, names: Iterable[str], field: str) -> str | None:
        """Return the first of some names that a column has, or None if no column has one of them.

        Args:
            names: names to look for.
            field: field of the item that the column holds, for the error.

        Raises:
            InvalidInput: if several columns have that name.

        """
        columns = self.names
        for name in names:
            count = columns.count(name)
            if count > 1:
                raise InvalidInput(f"the table has {count} columns {name!r}; keep one of them", field=field)
            if count:
                return name
        return None

    @abstractmethod
    def values(self, name: str, rows: Rows = slice(None)) -> list[Any]:
        """Return the values of a column as Python objects, with None for null."""

    @abstractmethod
    def take(self, rows: NDArray[np.intp]) -> Any:
        """Make a new table of some rows, in the order given."""

    @abstractmethod
    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> Any:
        """Make a new table that has further columns on the right, each an array of a value for each row."""


class PandasFrame(Frame):
    """A pandas DataFrame; new tables keep its index."""

    def values(self, name: str, rows: Rows = slice(None)) -> list[Any]:
        """See `Frame.values`."""
        column = self.table[name].iloc[rows]
        present = column.notna().tolist()
        return [value if there else None for value, there in zip(column.tolist(), present, strict=True)]

    def take(self, rows: NDArray[np.intp]) -> Any:
        """See `Frame.take`."""
        return self.table.iloc[rows]

    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> Any:
        """See `Frame.with_columns`."""
        return self.table.assign(**columns)


class PolarsFrame(Frame):
    """A polars DataFrame."""

    def values(self, name: str, rows: Rows = slice(None)) -> list[Any]:
        """See `Frame.values`."""
        return list(self.table.get_column(name)[rows].to_list())

    def take(self, rows: NDArray[np.intp]) -> Any:
        """See `Frame.take`."""
        return self.table[rows]

    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> Any:
        """See `Frame.with_columns`."""
        series = sys.modules["polars"].Series
        return self.table.with_columns([series(name, values) for name, values in columns.items()])


class ArrowFrame(Frame):
    """A pyarrow Table or RecordBatch."""

    def __init__(self, table: Any) -> None:
        super().__init__(table)
        self._arrow = sys.modules["pyarrow"]

    @property
    def names(self) -> Sequence[object]:
        """See `Frame.names`."""
        return list(self.table.schema.names)

    def values(self, name: str, rows: Rows = slice(None)) -> list[Any]:
        """See `Frame.values`."""
        column = self.table.column(name)
        if isinstance(rows, slice):
            return list(column[rows].to_pylist())
        try:
            return list(column.take(self._arrow.array(rows)).to_pylist())
        except self._arrow.ArrowNotImplementedError:  # pyarrow cannot `take` from columns of type string_view
            return [column[row].as_py() for row in rows.tolist()]

    def take(self, rows: NDArray[np.intp]) -> Any:
        """See `Frame.take`."""
        try:
            return self.table.take(self._arrow.array(rows))
        except self._arrow.ArrowNotImplementedError:  # as in `values`
            join = (
                self._arrow.concat_tables if isinstance(self.table, self._arrow.Table) else self._arrow.concat_batches
            )
            return join([self.table.slice(row, 1) for row in rows.tolist()])

    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> Any:
        """See `Frame.with_columns`."""
        table = self.table
        for name, values in columns.items():
            table = table.append_column(name, self._arrow.array(values))
        return table


_TABLE_TYPES = (
    ("pandas", "DataFrame", PandasFrame),
    ("polars", "DataFrame", PolarsFrame),
    ("pyarrow", "Table", ArrowFrame),
    ("pyarrow", "RecordBatch", ArrowFrame),
)


def as_frame(value: object) -> Frame | None:
    """Put a table behind the interface; return None if the value is not a table of one of the libraries."""
    for library, name, frame in _TABLE_TYPES:
        kind = getattr(sys.modules.get(library), name, None)
        if kind is not None and isinstance(value, kind):
            return frame(value)
    return None


def item_columns(frame: Frame, names: Mapping[str, Sequence[str]], required: str) -> dict[str, str]:
    """Find the columns of items.

    Args:
        frame: table with a row for each item.
        names: for each field the names that its column may have; the first name that a column has counts.
        required: the only field that must have a column.

    Returns:
        The column of each field that has one.

    Raises:
        InvalidInput: if `required` has no column, or a field has several; it names the field.

    """
    found = {field: column for field in names if (column := frame.find(names[field], field)) is not None}
    if required not in found:
        raise InvalidInput(
            f"the table has no {required}; give it in a column {' or '.join(map(repr, names[required]))}",
            field=required,
        )
    return found


def item_rows(frame: Frame, columns: Mapping[str, str], rows: Rows = slice(None)) -> Iterator[dict[str, object]]:
    """Give each item as a mapping from field to value; a null description is left out.

    Args:
        frame: table with a row for each item.
        columns: the column of each field, as `item_columns` returns them.
        rows: the rows to read; all by default.

    """
    for values in zip(*(frame.values(column, rows) for column in columns.values()), strict=True):
        item = dict(zip(columns, values, strict=True))
        if item.get("description", "") is None:
            del item["description"]
        yield item


def reordered(candidates: Any, order: Sequence[int]) -> Any:
    """Put candidates in another order: a table gives a new table, anything else a list of the same objects."""
    frame = as_frame(candidates)
    if frame is not None:
        return frame.take(np.array(order, dtype=np.intp))
    originals = list(candidates)
    return [originals[index] for index in order]
