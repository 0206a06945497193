"""Scores of every candidate, kept in a file: what tables and paired intervals are computed from.

The file is numpy's ``.npz``: numbers and the systems' names alone, no text and no id of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data.lists import CandidateList

_PREFIX = "scores."
_FIELDS = ("protocol", "split", "fingerprint", "sizes", "items", "labels")


@dataclass(frozen=True, slots=True)
class KeptScores:
    """The scores of one evaluation.

    Attributes:
        protocol: the protocol of the lists.
        split: the way the data was split.
        fingerprint: of the data.
        sizes: int64 [lists], candidates of each list.
        items: int32 [candidates], positions in the catalogue, list after list.
        labels: float32 [candidates].
        scores: float32 [candidates] by system.

    """

    protocol: str
    split: str
    fingerprint: str
    sizes: NDArray[np.int64]
    items: NDArray[np.int32]
    labels: NDArray[np.float32]
    scores: Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(
        cls,
        lists: Sequence[CandidateList],
        scores: Mapping[str, Sequence[NDArray[np.floating]]],
        *,
        protocol: str,
        split: str,
        fingerprint: str,
    ) -> KeptScores:
        """Put the scores of lists into one array for each system."""
        rows = list(lists)
        return cls(
            protocol,
            split,
            fingerprint,
            np.array([len(row.items) for row in rows]),
            np.concatenate([row.items for row in rows]),
            np.concatenate([row.labels for row in rows]),
            {name: np.concatenate(values).astype(np.float32) for name, values in scores.items()},
        )

    def write(self, path: str | Path) -> None:
        """Write the file; the ending ``.npz`` is added where it is missing."""
        content: dict[str, Any] = {name: np.array(getattr(self, name)) for name in _FIELDS}
        content |= {f"{_PREFIX}{name}": values for name, values in self.scores.items()}
        np.savez_compressed(path, **content)

    def by_list(self, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Cut an array of all candidates into the lists' own."""
        return np.split(values, np.cumsum(self.sizes)[:-1])


def read_scores(path: str | Path) -> KeptScores:
    """Read what `KeptScores.write` wrote.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no such file.

    """
    with np.load(path, allow_pickle=False) as content:
        try:
            protocol, split, fingerprint, sizes, items, labels = (content[name] for name in _FIELDS)
        except KeyError as error:
            raise ValueError(f"{path} holds no scores of an evaluation: {error} is missing") from error
        scores = {name.removeprefix(_PREFIX): content[name] for name in content.files if name.startswith(_PREFIX)}
    return KeptScores(str(protocol), str(split), str(fingerprint), sizes, items, labels, scores)
