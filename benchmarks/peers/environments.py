"""The peers' environments: one folder each, since their dependencies conflict with each other and with ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OWN = ""
"""The name of the project's own environment."""


def python_of(name: str, work: Path) -> Path:
    """Return the interpreter of an environment, which is made if it is not there.

    Raises:
        CalledProcessError: if it cannot be installed.

    """
    if name == OWN:
        return Path(sys.executable)
    return make_environment(work / name, HERE / "requirements" / f"{name}.txt")


def make_environment(folder: Path, requirements: Path) -> Path:
    """Return the interpreter of an environment with a file's requirements, made if it is not there.

    Raises:
        CalledProcessError: if it cannot be installed.

    """
    ready, python = folder / ".ready", folder / "bin" / "python"
    wanted = requirements.read_text(encoding="utf-8")
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        quiet = ("--quiet", "--disable-pip-version-check")
        subprocess.run([python, "-m", "pip", "install", *quiet, "-r", requirements], check=True)
        ready.write_text(wanted, encoding="utf-8")
    return python
