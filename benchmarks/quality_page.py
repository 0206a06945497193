"""The quality table as a page of Markdown, from the figures per list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.evaluation.evaluate import bootstrap

Figures: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Metrics per list, by name."""

RECIPE = "recipe"
"""Among the figures of a trained model: how it was trained, as JSON of the options that are not the default."""

_COLUMNS = {"auc": "AUC", "ndcg_at_10": "NDCG@10", "hit_rate_at_10": "hit rate@10", "log_loss": "log loss"}
_TITLES = {
    "amazon2018_office": "Amazon office 2018: the last purchase among 39 popularity-weighted negatives",
    "online_retail_uci": "Online Retail (UCI): the last purchase among 39 popularity-weighted negatives",
    "homedepot_search_relevance": "Home Depot search relevance: the labelled items of each query",
}
_BASELINES = {"popularity": "popularity", "bm25": "BM25", "embeddings": "cosine of MiniLM embeddings"}
_MODELS = (("cross", "fp32"), ("cross", "int8"), ("shared-history", "fp32"), ("shared-history", "int8"))
_HEAD = """# Ranking quality

Both architectures with one recipe, MiniLM-L6, through the engine, over every test list. In brackets: bootstrap 95 %
intervals over lists (Efron and Tibshirani 1993, 13.3); several seeds are averaged list by list first. Written by
`make quality-table`; not edited. The figures of each list are in `quality/`.
"""


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
        if systems:
            recipes = {system: recipe for system, (_, recipe) in systems.items() if recipe}
            parts.append(_section(title, {system: figures for system, (figures, _) in systems.items()}, recipes))
        else:
            parts.append(f"## {title}\n\nNot measured yet.\n")
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def paired(first: Figures, second: Figures, metric: str) -> tuple[float, float, float]:
    """Mean difference over the lists that both can tell, and its bootstrap 95 % interval."""
    difference = np.asarray(first[metric], np.float64) - second[metric]
    return float(np.nanmean(difference)), *bootstrap(difference)


def averaged(seeds: Iterable[Figures]) -> Figures:
    """Metrics per list as means over trainings."""
    runs = list(seeds)
    return {name: np.mean([run[name] for run in runs], axis=0, dtype=np.float32) for name in runs[0]}


def _section(title: str, systems: Mapping[str, Figures], recipes: Mapping[str, str]) -> str:
    lists = len(next(iter(systems.values()))["auc"])
    lines = [f"## {title}", "", f"{lists:,} lists.", "", f"| | seeds | {' | '.join(_COLUMNS.values())} |"]
    lines.append(f"|---|---|{'---:|' * len(_COLUMNS)}")
    models = {}
    for architecture, precision in _MODELS:
        runs = [figures for name, figures in systems.items() if name.startswith(f"{architecture}.{precision}.seed")]
        if runs:
            models[architecture, precision] = averaged(runs)
            row = _cells(models[architecture, precision])
            lines.append(f"| {architecture} {precision} | {len(runs)} | {row} |")
    lines += [f"| {label} | | {_cells(systems[name])} |" for name, label in _BASELINES.items() if name in systems]
    lines.append("")
    lines += _comparisons(models)
    for recipe in sorted(set(recipes.values())):
        trained = ", ".join(system for system, its in recipes.items() if its == recipe)
        lines.append(f"- trained with `{recipe}`: {trained}")
    return "\n".join(lines) + "\n"


def _comparisons(models: Mapping[tuple[str, str], Figures]) -> list[str]:
    pairs = (
        (("shared-history", "fp32"), ("cross", "fp32")),
        (("shared-history", "int8"), ("cross", "int8")),
        (("shared-history", "int8"), ("shared-history", "fp32")),
        (("cross", "int8"), ("cross", "fp32")),
    )
    lines = []
    for first, second in pairs:
        if first in models and second in models:
            told = "; ".join(
                f"{_COLUMNS[metric]} {mean:+.4f} [{low:+.4f}, {high:+.4f}]"
                for metric in ("auc", "ndcg_at_10")
                for mean, low, high in [paired(models[first], models[second], metric)]
            )
            kept = np.nanmean(models[first]["ndcg_at_10"]) / np.nanmean(models[second]["ndcg_at_10"])
            lines.append(
                f"- {' '.join(first)} against {' '.join(second)}, list by list: {told}; keeps {kept:.1%} of NDCG@10"
            )
    return lines


def _cells(figures: Figures) -> str:
    return " | ".join(_cell(figures[metric]) if metric in figures else "" for metric in _COLUMNS)


def _cell(values: NDArray[np.float32]) -> str:
    low, high = bootstrap(np.asarray(values, np.float64))
    return f"{np.nanmean(values):.3f} [{low:.3f}, {high:.3f}]"


def _read(path: Path) -> tuple[Figures, str]:
    with np.load(path, allow_pickle=False) as content:
        figures = {name: content[name] for name in content.files if name != RECIPE}
        return figures, str(content[RECIPE]) if RECIPE in content else ""
