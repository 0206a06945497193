"""Shows a progress bar on standard error during long work.

The bar needs the library rich, which is imported only when a bar is to be shown: the engine works without it.
"""

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
    """Make a progress bar, which shows nothing where its console is not a terminal.

    Args:
        description: text that is shown before the bar.
        console: where to show the bar; standard error by default.

    Returns:
        The bar. Each of its tasks needs the field ``note``, a text that is shown behind the bar.

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
def counting(description: str, total: int, *, shown: bool | None, purpose: str) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs, and give it a function that moves the bar on by a number of things done.

    Args:
        description: text that says what is being done.
        total: how many things there are to do.
        shown: whether to show the bar, or None to show it where rich is installed; it is never shown where standard
            error is not a terminal.
        purpose: the subject of the error's sentence: what needs the bar.

    Raises:
        MissingExtra: if the bar is to be shown and rich is not installed.

    """
    if shown is False or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        bar = progress(description)
    except ModuleNotFoundError as error:
        if shown is None:
            yield lambda done: None
            return
        raise MissingExtra("cli", purpose, error.name) from error
    with bar:
        task = bar.add_task("", total=total, note="")
        yield lambda done: bar.advance(task, done)
