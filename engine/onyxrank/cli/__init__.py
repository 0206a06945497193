"""The command line: the program ``onyxrank``, with one module for each command.

In come arguments; out go results on standard output, everything else on standard error, and an exit status.
It needs the extra ``cli``. Commands that train, export or serve load what they need by name, when they run, and say
which extra is missing.
The room may import the engine's rooms below it, `measure` and `tune`, but nothing of `serve` or `onyxrank_export`.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit.

    The exit status is 0 if the command is done, 1 after an error, 2 if it was used wrongly, 3 if the quality gate
    refused a variant, and 130 if it was interrupted.
    """
    try:
        from onyxrank.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.stderr.write(f"onyxrank: the command line needs {error.name}: pip install 'onyxrank[cli]'\n")
        sys.exit(1)
    sys.exit(run())
