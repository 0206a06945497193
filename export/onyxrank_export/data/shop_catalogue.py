"""The items of the demo shop: products with brands, prices, attributes, titles and descriptions.

1. Products are dealt over the kinds of goods round by round, each round in another order.
2. A level (cheap, middling, dear) gives the brand, the price and the wording.
3. A title follows one of several patterns; no two are the same.
4. A description has one to four sentences (a few items have none): what it is for, who likes it, what it is
   made of, what it goes with, how good it is. What it goes with is said by purpose as often as by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from onyxrank.request.items import Item
from onyxrank_export.data._dice import Dice
from onyxrank_export.data.shop_words import Department, Kind, Theme, vocabulary

_LEVELS = (0, 0, 0, 1, 1, 1, 1, 2, 2)
_PRICE_FACTORS = (0.6, 1.0, 1.9)
_SERIES = (("Basic", "Start", "Everyday"), ("Classic", "Plus", "Comfort"), ("Pro", "Signature", "Reserve"))
_LEVEL_SENTENCES = (
    ("A plain version at a small price.", "No frills, and cheap to replace.", "Good value for beginners."),
    ("A solid middle choice.", "Comes with a two year warranty.", "Better finished than the price suggests."),
    ("Built to last a lifetime, and priced like it.", "Ten year guarantee.", "What professionals choose."),
)
_TITLES = (
    "{brand} {noun}, {colour}",
    "{brand} {series} {noun}",
    "{brand} {series} {noun} {size}",
    "{brand} {material} {noun} - {colour}, {size}",
    "{series} {noun}, {material}, by {brand}",
    "{material} {noun} by {brand} ({size})",
    "{colour} {noun} {size} | {brand} {series}",
    "{noun} ({colour}) {brand}",
    "{series} {noun} - {colour}",
    "{colour} {noun} in {material}, {size}",
)
_PURPOSES = ("Made for {}.", "For {}.", "Good for {}.", "Just right for {}.")
_PURSUITS = ("Made with {} in mind.", "We keep it in stock for {}.", "Thought out for {}.")
_COMPANY = ("Goes well with anything for {}.", "Sits beside what you use for {}.")
_COMPANY_BY_NAME = ("Often bought together with: {}, {}.", "Pairs with our {} and {}.")


@dataclass(frozen=True, slots=True)
class Product:
    """An item and what the shop knows about it.

    Attributes:
        item: id and texts.
        department: name of its department.
        theme: name of its theme.
        kind: the first noun of its kind.
        brand: one of the department's.
        level: 0 cheap, 1 middling, 2 dear.
        colour: one of the shop's colours; the texts do not always tell.
        material: what it is made of, or "".
        price: in hundredths of the unit of money.

    """

    item: Item
    department: str
    theme: str
    kind: str
    brand: str
    level: int
    colour: str
    material: str
    price: int


def build_catalogue(seed: int, n_items: int) -> tuple[Product, ...]:
    """Make the products of the shop; the same for the same arguments."""
    dice = Dice(seed, 0)
    places = [
        (department, theme, kind)
        for department in vocabulary().departments
        for theme in department.themes
        for kind in theme.kinds
    ]
    rounds = -(-n_items // len(places))
    dealt = [place for _ in range(rounds) for place in dice.shuffled(places)][:n_items]
    titles: set[str] = set()
    return tuple(_product(dice, f"P{number:05d}", *place, titles) for number, place in enumerate(dealt, start=1))


def _product(dice: Dice, item_id: str, department: Department, theme: Theme, kind: Kind, titles: set[str]) -> Product:
    level = dice.pick(_LEVELS)
    brand = dice.pick(department.brands[level])
    colour = dice.pick(vocabulary().colours)
    material = dice.pick(kind.materials) if kind.materials else ""
    noun = dice.pick(kind.nouns)
    parts = {
        "brand": brand,
        "series": dice.pick(_SERIES[level]),
        "noun": noun,
        "colour": colour,
        "material": material,
        "size": dice.pick(kind.sizes) if kind.sizes else "",
    }
    title = _title(dice, parts, titles)
    titles.add(title)
    price = round(100 * kind.price * _PRICE_FACTORS[level] * dice.between(0.85, 1.15)) // 10 * 10 + 9
    item = Item(item_id, title, _description(dice, theme, kind, parts, level))
    return Product(item, department.name, theme.name, kind.nouns[0], brand, level, colour, material, price)


def _title(dice: Dice, parts: dict[str, str], taken: set[str]) -> str:
    missing = [f"{{{name}}}" for name, value in parts.items() if not value]
    patterns = [pattern for pattern in _TITLES if not any(name in pattern for name in missing)]
    options = [_capital(pattern.format(**parts)) for pattern in dice.shuffled(patterns)]
    for title in options:
        if title not in taken:
            return title
    edition = 2
    while f"{options[0]} No. {edition}" in taken:
        edition += 1
    return f"{options[0]} No. {edition}"


def _description(dice: Dice, theme: Theme, kind: Kind, parts: dict[str, str], level: int) -> str:
    if dice.chance(0.03):
        return ""
    others = dice.shuffled([other for other in theme.kinds if other is not kind])
    if dice.chance(0.5):
        company = dice.pick(_COMPANY).format(others[0].purpose)
    else:
        company = dice.pick(_COMPANY_BY_NAME).format(dice.pick(others[0].nouns), dice.pick(others[1].nouns))
    more = [
        sentence
        for probability, sentence in (
            (0.6, dice.pick(_PURSUITS).format(dice.pick(theme.pursuits))),
            (0.45, company),
            (0.5, vocabulary().materials.get(parts["material"], "")),
            (0.35, dice.pick(_LEVEL_SENTENCES[level])),
            (0.3, f"Colour: {parts['colour']}."),
        )
        if dice.chance(probability) and sentence
    ]
    purpose = dice.pick(_PURPOSES).format(kind.purpose)
    return " ".join([purpose, *dice.shuffled(more)[:3]])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
