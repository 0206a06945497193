"""The values that reading data gives: interactions or search labels, or the faults found on the way.

Ids are text everywhere. Rows refer to users, queries and items by position, so that a row costs a few bytes
however long the texts are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import OnyxrankError
from onyxrank.request.items import Item

_FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """What shoppers did, sorted by time; rows of the same time keep the order of the file.

    Attributes:
        items: the catalogue, each item once, in the order of the items file (or of first appearance).
        users: user ids, in order of first appearance in the sorted rows.
        user: int32, shape [n], positions in ``users``.
        item: int32, shape [n], positions in ``items``.
        behavior: int8, shape [n]; 1 is a purchase, 0 is not.
        timestamp: int64, shape [n], seconds since 1970 (UTC); None when the data has none and the row
            order of the file is the order of time.
        fingerprint: SHA-256 (hex) of the content above, the same for csv and parquet of the same data.

    """

    items: tuple[Item, ...]
    users: tuple[str, ...]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    behavior: NDArray[np.int8]
    timestamp: NDArray[np.int64] | None
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False)
class SearchLabels:
    """How well items answer queries; rows in the order of the labels file.

    Attributes:
        items: the catalogue, each item once, in the order of the items file.
        queries: query texts, in the order of the queries file.
        query_ids: the id of each query.
        query: int32, shape [n], positions in ``queries``.
        item: int32, shape [n], positions in ``items``.
        label: float32, shape [n], finite; higher is better, on the scale of the file.
        fingerprint: SHA-256 (hex) of the content above, the same for csv and parquet of the same data.

    """

    items: tuple[Item, ...]
    queries: tuple[str, ...]
    query_ids: tuple[str, ...]
    query: NDArray[np.int32]
    item: NDArray[np.int32]
    label: NDArray[np.float32]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the data, and where.

    Attributes:
        file: name of the file (or folder) at fault.
        row: number of the data row, the first is 1 and a csv header is not counted; None for the whole file.
        column: name of the column; None for the whole row or file.
        message: what is wrong and how to proceed; never the text of a title, description or query.

    """

    file: str
    row: int | None
    column: str | None
    message: str

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        column = "" if self.column is None else f", column {self.column}"
        return f"{self.file}{row}{column}: {self.message}"


class DataError(OnyxrankError):
    """Data that cannot be used as it is; carries everything found wrong, not only the first.

    Attributes:
        faults: every fault found, file by file.

    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[:_FAULTS_SHOWN]]
        if len(self.faults) > _FAULTS_SHOWN:
            lines.append(f"... and {len(self.faults) - _FAULTS_SHOWN} more")
        super().__init__("\n".join(lines))
