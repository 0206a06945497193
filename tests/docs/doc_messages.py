"""The messages in the code that a user may meet: the text of every error it makes, with gaps where values go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("engine/onyxrank", "export/onyxrank_export")
GAP = "…"
_ERRORS = {
    *("InvalidInput", "BundleError", "ProviderUnavailable", "OnyxrankError", "Overloaded", "DeadlineExceeded"),
    *("_OtherSchema", "UnreadableCatalogue"),
    *("NonFiniteScore", "RunError", "UnsuitableModel", "ExportError", "GateRefused", "StartFailed", "Fault"),
    *("HTTPException", "PydanticCustomError", "Problem"),
}
_MAKERS = {"fault", "_fault", "unavailable", "add", "add_rows"}
"""Functions that are handed the text of a message."""


@dataclass(frozen=True)
class Message:
    """The text of an error, and where it is made."""

    text: str
    place: str

    @property
    def core(self) -> str:
        """Its longest part without a gap: enough to find it by."""
        return max((part.strip(" ;:,.'()") for part in self.text.split(GAP)), key=len)


def messages() -> list[Message]:
    """Every message of both packages, in the order of the files."""
    return [
        message
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for message in _messages_of(path)
    ]


def _messages_of(path: Path) -> Iterator[Message]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _name(node.func) in _ERRORS | _MAKERS:
            given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "message")]
            for text in filter(None, map(_text, given)):
                # Names of files and columns are no messages.
                if " " in text.replace(GAP, "").strip():
                    yield Message(text, f"{path.relative_to(ROOT)}:{node.lineno}")


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Lambda):
        return _text(node.body)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp):
        return f"{_text(node.left) or GAP}{_text(node.right) or GAP}"
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    return None
