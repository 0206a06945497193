"""The command line: one program, ``onyxrank``. Needs the extra ``cli``; training and export need ``export`` too."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with 0 done, 1 error, 2 usage, 3 quality gate refused, 130 interrupted."""
    try:
        from onyxrank.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.stderr.write(f"onyxrank: the command line needs {error.name}: pip install 'onyxrank[cli]'\n")
        sys.exit(1)
    sys.exit(run())
