"""The quality table as a page of Markdown, from the figures per list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.evaluation.bootstrap import bootstrap

Figures: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Metrics per list, by name."""

RECIPE = "recipe"
"""The name, among a trained model's figures, of how it was trained: JSON of the options that are not the default."""
TRAINED_ON = "trained_on"
"""The name, among those figures, of what it was trained on."""

_COLUMNS = {"auc": "AUC", "ndcg_at_10": "NDCG@10", "hit_rate_at_10": "hit rate@10", "log_loss": "log loss"}
_TITLES = {
    "amazon2018_office": "Amazon office 2018: the last purchase among 39 popularity-weighted negatives",
    "online_retail_uci": "Online Retail (UCI): the last purchase among 39 popularity-weighted negatives",
    "homedepot_search_relevance": "Home Depot search relevance: the labelled items of each query",
}
_BASELINES = {
    "bm25": "BM25",
    "bm25_rarity": "BM25 and rarity",
    "embeddings": "cosine of MiniLM embeddings",
    "popularity": "popularity",
    "rarity": "rarity: the least bought first",
    "chance": "by chance, at the share of positives",
}
_MODELS = {
    "cross.fp32": "cross fp32",
    "cross.int8": "cross int8",
    "shared-history.fp32": "shared-history fp32",
    "shared-history.int8": "shared-history int8",
    "encoder": "the encoder alone, cosines",
}
_PAIRS = (
    ("shared-history.fp32", "cross.fp32"),
    ("shared-history.int8", "cross.int8"),
    ("shared-history.int8", "shared-history.fp32"),
    ("cross.int8", "cross.fp32"),
    ("shared-history.fp32", "encoder"),
)
_HEAD = """# Ranking quality

Both architectures with one recipe, MiniLM-L6, through the engine, over every test list. In brackets: bootstrap 95 %
intervals over lists (Efron and Tibshirani 1993, 13.3), which know nothing of how much another training would differ;
several trainings are averaged list by list first; a seed with a suffix is another training with that seed, on another
machine. Two precisions of an architecture are compared over the trainings that both have. Log loss is the mean over
lists, so that each counts once. The encoder alone is what the recipe trains first. Negatives are drawn by popularity,
so that rarity tells something too; its weight beside BM25 is chosen on validation lists. Written by
`make quality-table`; not edited. The figures of each list stand beside this page, a file for each training and
precision.
"""


@dataclass(frozen=True, slots=True)
class _System:
    """What a file holds: metrics per list, and of a trained model how and on what."""

    figures: Figures
    told: Mapping[str, str]


def write_page(results: Path, page: Path) -> Path:
    """Write the page from every ``SET.SYSTEM.npz`` in a folder.

    Args:
        results: the folder.
        page: the file to write.

    """
    parts = [_HEAD]
    for name, title in _TITLES.items():
        systems = {
            path.name.removeprefix(f"{name}.").removesuffix(".npz"): _read(path)
            for path in sorted(results.glob(f"{name}.*"))
        }
        parts.append(_section(title, systems) if systems else f"## {title}\n\nNot measured yet.\n")
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def paired(first: Figures, second: Figures, metric: str) -> tuple[float, float, float]:
    """Return the mean difference over the lists that both can tell, and its bootstrap 95 % interval."""
    difference = np.asarray(first[metric], np.float64) - second[metric]
    return float(np.nanmean(difference)), *bootstrap(difference)


def kept(first: Figures, second: Figures, metric: str) -> tuple[float, float, float]:
    """Return the ratio of the two means over the lists, and its bootstrap 95 % interval."""
    both = np.stack([np.asarray(figures[metric], np.float64) for figures in (first, second)], axis=1)
    both = both[~np.isnan(both).any(axis=1)]
    return float(both[:, 0].mean() / both[:, 1].mean()), *bootstrap(both, statistic=_ratio)


def averaged(trainings: Iterable[Figures]) -> Figures:
    """Average metrics per list over trainings."""
    runs = list(trainings)
    return {name: np.mean([run[name] for run in runs], axis=0, dtype=np.float32) for name in runs[0]}


def _section(title: str, systems: Mapping[str, _System]) -> str:
    first = next(iter(systems.values())).figures
    counts = ", ".join(f"{_COLUMNS[name]} over {_judged(first[name]):,}" for name in ("auc", "ndcg_at_10"))
    lines = [
        f"## {title}",
        "",
        f"{len(first['auc']):,} lists; {counts}: the others have nothing to tell apart.",
        "",
        f"| | trainings | {' | '.join(_COLUMNS.values())} |",
        f"|---|---|{'---:|' * len(_COLUMNS)}",
    ]
    models = {
        kind: {
            name.removeprefix(f"{kind}."): system.figures
            for name, system in systems.items()
            if name.startswith(f"{kind}.")
        }
        for kind in _MODELS
    }
    for kind, runs in models.items():
        if runs:
            lines.append(f"| {_MODELS[kind]} | {', '.join(runs)} | {_cells(averaged(runs.values()))} |")
    baselines = {label: systems[name].figures for name, label in _BASELINES.items() if name in systems}
    lines += [f"| {label} | | {_cells(figures)} |" for label, figures in baselines.items()]
    lines.append("")
    for kind, other in _PAIRS:
        runs, others = models[kind], models[other]
        if kind.split(".")[0] == other.split(".")[0]:
            common = runs.keys() & others.keys()
            runs, others = ({name: its[name] for name in common} for its in (runs, others))
        if runs and others:
            told = _compared(averaged(runs.values()), averaged(others.values()))
            lines.append(f"- {_MODELS[kind]} against {_MODELS[other]}, list by list: {told}")
    for key in (TRAINED_ON, RECIPE):
        texts = {name: text for name, system in systems.items() if (text := system.told.get(key))}
        for text in sorted(set(texts.values())):
            names = ", ".join(name for name, its in texts.items() if its == text)
            lines.append(f"- trained {'on ' + text if key == TRAINED_ON else f'with `{text}`'}: {names}")
    return "\n".join(lines) + "\n"


def _compared(first: Figures, second: Figures) -> str:
    told = [
        f"{_COLUMNS[metric]} {mean:+.4f} [{low:+.4f}, {high:+.4f}]"
        for metric in ("auc", "ndcg_at_10")
        for mean, low, high in [paired(first, second, metric)]
    ]
    share, low, high = kept(first, second, "ndcg_at_10")
    return f"{'; '.join(told)}; keeps {share:.1%} [{low:.1%}, {high:.1%}] of NDCG@10"


def _judged(values: NDArray[np.float32]) -> int:
    """Count the lists that a metric says something of."""
    return int((~np.isnan(values)).sum())


def _ratio(both: NDArray[np.float64]) -> float:
    first, second = both.mean(axis=0)
    return float(first / second)


def _cells(figures: Figures) -> str:
    return " | ".join(_cell(figures[metric]) if metric in figures else "" for metric in _COLUMNS)


def _cell(values: NDArray[np.float32]) -> str:
    low, high = bootstrap(np.asarray(values, np.float64))
    return f"{np.nanmean(values):.3f} [{low:.3f}, {high:.3f}]"


def _read(path: Path) -> _System:
    with np.load(path, allow_pickle=False) as content:
        texts = {name: str(content[name]) for name in (RECIPE, TRAINED_ON) if name in content}
        return _System({name: content[name] for name in content.files if name not in texts}, texts)
