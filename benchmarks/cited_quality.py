"""Tables and sentences of ranking quality and of the gate, for the pages."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from cited import Results, percent, table
from onyxrank_export.evaluation.bootstrap import paired_ratio
from quality_page import averaged, paired

_SYSTEMS = {
    "shared-history.int8.seed0": "shared-history, int8",
    "shared-history.fp32.seed0": "the same in fp32",
    "cross.int8.seed0-cpu": "cross, int8",
    "encoder-trained.seed0": "the encoder alone, by cosines",
    "bm25_rarity": "BM25 and rarity",
    "bm25": "BM25 over the whole history",
    "rarity": "rarity: the least bought first",
    "chance": "by chance",
    "popularity": "popularity",
}
_METRICS = {"auc": "AUC", "ndcg_at_10": "NDCG@10", "mrr": "MRR", "hit_rate_at_10": "hit rate@10"}
_SETS = {
    "amazon2018_office": "Amazon office, the last purchase",
    "online_retail_uci": "Online Retail, the last purchase",
    "homedepot_search_relevance": "Home Depot, items of a query",
}


def _lists(results: Results, data_set: str, *systems: str) -> dict[str, Any]:
    """Read the metrics per list of a system, averaged over the trainings that are named."""
    kind = "queries.labels" if data_set.startswith("homedepot") else "last-item.sampled-v1"
    files = [results.current(f"quality/{data_set}/{kind}/{system}.npz") for system in systems]
    names = set(_METRICS).intersection(*files)
    return dict(averaged([{name: file[name] for name in names} for file in files]))


def quality_short(results: Results) -> str:
    """Tell the quality, for README."""
    told = []
    for name, systems in (
        ("shared-history", ("shared-history.fp32.seed0", "shared-history.fp32.seed1")),
        ("cross", ("cross.fp32.seed0", "cross.fp32.seed1")),
        ("BM25", ("bm25",)),
        ("the encoder that both learn from first (by cosines)", ("encoder-trained.seed0",)),
    ):
        found = _lists(results, "amazon2018_office", *systems)
        seeds = f" (mean of {len(systems)} seeds)" if len(systems) > 1 else ""
        told.append(f"{name}{seeds} {np.nanmean(found['auc']):.3f} and {np.nanmean(found['ndcg_at_10']):.3f}")
    return "AUC and NDCG@10 are: " + ", ".join(told) + "."


def quality_office(results: Results) -> str:
    """Tell what every system has on the office lists."""
    rows = []
    for system, name in _SYSTEMS.items():
        found = _lists(results, "amazon2018_office", system)
        rows.append([name, *(f"{np.nanmean(found[metric]):.3f}" if metric in found else "" for metric in _METRICS)])
    return table(["", *_METRICS.values()], rows)


def quality_compared(results: Results) -> str:
    """Compare int8 shared-history with cross and the encoder, list by list."""
    shared, cross = (
        _lists(results, "amazon2018_office", system)
        for system in ("shared-history.int8.seed0", "cross.int8.seed0-cpu")
    )
    encoder = _lists(results, "amazon2018_office", "encoder-trained.seed0")
    (auc, *in_auc), (ndcg, *in_ndcg) = (paired(shared, cross, metric) for metric in ("auc", "ndcg_at_10"))
    share, low, high = paired_ratio(shared["ndcg_at_10"], encoder["ndcg_at_10"])
    return (
        f"List by list, shared-history's AUC is higher than cross's by {auc:.4f} [{in_auc[0]:.4f}, {in_auc[1]:.4f}] "
        f"and its NDCG@10 by {ndcg:.4f} [{in_ndcg[0]:.4f}, {in_ndcg[1]:.4f}]; it keeps {percent(share, 1)} "
        f"[{percent(low, 1)}, {percent(high, 1)}] of the encoder's NDCG@10. In brackets: 95 % intervals over lists."
    )


def quality_sets(results: Results) -> str:
    """Tell NDCG@10 of the three data sets."""
    rows = []
    for data_set, title in _SETS.items():
        cross = ["cross.fp32.seed0"] + ["cross.fp32.seed1"] * (data_set == "amazon2018_office")
        shared = ["shared-history.fp32.seed0"] + ["shared-history.fp32.seed1"] * (data_set != "online_retail_uci")
        cells = [_lists(results, data_set, *names) for names in (cross, shared, ["bm25"], ["embeddings"], ["chance"])]
        rows.append(
            [
                f"{title}: {len(cross)} and {len(shared)} trainings",
                *(f"{np.nanmean(each['ndcg_at_10']):.3f}" for each in cells),
            ]
        )
    return table(["NDCG@10, fp32", "cross", "shared-history", "BM25", "cosine of MiniLM", "by chance"], rows)


_BASELINES = {
    "popularity": "popularity",
    "bm25": "BM25",
    "encoder": "MiniLM untrained, log-sum-exp of cosines",
    "co_purchase": "co-purchase",
    "item_knn": "item-kNN",
    "ease": "EASE",
    "logit": "conditional logit of these",
}
_TASKS = {
    "office, last basket": "amazon2018_office/last",
    "office, by time": "amazon2018_office/time",
    "Online Retail, last basket": "online_retail_uci/last",
    "Online Retail, by time": "online_retail_uci/time",
    "published split": "amazon2018_office_published_split/published",
}


def quality_baselines(results: Results) -> str:
    """Tell NDCG@10 of the baselines among whole catalogues."""
    rows = []
    for system, name in _BASELINES.items():
        files = [results.current(f"quality/{task}.full/{system}.npz") for task in _TASKS.values()]
        rows.append([name, *(f"{np.nanmean(file['ndcg_at_10']):.4f}" for file in files)])
    return table(["NDCG@10, whole catalogue", *_TASKS], rows)


def gate(results: Results) -> str:
    """Tell what int8 keeps of fp32, as the gate saw it."""
    rows = []
    for architecture in ("shared-history", "cross"):
        content = results.current(f"quality/office-{architecture}/gate.json")
        for variant in content["variants"]:
            found = variant["gate"]
            if found and variant["precision"] == "int8_static":
                verdict = "passed" if found["passed"] else "refused"
                cells = [
                    f"{found['auc_change']:+.4f}",
                    percent(found["ndcg_kept"], 1),
                    f"{found['overlap']:.3f}",
                    verdict,
                ]
                family = variant["name"].removeprefix("int8_static_")
                rows.append([f"{architecture}, int8 static, {family}", f"{content['gate']['lists']:,}", *cells])
    text = results.current("quality/office-cross/broken_quantization.txt")
    lists = re.search(r"scoring (\d+) held-out", text)
    for family, auc, ndcg, overlap in re.findall(
        r"^· refused int8_static_(\w+): AUC changes by (\S+) .*keeps (\S+) of .*overlap (\S+) ", text, re.MULTILINE
    ):
        name = f"cross, {family}, every int8 weight rounded to 4 bits on purpose"
        rows.append([name, lists[1] if lists else "", auc, ndcg.replace("%", " %"), overlap, "refused"])
    return table(["", "lists", "ΔAUC", "NDCG@10 kept", "top-10 overlap", "gate"], rows)
