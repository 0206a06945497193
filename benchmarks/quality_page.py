"""Writes the page of the quality tables: averages over trainings, intervals, and what a model earns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from onyxrank_export.evaluation.bootstrap import bootstrap, paired_ratio
from quality_files import Figures, kept_systems

Metrics: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Metrics per list, by name."""

_COLUMNS = {
    "auc": "AUC",
    "ndcg_at_10": "NDCG@10",
    "hit_rate_at_10": "hit rate@10",
    "hit_rate_at_100": "hit rate@100",
    "mrr": "MRR",
    "log_loss": "log loss",
}
_SETS = {
    "amazon2018_office": "Amazon office 2018",
    "online_retail_uci": "Online Retail (UCI)",
    "amazon2018_office_published_split": "Amazon office 2018, published split",
    "homedepot_search_relevance": "Home Depot search relevance",
}
_KINDS = {
    "last.full": "each shopper's last basket among the whole catalogue",
    "last.sampled": "each shopper's last basket among 39 items by popularity and one",
    "time.full": "the last tenth of the time among the whole catalogue",
    "time.sampled": "the last tenth of the time among 39 items by popularity and one",
    "published.full": "the published test rows among all items, nothing left out",
    "queries.labels": "the labelled items of each query",
    "last-item.sampled-v1": "the last purchase among 39 items by popularity, as older versions measured: "
    "popularity 0 gives the target away",
}
_BASELINES = {
    "bm25": "BM25",
    "encoder": "MiniLM untrained, log-sum-exp of cosines",
    "co_purchase": "co-purchase",
    "item_knn": "item-kNN",
    "ease": "EASE",
    "logit": "conditional logit of these",
    "popularity": "popularity",
    "rarity": "rarity",
    "bm25_rarity": "BM25 and rarity",
    "embeddings": "cosine with the mean of MiniLM's embeddings",
    "chance": "by chance",
}
_MODELS = {
    "late-interaction": "late-interaction",
    "late-texts": "of it, the texts alone",
    "late-ids": "of it, what is known by ids alone",
    "late-unlearnt": "of it, all but the learnt maps",
    "encoder-trained": "the encoder alone, trained, log-sum-exp of cosines",
    "shared-history.fp32": "shared-history fp32",
    "shared-history.int8": "shared-history int8",
    "cross.fp32": "cross fp32",
    "cross.int8": "cross int8",
}
_RIVALS = tuple(name for name in _BASELINES if name != "chance")
_HEAD = """# Ranking quality

Baselines and models on the same lists, through the engine, list by list. In brackets: bootstrap 95 % intervals over
lists (Efron and Tibshirani 1993, 13.3), which know nothing of how much another training would differ; several
trainings are averaged list by list first, and ± is the standard deviation of their means. What a model earns is its
NDCG@10 over that of the best baseline, with a paired interval. A list of several purchases, a basket, counts once.
Written by `make quality-table`; not edited. The figures of each list stand beside this page.
"""


def write_page(results: Path, page: Path) -> Path:
    """Write the page from every ``SET/SPLIT.PROTOCOL/SYSTEM.npz`` in a folder.

    Args:
        results: the folder.
        page: the file to write.

    """
    parts = [_HEAD]
    for data_set, title in _SETS.items():
        for kind, told in _KINDS.items():
            systems = dict(kept_systems(results / data_set / kind))
            if systems:
                parts.append(_section(f"{title}: {told}", systems))
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def trainings(systems: Mapping[str, Figures], model: str) -> dict[str, Metrics]:
    """The figures of each training of a model, by the name of its seed."""
    return {
        name.removeprefix(f"{model}."): figures.metrics
        for name, figures in systems.items()
        if name.startswith(f"{model}.")
    }


def averaged(runs: Iterable[Metrics]) -> Metrics:
    """Average metrics per list over trainings."""
    found = list(runs)
    return {name: np.mean([run[name] for run in found], axis=0, dtype=np.float32) for name in found[0]}


def paired(first: Metrics, second: Metrics, metric: str) -> tuple[float, float, float]:
    """Return the mean difference over the lists that both can tell, and its bootstrap 95 % interval."""
    difference = np.asarray(first[metric], np.float64) - second[metric]
    return float(np.nanmean(difference)), *bootstrap(difference)


def _section(title: str, systems: Mapping[str, Figures]) -> str:
    first = next(iter(systems.values())).metrics
    known = {name for each in systems.values() for name in each.metrics}
    far = [each.metrics["hit_rate_at_100"] for each in systems.values() if "hit_rate_at_100" in each.metrics]
    if far and all(np.nanmin(rates) == 1 for rates in far):
        known.discard("hit_rate_at_100")  # the lists are shorter than that
    columns = {name: told for name, told in _COLUMNS.items() if name in known}
    lines = [
        f"## {title}",
        "",
        f"{len(first['ndcg_at_10']):,} lists.",
        "",
        f"| | {' | '.join(columns.values())} | earns |",
        f"|---|{'---:|' * (len(columns) + 1)}",
    ]
    rivals = {name: systems[name].metrics for name in _RIVALS if name in systems}
    best = max(rivals, key=lambda name: float(np.nanmean(rivals[name]["ndcg_at_10"])))
    for model, told in _MODELS.items():
        runs = trainings(systems, model)
        if runs:
            found = averaged(runs.values())
            seeds = f" ({len(runs)} trainings)" if len(runs) > 1 else ""
            means = [np.nanmean(run["ndcg_at_10"]) for run in runs.values()]
            cells = _cells(found, columns, float(np.std(means, ddof=1)) if seeds else None)
            lines.append(f"| {told}{seeds} | {cells} | {_earned(found, rivals[best])} |")
    for name, told in _BASELINES.items():
        if name in systems:
            mark = " (the best)" if name == best else ""
            lines.append(f"| {told}{mark} | {_cells(systems[name].metrics, columns)} | |")
    lines.append("")
    for attribute, word in (("trained_on", "on"), ("recipe", "with")):
        texts = {name: text for name, figures in systems.items() if (text := getattr(figures, attribute))}
        for text in sorted(set(texts.values())):
            names = ", ".join(name for name, its in texts.items() if its == text)
            lines.append(f"- trained {word} {text if word == 'on' else f'`{text}`'}: {names}")
    return "\n".join(lines) + "\n"


def _earned(model: Metrics, rival: Metrics) -> str:
    ratio, low, high = (100 * (value - 1) for value in paired_ratio(*_both(model, rival)))
    return f"{ratio:+.1f} % [{low:+.1f}, {high:+.1f}]"


def _both(model: Metrics, rival: Metrics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = (np.asarray(each["ndcg_at_10"], np.float64) for each in (model, rival))
    return one, other


def _cells(figures: Metrics, columns: Mapping[str, str], spread: float | None = None) -> str:
    cells = [_cell(figures[name]) if name in figures else "" for name in columns]
    if spread is not None:
        cells[list(columns).index("ndcg_at_10")] += f" ± {spread:.4f}"
    return " | ".join(cells)


def _cell(values: NDArray[np.float32]) -> str:
    wide = np.asarray(values, np.float64)
    if np.isnan(wide).all():
        return ""
    low, high = bootstrap(wide)
    return f"{np.nanmean(wide):.4f} [{low:.4f}, {high:.4f}]"
