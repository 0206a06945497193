"""The texts that every adapter is tested on, and what `Ranker.score` says of them."""

from __future__ import annotations

import numpy as np

QUERY = "steel tent pegs"
TITLES = ["red tent", "desk lamp with dimmer", "dog leash", "steel pegs, set of 12", "wool yarn", "camping stove"]
TEXTS = [f"{title}, for the {place}" for title, place in zip(TITLES, ["garden", "office", "dog"] * 2, strict=True)]


def expected(ranker, items, query=QUERY):
    """Indices best first, and scores in that order, as the ranker itself has them."""
    scores = ranker.score(query, items)
    order = np.argsort(-scores, kind="stable")
    return order.tolist(), scores[order].tolist()


def titled():
    """The items of texts with a title of their own."""
    return [{"title": title, "description": text} for title, text in zip(TITLES, TEXTS, strict=True)]
