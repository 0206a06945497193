"""The command ``onyxrank evaluate``: ranking quality of a bundle on test lists, beside what it has to beat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from onyxrank.bundle.opening import open_bundle
from onyxrank.cli import console
from onyxrank.machine import extras
from onyxrank.ranker import Ranker
from onyxrank.request.readability import ALLOWED_UNKNOWN

_COLUMNS = {
    "auc": "AUC",
    "ndcg_at_10": "NDCG@10",
    "mrr": "MRR",
    "hit_rate_at_10": "hit@10",
    "hit_rate_at_100": "hit@100",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "calibration_error": "ECE",
}
"""Headings of the table's columns, by the names of the metrics."""


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    data: Annotated[Path, typer.Option(help="Data whose test part is ranked.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="What stands beside the purchase: 'sampled', 39 items by popularity; 'full', the whole catalogue; "
            "'sampled-v1', as older versions sampled."
        ),
    ] = "sampled",
    split: Annotated[
        str | None,
        typer.Option(help="What is held out: 'last', 'time' or 'last-item'. By default, as the bundle was trained."),
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            help="Only these, comma-separated: popularity, rarity, bm25, encoder, co_purchase, item_knn, ease, logit."
        ),
    ] = None,
    lists: Annotated[int | None, typer.Option(help="Rank only this many test lists.")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Write every candidate's score by every system to this .npz (numbers only).")
    ] = None,
    reliability: Annotated[
        Path | None, typer.Option(help="Draw the probabilities against what was bought into this PNG.")
    ] = None,
    allow_unknown: Annotated[
        float, typer.Option(help="Most of the tokens and titles that the bundle's vocabulary may not know, 0 to 1.")
    ] = ALLOWED_UNKNOWN,
    variant: Annotated[str, typer.Option(help="Graph variant.")] = "auto",
    provider: Annotated[str, typer.Option(help="Execution provider.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure ranking quality through the engine, beside the baselines on the same candidates."""
    with Ranker.load(bundle, variant=variant, provider=provider, threads=threads) as ranker:
        options: dict[str, Any] = {"training": open_bundle(bundle).manifest.training, "allow_unknown": allow_unknown}
        if baselines is not None:
            options["baselines"] = [name.strip() for name in baselines.split(",")]
        evaluation = run_evaluation(ranker, data, most=lists, protocol=protocol, split=split, **options)
    if scores is not None:
        evaluation.scores.write(scores)
    if reliability is not None:
        evaluation.draw_reliability(reliability)
    if json:
        figures = evaluation.to_json()
        figures["model"] |= evaluation.readability.shares
        console.print_json(figures)
        return
    show(evaluation)


def run_evaluation(ranker: Ranker, data: Path, *, most: int | None, **options: Any) -> Any:
    """Evaluate a ranker on the test part of data, with a progress bar.

    Args:
        ranker: the ranker to evaluate.
        data: file or folder of the data.
        most: most test lists to rank, or None for all.
        options: further arguments of `onyxrank_export`'s ``evaluate``.

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
            progress=lambda done, total: bar.update(task, completed=done, total=total, note=""),
            say=lambda text: bar.update(task, note=text),
            **options,
        )


def show(evaluation: Any) -> None:
    """Print the figures of all systems, those by kinds of lists, and the sentence that says what they come to."""
    console.out.print(quality_table(evaluation))
    if evaluation.slices:
        console.out.print(slice_table(evaluation))
    console.out.print(interval_line(evaluation))
    console.out.print(f"On this data {evaluation.readability.sentence()}.", markup=False)
    console.out.print(evaluation.calibration.sentence(), markup=False)
    console.out.print(evaluation.verdict, markup=False)


def quality_table(evaluation: Any) -> Table:
    """Make a table with a line for each system. Metrics that only probabilities have are blank for the baselines."""
    table = console.table("", *_COLUMNS.values(), right=tuple(range(1, len(_COLUMNS) + 1)))
    for system, metrics in evaluation.results.items():
        figures = (f"{metrics[name]:.4f}" if name in metrics else "" for name in _COLUMNS)
        table.add_row(_names().get(system, system), *figures)
    return table


def slice_table(evaluation: Any) -> Table:
    """Make a table of NDCG@10 by kinds of lists: of the model and of the best baseline."""
    systems = ["model", *([evaluation.best] if evaluation.best else [])]
    headings = (_names().get(system, system) for system in systems)
    table = console.table("NDCG@10 where", "lists", *headings, right=(1, *range(2, len(systems) + 2)))
    for each in evaluation.slices:
        table.add_row(each.name, f"{each.lists:,}", *(f"{each.ndcg_at_10[system]:.4f}" for system in systems))
    return table


def interval_line(evaluation: Any) -> str:
    """Say in one line how many lists were ranked, how long they are, and how certain the model's figures are.

    The length matters because a small catalogue has shorter lists, which are easier. The intervals are bootstrapped.
    """
    auc, ndcg = evaluation.intervals["auc"], evaluation.intervals["ndcg_at_10"]
    sizes = sorted(set(evaluation.sizes))
    return (
        f"{evaluation.lists:,} lists of {' to '.join(f'{size:,}' for size in sizes)} candidates "
        f"(protocol {evaluation.protocol}, split {evaluation.split}), variant {evaluation.variant}; "
        f"95 % intervals: AUC {auc[0]:.3f}–{auc[1]:.3f}, NDCG@10 {ndcg[0]:.3f}–{ndcg[1]:.3f}"
    )


def _names() -> dict[str, str]:
    """The names of the systems in tables, by their names in the evaluation."""
    names: dict[str, str] = extras.load(
        "onyxrank_export.evaluation.verdict", extra="export", purpose="evaluate"
    ).NAMES
    return names
