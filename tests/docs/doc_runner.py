"""Runs the blocks of a page as a reader would, top to bottom, in one folder.

1. `python` runs in one namespace per page; with ``title=`` it is written to that file, for a later block to run.
2. `bash` runs line by line. Commands of the program run in this process, whose imports are done already; everything
   else in bash. What serves runs beside until the page ends or serves something else.
3. `text` and `json` after one of them are its output. A run's figures are its own, so they are compared in shape:
   as many lines, the first of them alike; the same keys.
4. `csv` is read as data. Other languages are named, with a reason, in `doc_exceptions.UNRUN`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from doc_exceptions import COVERED, ELSEWHERE, HOOKS, SUBSTITUTIONS, UNRUN
from doc_pages import ROOT, Block

PATIENCE = 60.0
_PORT = "8080"
_SHELL = re.compile(r"[|<>;&$`]")
_SERVING = ("onyxrank serve ", "uvicorn ")


class Page:
    """One page's run. Use in a ``with`` block, in its folder.

    Args:
        folder: where the blocks run.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, Any] = {"__name__": "page"}
        self._output: str | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._port = str(_free_port())

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, block: Block) -> str:
        """Run or check a block; say what became of it."""
        known = {"python": self._python, "bash": self._bash, "text": self._text, "json": self._json, "csv": self._csv}
        if (block.page, block.language) in UNRUN:
            return "unrun"
        if any(name in block.text for name in ELSEWHERE):
            return "run elsewhere"
        assert block.language in known, f"{block}: nothing runs {block.language!r}"
        text = block.text.replace(_PORT, self._port)
        if block.title:
            (self._folder / block.title).write_text(text)
            if block.title in HOOKS:
                HOOKS[block.title](runpy.run_path(str(self._folder / block.title)))
            return "written"
        known[block.language](block, text)
        return "run"

    def _python(self, block: Block, text: str) -> None:
        # Padded, so that a traceback names the line of the page.
        code = compile("\n" * block.line + text, str(ROOT / block.page), "exec")
        self._output = _captured(lambda: exec(code, self._names))

    def _bash(self, block: Block, text: str) -> None:
        self._output = ""
        for command in commands_of(text):
            if command in COVERED:
                continue
            if command.startswith(_SERVING):
                self._serve(command)
            elif command.startswith("pip install"):
                _check_extras(command)
            elif command.startswith("make "):
                self._shell(f"{command} --dry-run --directory {shlex.quote(str(ROOT))}")
            elif command.startswith("onyxrank ") and not _SHELL.search(command):
                self._output += _captured(partial(_call, shlex.split(_substituted(command))))
            else:
                self._output += self._shell(command)

    def _text(self, block: Block, text: str) -> None:
        shown, printed = _lines(text), _lines(self._last(block))
        assert len(shown) == len(printed), f"{block}: not what was printed:\n{self._output}"
        assert shown[:1] == printed[:1], f"{block}: not what was printed:\n{self._output}"

    def _json(self, block: Block, text: str) -> None:
        assert _keys(json.loads(text)) == _keys(json.loads(self._last(block))), f"{block}: {self._output}"

    def _csv(self, block: Block, text: str) -> None:
        from onyxrank_export.data.reading import read_data

        path = self._folder / f"line-{block.line}.csv"
        path.write_text(text)
        read_data(path)

    def _last(self, block: Block) -> str:
        assert self._output is not None, f"{block}: the output of which block?"
        return self._output

    def _shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self._folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _serve(self, command: str) -> None:
        self._stop()
        words = shlex.split(command)
        words += ["--port", self._port] if words[0] == "onyxrank" else []
        log = self._folder / "serve.log"
        with log.open("wb") as file:
            self._server = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self._folder,
                env=_environment(),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(self._port)), 1):
                return
            assert self._server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)

    def _stop(self) -> None:
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(PATIENCE)


def commands_of(text: str) -> list[str]:
    """The commands of a block: a line each, or several where a quotation or a backslash goes on."""
    commands, begun = [], ""
    for line in text.splitlines():
        begun += line
        if begun.endswith("\\"):
            begun = begun.removesuffix("\\")
        elif begun.count("'") % 2:
            begun += "\n"
        else:
            commands.append(re.sub(r"\s+# .*", "", re.sub(r" {2,}", " ", begun)).strip())
            begun = ""
    assert not begun, text
    return [command for command in commands if command and not command.startswith("#")]


def _substituted(command: str) -> str:
    for pattern, (other, _) in SUBSTITUTIONS.items():
        command = re.sub(pattern, other, command)
    return command


def _call(words: list[str]) -> None:
    """Run the program in this process."""
    from onyxrank.cli.app import run

    with contextlib.redirect_stderr(io.StringIO()) as told:
        status = run(words[1:])
    assert status == 0, f"{shlex.join(words)}\n{told.getvalue()}"


def _captured(run: Callable[[], None]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run()
    return printed.getvalue()


def _check_extras(command: str) -> None:
    """The extras that are to be installed exist."""
    content = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in ",".join(re.findall(r"\[([\w,]+)\]", command)).split(","):
        assert not name or re.search(rf"^{name} = \[", content, re.MULTILINE), f"{command}: no extra {name}"


def _environment() -> dict[str, str]:
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return {**os.environ, "PATH": os.pathsep.join(folders), "COLUMNS": "100"}


def _lines(text: str) -> list[str]:
    """Lines without their figures."""
    return [re.sub(r"\d+(\.\d+)?", "#", " ".join(line.split())) for line in text.splitlines() if line.strip()]


def _keys(value: Any) -> Any:
    """A value's keys and kinds, without what it says; of a list its first element."""
    if isinstance(value, dict):
        return {key: _keys(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_keys(each) for each in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
