"""``onyxrank evaluate``."""

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
_NAMES = {"model": "model", "popularity": "popularity", "bm25": "BM25"}


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
    """Evaluate with a progress bar."""
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
    """One line per system; what only probabilities have is left blank for the others."""
    table = console.table("", *_COLUMNS.values(), right=tuple(range(1, len(_COLUMNS) + 1)))
    for system, metrics in evaluation.results.items():
        figures = (f"{metrics[name]:.4f}" if name in metrics else "" for name in _COLUMNS)
        table.add_row(_NAMES[system], *figures)
    return table


def interval_line(evaluation: Any) -> str:
    """Sample (a small catalogue has shorter, easier lists) and bootstrap intervals of the model's figures."""
    auc, ndcg = evaluation.intervals["auc"], evaluation.intervals["ndcg_at_10"]
    sizes = sorted(set(evaluation.sizes))
    return (
        f"{evaluation.lists} lists of {' to '.join(map(str, sizes))} candidates, variant {evaluation.variant}; "
        f"95 % intervals: AUC {auc[0]:.3f}–{auc[1]:.3f}, NDCG@10 {ndcg[0]:.3f}–{ndcg[1]:.3f}"
    )
