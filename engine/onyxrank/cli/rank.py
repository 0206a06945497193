"""The command ``onyxrank rank``: ranks the items of a file for one history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from onyxrank.cli import console
from onyxrank.ranker import Ranker
from onyxrank.request.items_file import read_items
from onyxrank.request.ranking import Ranking, Reason

_MOST_REASONS = 4
"""Reasons of an item that the table shows, the largest amounts first."""


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    items: Annotated[
        Path, typer.Option(help="jsonl, csv or parquet file with item_id, item_title, item_description.")
    ],
    history: Annotated[
        list[str] | None,
        typer.Option(help="What the shopper did, oldest first; repeat the option for each event."),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Show only the best K.")] = None,
    variant: Annotated[str, typer.Option(help="Graph variant.")] = "auto",
    provider: Annotated[str, typer.Option(help="Execution provider.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each item is where it is.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON.")] = False,
) -> None:
    """Rank the items of a file for one history."""
    candidates = read_items(items)
    with Ranker.load(bundle, variant=variant, provider=provider, threads=threads) as ranker:
        ranking = (ranker.explain if explain else ranker.rank)(history or [], candidates, top_k=top_k)
    if json:
        console.print_json(ranking.as_records())
        return
    console.out.print(ranking_table(ranking))
    if repeated := len(candidates) - len({item.id for item in candidates}):
        console.say(f"{repeated} of {len(candidates)} rows have the id of an earlier one; each row is ranked")
    if ranking.cold_start:
        console.say("no history: this is a cold start, the ranking knows only the items")
    if ranking.cuts:
        cuts = ranking.cuts
        console.say(
            f"did not fit the token limits: {cuts.history_events} history events, {cuts.titles} titles, "
            f"{cuts.descriptions} descriptions"
        )


def ranking_table(ranking: Ranking, mark: int | None = None) -> Table:
    """Make a table of a ranking, best item first.

    Args:
        ranking: the ranking.
        mark: position in the input of an item to highlight, or None for none.

    """
    explained = any(hit.reasons for hit in ranking)
    table = console.table("#", "score", "item", "title", *(["why"] if explained else []), right=(0, 1))
    for hit in ranking:
        style = "bold green" if hit.index == mark else ""
        row = [str(hit.rank), f"{hit.score:.4f}", hit.id, hit.item.title]
        if explained:
            row.append("\n".join(map(_told, hit.reasons[:_MOST_REASONS])))
        table.add_row(*(Text(cell, style=style) for cell in row))
    return table


def _told(reason: Reason) -> str:
    about = "" if reason.text_of is None else f": {reason.text_of}"
    return f"{reason.amount:+.2f} {reason.kind.replace('_', ' ')}{about}"
