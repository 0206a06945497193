"""The files of the quality tables: metrics of each list, which are committed, and scores of each candidate.

``results/quality/SET/SPLIT.PROTOCOL/SYSTEM.npz`` has the metrics. Where a system ranked only some of the lists, their
places stand beside. ``.quality/scores`` has the scores in folders of the same names; they are too large to commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.metrics import per_list_metrics, probability_metrics
from onyxrank_export.evaluation.scores import KeptScores
from provenance import RESULTS, ROOT, stamp, write_record
from quality_lists import Task

QUALITY = RESULTS / "quality"
WORK = ROOT / ".quality"
RECIPE, TRAINED_ON, PLACES = "recipe", "trained_on", "places"
"""What stands beside the metrics: how and on what a model was trained, and which lists it ranked."""
_KEPT = ("auc", "ndcg_at_10", "mrr", "hit_rate_at_10", "hit_rate_at_100")

Scores = Sequence[NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class Figures:
    """The metrics of one system on one kind of lists.

    Attributes:
        metrics: float32 [lists] by name; NaN for a list that the system did not rank.
        recipe: how it was trained, as JSON of what differs from the defaults; empty for what is not trained.
        trained_on: on what.

    """

    metrics: Mapping[str, NDArray[np.float32]]
    recipe: str = ""
    trained_on: str = ""


def figures_of(task: Task, protocol: str, system: str) -> Path:
    """Return the file of a system's metrics."""
    return QUALITY / task.data_set / f"{task.split}.{protocol}" / f"{system}.npz"


def is_kept(task: Task, protocol: str, system: str, recipe: str = "") -> bool:
    """Whether there are figures of a system, trained by that recipe."""
    path = figures_of(task, protocol, system)
    return path.exists() and read_figures(path).recipe == recipe


def keep(
    task: Task,
    protocol: str,
    system: str,
    scores: Scores,
    *,
    places: Sequence[int] | None = None,
    probabilities: bool = False,
    recipe: str = "",
    trained_on: str = "",
) -> None:
    """Write the scores and the metrics of a system: numbers only, no text and no id.

    Args:
        task: the split of a data set.
        protocol: of the lists.
        system: the name.
        scores: of each list that was ranked.
        places: which lists these are; all by default.
        probabilities: whether the scores are probabilities, whose log loss is kept too.
        recipe: how a model was trained.
        trained_on: on what.

    """
    lists = task.test[protocol]
    ranked: Sequence[CandidateList] = lists if places is None else [lists[place] for place in places]
    path = figures_of(task, protocol, system)
    work = WORK / "scores" / path.relative_to(QUALITY)
    work.parent.mkdir(parents=True, exist_ok=True)
    fingerprint = task.parts.data.fingerprint
    KeptScores.of(ranked, {system: scores}, protocol=protocol, split=task.split, fingerprint=fingerprint).write(work)
    labels = [row.labels for row in ranked]
    found = {name: values for name, values in per_list_metrics(labels, scores).items() if name in _KEPT}
    if probabilities:
        found["log_loss"] = log_losses(labels, scores)
    content: dict[str, NDArray[np.generic]] = {name: values.astype(np.float32) for name, values in found.items()}
    content |= {RECIPE: np.array(recipe), TRAINED_ON: np.array(trained_on)}
    content[PLACES] = np.array([len(lists), *([] if places is None else places)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **content)
    write_record(stamp("quality"), path)


def log_losses(labels: Sequence[NDArray[np.float32]], scores: Scores) -> NDArray[np.float64]:
    """Return the mean log loss of each list's probabilities."""
    return np.array([probability_metrics(*row)["log_loss"] for row in zip(labels, scores, strict=True)])


def read_figures(path: Path) -> Figures:
    """Read what `keep` wrote."""
    with np.load(path, allow_pickle=False) as content:
        told = {name: str(content[name]) for name in (RECIPE, TRAINED_ON) if name in content}
        metrics = {name: content[name] for name in content.files if name not in (*told, PLACES)}
        if PLACES in content and len(content[PLACES]) > 1:
            count, *places = content[PLACES].tolist()
            metrics = {name: _spread(values, count, places) for name, values in metrics.items()}
    return Figures(metrics, told.get(RECIPE, ""), told.get(TRAINED_ON, ""))


def kept_systems(folder: Path) -> Iterator[tuple[str, Figures]]:
    """Yield every system of a folder with its figures, by name."""
    for path in sorted(folder.glob("*.npz")):
        yield path.stem, read_figures(path)


def _spread(values: NDArray[np.float32], count: int, places: Sequence[int]) -> NDArray[np.float32]:
    everything = np.full(count, np.nan, np.float32)
    everything[places] = values
    return everything
