"""The pages that readers see, and what stands in them: code blocks, links, headings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/*/*.md"),
    )
    if "_build" not in path.parts and "_generated" not in path.parts
)
CODE_PAGES = [page for page in PAGES if not page.startswith("benchmarks/")]
"""Those of benchmarks/ are for who measures: each of their commands takes minutes, and test_benchmarks tests them."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: path of its page, from the root.
        line: number of its first line, from 1.
        language: first word after the fence.
        title: file that it is the content of, by ``title=``; empty for none.
        text: what stands in it.

    """

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page in order; Sphinx's directives, in braces, are its own and no code."""
    blocks = []
    for token in _tokens(page):
        assert token.type != "code_block", f"{page}:{token.map}: an indented block has no language; fence it"
        if token.type == "fence" and not token.info.startswith("{"):
            language, _, rest = token.info.strip().partition(" ")
            title = re.search(r"title=(\S+)", rest)
            assert token.map is not None
            blocks.append(Block(page, token.map[0] + 1, language, title[1] if title else "", token.content))
    return blocks


def links_of(page: str) -> list[str]:
    """Targets of the page's links and pictures."""
    return [
        str(child.attrGet("href") or child.attrGet("src"))
        for token in _tokens(page)
        for child in token.children or ()
        if child.type in ("link_open", "image")
    ]


def anchors_of(page: str) -> set[str]:
    """Names of the page's headings, as GitHub and MyST make them."""
    tokens = list(_tokens(page))
    return {_slug(text.content) for head, text in pairwise(tokens) if head.type == "heading_open"}


def _slug(heading: str) -> str:
    kept = (c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def _tokens(page: str) -> Iterator[Token]:
    yield from MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))
