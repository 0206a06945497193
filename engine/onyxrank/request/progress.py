"""A progress bar for long work, on standard error; it needs rich, which the engine itself does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onyxrank.errors import MissingExtra

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def progress(description: str, console: Console | None = None) -> Progress:
    """A bar that is silent where its console, standard error by default, is not a terminal.

    Its tasks need the field ``note``, a text that is shown behind the bar.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = console or Console(stderr=True, highlight=False)
    return Progress(
        TextColumn(description),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def counting(description: str, total: int, *, shown: bool, purpose: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; gives what to call with each further number of things done.

    Args:
        description: what is being done.
        total: how many things there are.
        shown: whether to show it; where standard error is no terminal it is not shown in any case.
        purpose: what wants the bar, for the error.

    Raises:
        MissingExtra: if it is to be shown and rich is not installed.

    """
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        bar = progress(description)
    except ModuleNotFoundError as error:
        raise MissingExtra("cli", purpose, error.name) from error
    with bar:
        task = bar.add_task("", total=total, note="")
        yield lambda done: bar.advance(task, done)
