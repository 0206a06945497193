"""The candidate lists that a conversion is checked, calibrated and judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from onyxrank.request.encoding import TextEncoder
from onyxrank.request.items import Item
from onyxrank.request.token_ids import EncodedRequest
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.data.lists import CandidateList, lists_of_validation
from onyxrank_export.data.pairs import Sampling, training_lists
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.shop import write_shop
from onyxrank_export.data.splits import split_data
from onyxrank_export.training.run import Run, split_of

_CALIBRATION_PAIRS = 256
_DEMO_ITEMS, _DEMO_SHOPPERS = 200, 20


@dataclass(frozen=True, slots=True)
class Material:
    """Candidate lists over a catalogue.

    Attributes:
        items: the catalogue.
        held_out: candidate lists of the validation part, which training did not see.
        training: candidate lists of the training part.

    """

    items: Sequence[Item]
    held_out: Sequence[CandidateList]
    training: Sequence[CandidateList]

    def encode(self, encoder: TextEncoder, row: CandidateList) -> EncodedRequest:
        """Encode a list as the engine would."""
        return encoder.encode(row.history, [self.items[index] for index in row.items])

    def calibration(self, encoder: TextEncoder) -> list[EncodedRequest]:
        """Choose training pairs to calibrate on: the positive and one negative of 128 lists.

        Many lists give many different texts, and both labels occur equally often.
        """
        chosen = np.random.default_rng(0).permutation(len(self.training))[: _CALIBRATION_PAIRS // 2]
        lists = [self.training[index] for index in chosen]
        return [self.encode(encoder, CandidateList(row.history, row.items[:2], row.labels[:2])) for row in lists]


def material_of(run: Run, data: str | Path | None, *, most: int) -> Material | None:
    """Read the lists of the named data, or of the data that the run was trained on; None if there is neither.

    Args:
        run: the run that is converted.
        data: data to use instead of the run's own.
        most: most held-out lists to take.

    Raises:
        DataError: if the data cannot be read.
        ExportError: if the run's own data is gone or has changed.

    """
    path = Path(data) if data is not None else run.data_path
    if path is None:
        return None
    if data is None and not path.exists():
        raise ExportError(f"the data the run was trained on is no longer at '{path}': name it with --data")
    content = read_data(path)
    if data is None and content.fingerprint != run.data_fingerprint:
        raise ExportError(
            f"the data at '{path}' has changed since the run was trained on it: name the data with --data"
        )
    split = split_data(content, split_of(run.facts) or "last")
    return Material(content.items, lists_of_validation(split, most=most), training_lists(split, Sampling()))


def demo_material(*, most: int) -> Material:
    """Make held-out lists of a small demo shop, to check a conversion on where there is no data."""
    with TemporaryDirectory() as folder:
        write_shop(folder, n_items=_DEMO_ITEMS, n_shoppers=_DEMO_SHOPPERS)
        content = read_data(folder)
    return Material(content.items, lists_of_validation(split_data(content), most=most), ())
