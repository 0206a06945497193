"""Registers the commands by name, and turns errors into one clear line on standard error and an exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import typer

from onyxrank.cli import bench, demo, evaluate, export, inspect, rank, serve, train, tune
from onyxrank.errors import OnyxrankError

INTERRUPTED = 130
"""Exit status after an interruption, as shells have it: 128 and the number of the signal."""

app = typer.Typer(
    name="onyxrank",
    help="Train, export and run a BERT recommender that ranks items inside your process.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for module in (demo, train, export, evaluate, rank, inspect, tune, bench, serve):
    app.command(module.__name__.rpartition(".")[2])(module.command)


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    """Options of the program itself."""
    if version:
        from onyxrank import __version__

        typer.echo(f"onyxrank {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: arguments of the program, or None for those of this process.

    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character shows a question mark instead.
            stream.reconfigure(errors="replace")
    try:
        status: int | None = app(args=arguments, standalone_mode=False)
    except typer.Exit as exit_:
        status = exit_.exit_code
    except typer.Abort:
        return _fail("interrupted", INTERRUPTED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of the pipe has had enough. Without this, Python would complain when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OnyxrankError as error:
        return _fail(str(error), error.exit_status)
    except OSError as error:
        place = f" '{error.filename}'" if error.filename else ""
        return _fail(f"{error.strerror or type(error).__name__}{place}", 1)
    except Exception as error:
        usage = _usage_error(error)
        if usage is None:
            raise
        return usage
    # Some versions of typer turn an interruption into a status, and others let the exception through.
    return _fail("interrupted", INTERRUPTED) if status == INTERRUPTED else status or 0


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"onyxrank: {message}\n")
    return status


def _usage_error(error: Exception) -> int | None:
    """Show a usage error the way typer shows it and return its exit status; return None for any other error."""
    show = getattr(error, "show", None)
    if show is None:
        return None
    show()
    return int(getattr(error, "exit_code", 2))
