"""Writes what the command line has to say: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from onyxrank.request import progress as bars


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to the program, which then ends well; rich itself would exit with 1."""
        raise BrokenPipeError


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def say(message: str) -> None:
    """Write on standard error what is being done now."""
    err.print(Text(f"· {message}", style="dim"))


def heading(message: str) -> None:
    """Begin a section of a longer output."""
    out.print()
    out.print(Text(message, style="bold"))


def silence() -> None:
    """Write nothing but errors from now on, since another process of the same training writes it all."""
    out.quiet = err.quiet = True


def progress(description: str) -> Progress:
    """A progress bar on standard error; silent where that is not a terminal."""
    return bars.progress(description, err)


def table(*columns: str, title: str | None = None, right: tuple[int, ...] = ()) -> Table:
    """Make a plain table.

    Args:
        columns: names of the columns.
        title: title above the table, or None for none.
        right: positions of the columns that hold numbers and are aligned on the right.

    """
    result = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    for index, name in enumerate(columns):
        result.add_column(name, justify="right" if index in right else "left", no_wrap=index in right or index == 0)
    return result
