"""From paths to tables: finds the file, opens it and makes sure that its columns are there.

Columns come as the file has them: text from a csv, typed columns from a parquet. What the values may be is checked
later, in `_checks`. Every problem becomes a fault and reading goes on, so that one run names them all.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from onyxrank_export.data._csv_faults import Explained, explain_csv, opened, separator_of
from onyxrank_export.data._faults import Faults

SUFFIXES = (".csv", ".csv.gz", ".parquet")

_UNREADABLE = (
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError, EOFError, zlib.error),
)


@dataclass(frozen=True, slots=True)
class Table:
    """The wanted columns of a file that were found; none where it could not be read.

    Attributes:
        name: the file's name, for faults.
        frame: the columns, rows in the order of the file; position i is data row i + 1.

    """

    name: str
    frame: pl.DataFrame


def table_files(folder: Path, stem: str) -> list[Path]:
    """Return the files in a folder that could be the table ``stem``: csv, parquet, both or none."""
    return [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]


def open_table(
    folder: Path, stem: str, columns: Collection[str], faults: Faults, *, optional: Collection[str] = ()
) -> Table:
    """Read the one csv or parquet file of a folder that is called ``stem``.

    Args:
        folder: where to look.
        stem: file name without its ending.
        columns: names of the columns to take; all others in the file are ignored.
        faults: takes what is wrong.
        optional: those of ``columns`` that may be missing.

    """
    found = table_files(folder, stem)
    if len(found) == 1:
        return read_table(found[0], columns, faults, optional=optional)
    parts = [path.name for suffix in ("", *SUFFIXES) if (path := folder / f"{stem}{suffix}").is_dir()]
    if parts and not found:
        faults.add(stem, f"{parts[0]} is a folder; join its parts into one file, {stem}.parquet or {stem}.csv")
    elif found:
        faults.add(stem, f"both {found[0].name} and {found[1].name} are there; keep one of them")
    else:
        tried = " or ".join(f"{stem}{suffix}" for suffix in SUFFIXES)
        faults.add(stem, f"not found in {folder}; it must be called {tried}")
    return Table(stem, pl.DataFrame())


def read_table(path: Path, columns: Collection[str], faults: Faults, *, optional: Collection[str] = ()) -> Table:
    """Read one csv or parquet file; arguments as for ``open_table``."""
    read, explain = (_read_csv, explain_csv) if _is_csv(path) else (_read_parquet, _explain_parquet)
    try:
        names, frame = read(path, columns)
    except _UNREADABLE as error:
        # polars quotes the data in its messages, which may be personal: they are not passed on.
        for message, row in explain(path, error, columns):
            faults.add(path.name, message, row=row)
        return Table(path.name, pl.DataFrame())
    if not set(names) & set(columns):
        required = ", ".join(column for column in columns if column not in optional)
        faults.add(path.name, f"the first row names no column of this table; give the file a header with {required}")
        return Table(path.name, pl.DataFrame())
    for name in columns:
        if name not in names and name not in optional:
            faults.add(path.name, _no_column(name, names, columns, optional), column=name)
        if f"{name}_duplicated_0" in names:
            faults.add(path.name, "the header names this column more than once", column=name)
    if not frame.height and frame.width:
        faults.add(path.name, "has no rows")
    return Table(path.name, frame)


def _no_column(name: str, found: Collection[str], columns: Collection[str], optional: Collection[str]) -> str:
    required = ", ".join(column for column in columns if column not in optional)
    near = difflib.get_close_matches(name, [other for other in found if other not in columns], n=1)
    hint = f"; did you mean the column {near[0][:60]!r}" if near else ""
    return f"no such column{hint}; the file must have {required}"


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz"))


def _read_csv(path: Path, columns: Collection[str]) -> tuple[list[str], pl.DataFrame]:
    # Everything as text: a guessed type would eat the leading zeros of ids.
    separator = separator_of(path, columns)
    frame = pl.read_csv(path, infer_schema=False, glob=False, separator=separator)
    if any("\ufffd" in name for name in frame.columns):
        with opened(path) as lines:
            lines.read().decode()  # polars is strict in all lines but the first
    frame = frame.rename(_plain_names(frame.columns, columns))
    # polars makes a row of nulls of each blank line; at the end of a file they are no rows.
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    rows = int(filled[-1]) + 1 if len(filled) else 0
    return frame.columns, frame.select(_present(frame.columns, columns)).head(rows)


def _read_parquet(path: Path, columns: Collection[str]) -> tuple[list[str], pl.DataFrame]:
    lazy = pl.scan_parquet(path, glob=False)
    names = lazy.collect_schema().names()
    plain = _plain_names(names, columns)
    lazy, names = lazy.rename(plain), [plain.get(name, name) for name in names]
    return names, lazy.select(_present(names, columns)).collect()


def _plain_names(names: Collection[str], columns: Collection[str]) -> dict[str, str]:
    """Give for names that differ from a wanted column's by capitals or blanks that column's own name."""
    near: dict[str, str] = {}
    for name in names:
        plain = name.strip().lower()
        if plain in columns and plain not in names and plain not in near.values():
            near[name] = plain
    return near


def _present(names: Collection[str], columns: Collection[str]) -> list[str]:
    return [name for name in columns if name in names]


def _explain_parquet(path: Path, error: BaseException, columns: Collection[str]) -> Explained:
    if isinstance(error, OSError) and error.strerror:
        message = f"cannot be read: {error.strerror}"
    elif path.stat().st_size == 0:
        message = "is empty"
    else:
        message = f"cannot be read as parquet ({type(error).__name__}); it is damaged or of another format"
    return [(message, None)]
