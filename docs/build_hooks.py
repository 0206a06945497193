"""What Sphinx does here beside its own: the options of the command line, and links to type aliases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from pygments.lexers import TextLexer
from sphinx.application import Sphinx

GENERATED = Path(__file__).parent / "_generated"
PACKAGE = "onyxrank"


def write_command_line(app: Sphinx) -> None:
    """Write what `cli.md` includes: every command with its options, by typer's own generator."""
    command = [sys.executable, "-m", "typer", f"{PACKAGE}.cli.app", "utils", "docs", "--name", PACKAGE]
    text = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    commands = text[
        text.index("\n## ") + 1 :
    ]  # what stands before is the overview, which the page has in its own words
    target = GENERATED / "commands.md"
    # Unchanged it stays as it is, so that the page need not be built again.
    if not target.exists() or target.read_text(encoding="utf-8") != commands:
        target.parent.mkdir(exist_ok=True)
        target.write_text(commands, encoding="utf-8")


def find_alias(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Find a type alias where an annotation names it: Sphinx looks for classes only."""
    if node.get("refdomain") != "py" or node.get("reftype") != "class":
        return None
    domain, target = env.get_domain("py"), node["reftarget"]
    return domain.resolve_xref(env, node["refdoc"], app.builder, "type", target, node, content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register them."""
    app.add_lexer("csv", TextLexer)  # Pygments has none
    app.connect("builder-inited", write_command_line)
    app.connect("missing-reference", find_alias)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
