"""The command ``onyxrank evaluate``: ranking quality of a bundle on test lists, beside simple baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from onyxrank.cli import console
from onyxrank.machine import extras
from onyxrank.ranker import Ranker

_COLUMNS = {
    "auc": "AUC",
    "ndcg_at_10": "NDCG@10",
    "mrr": "MRR",
    "hit_rate_at_10": "hit@10",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "calibration_error": "ECE",
}
"""Headings of the table's columns, by the names of the metrics."""
_NAMES = {"model": "model", "popularity": "popularity", "bm25": "BM25"}
"""Names of the systems in the table, by their names in the evaluation."""


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    data: Annotated[Path, typer.Option(help="Data whose test part is ranked.")],
    lists: Annotated[int | None, typer.Option(help="Rank only this many test lists.")] = None,
    variant: Annotated[str, typer.Option(help="Graph variant.")] = "auto",
    provider: Annotated[str, typer.Option(help="Execution provider.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure ranking quality through the engine, beside popularity and BM25 on the same candidates."""
    with Ranker.load(bundle, variant=variant, provider=provider, threads=threads) as ranker:
        evaluation = run_evaluation(ranker, data, most=lists)
    if json:
        console.print_json(evaluation.to_json())
        return
    console.out.print(quality_table(evaluation))
    console.out.print(interval_line(evaluation))


def run_evaluation(ranker: Ranker, data: Path, *, most: int | None) -> Any:
    """Evaluate a ranker on the test part of data, with a progress bar.

    Args:
        ranker: the ranker to evaluate.
        data: file or folder of the data.
        most: most test lists to rank, or None for all.

    Returns:
        The ``Evaluation`` of `onyxrank_export`, which is loaded by name.

    """
    module = extras.load("onyxrank_export.evaluation.evaluate", extra="export", purpose="evaluate")
    with console.progress("ranking test lists") as bar:
        task = bar.add_task("", total=None, note="")
        return module.evaluate(
            ranker,
            data,
            most=most,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def quality_table(evaluation: Any) -> Table:
    """Make a table with a line for each system. Metrics that only probabilities have are blank for the baselines."""
    table = console.table("", *_COLUMNS.values(), right=tuple(range(1, len(_COLUMNS) + 1)))
    for system, metrics in evaluation.results.items():
        figures = (f"{metrics[name]:.4f}" if name in metrics else "" for name in _COLUMNS)
        table.add_row(_NAMES[system], *figures)
    return table


def interval_line(evaluation: Any) -> str:
    """Say in one line how many lists were ranked, how long they are, and how certain the model's figures are.

    The length matters because a small catalogue has shorter lists, which are easier. The intervals are bootstrapped.
    """
    auc, ndcg = evaluation.intervals["auc"], evaluation.intervals["ndcg_at_10"]
    sizes = sorted(set(evaluation.sizes))
    return (
        f"{evaluation.lists} lists of {' to '.join(map(str, sizes))} candidates, variant {evaluation.variant}; "
        f"95 % intervals: AUC {auc[0]:.3f}–{auc[1]:.3f}, NDCG@10 {ndcg[0]:.3f}–{ndcg[1]:.3f}"
    )
