"""The vocabulary of the demo shop: departments, what people do with their goods, and kinds of goods.

The words are in ``shop_words.json`` beside this module. A theme is something people do. The goods of a theme
go together although their titles share no word: a tent and a water filter. Descriptions speak of the theme
and of what other goods are for: whoever understands them finds what fits; whoever compares titles does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of goods.

    Attributes:
        nouns: what titles call it; each title uses one.
        price: what a middling one costs, in whole units of money.
        materials: what it may be made of; empty where nobody asks.
        sizes: sizes it comes in; empty where there is but one.
        purpose: what it is for, to follow "for"; hardly a word of it stands in a title of the theme.

    """

    nouns: tuple[str, ...]
    price: int
    materials: tuple[str, ...]
    sizes: tuple[str, ...]
    purpose: str


@dataclass(frozen=True, slots=True)
class Theme:
    """Something people do, and the goods for it.

    Attributes:
        name: unique key.
        near: name of another theme that the same people like, mostly of another department.
        pursuits: phrases for the theme and its people; in descriptions only.
        kinds: its goods.

    """

    name: str
    near: str
    pursuits: tuple[str, ...]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Department:
    """A part of the shop.

    Attributes:
        name: what it is called.
        brands: its brands by level: cheap, middling, dear.
        themes: what people do with its goods.

    """

    name: str
    brands: tuple[tuple[str, ...], ...]
    themes: tuple[Theme, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All words of the shop.

    Attributes:
        colours: every item has one of these.
        materials: for each material a sentence about it.
        departments: in a fixed order.

    """

    colours: tuple[str, ...]
    materials: dict[str, str]
    departments: tuple[Department, ...]


@cache
def vocabulary() -> Vocabulary:
    """Return the words of the shop; read once."""
    text = resources.files(__package__).joinpath("shop_words.json").read_text(encoding="utf-8")
    words = json.loads(text)
    return Vocabulary(tuple(words["colours"]), words["materials"], tuple(map(_department, words["departments"])))


def _department(words: dict[str, Any]) -> Department:
    brands = tuple(tuple(level) for level in words["brands"])
    return Department(words["name"], brands, tuple(map(_theme, words["themes"])))


def _theme(words: dict[str, Any]) -> Theme:
    return Theme(words["name"], words["near"], tuple(words["pursuits"]), tuple(map(_kind, words["kinds"])))


def _kind(words: dict[str, Any]) -> Kind:
    materials, sizes = tuple(words["materials"]), tuple(words["sizes"])
    return Kind(tuple(words["nouns"]), words["price"], materials, sizes, words["purpose"])
