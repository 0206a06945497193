"""Ranks documents of other libraries as items.

A document's whole text is the item's title. Title and description share one token limit, so the model reads as much
of a text alone as it would read of a title and a description. With `title_key`, the document's metadata under that
key are the title, which the model reads first however long the text is, and the text is the description. A document
without such metadata is ranked by its text alone. A document without any text comes last.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from onyxrank.ranker import Ranker
from onyxrank.request.blanks import rank_with_blanks
from onyxrank.request.items import Item
from onyxrank.request.ranking import Ranking

RankerLike: TypeAlias = Ranker | str | os.PathLike[str]


def opened(ranker: RankerLike) -> Ranker:
    """Return a ranker as it is, or load it if a bundle's path is given.

    Raises:
        BundleError: if the bundle cannot be loaded.
        InvalidInput: if `ranker` is neither a ranker nor a path.

    """
    return ranker if isinstance(ranker, Ranker) else Ranker.load(ranker)


def rank_documents(
    ranker: Ranker,
    query: str,
    documents: Iterable[tuple[Any, Mapping[str, Any]]],
    *,
    title_key: str | None,
    most: int | None,
) -> Ranking:
    """Rank documents for a query.

    Args:
        ranker: the ranker to rank with.
        query: what the user looks for.
        documents: text and metadata of each document.
        title_key: key of the metadata that hold a document's title, or None to take none.
        most: most documents to return, or None for all.

    Returns:
        A ranking whose hits have the `index` of their document.

    Raises:
        InvalidInput: if a document's text is no text; it names the document's index.

    """
    items = [_to_item(index, text, metadata, title_key) for index, (text, metadata) in enumerate(documents)]
    return rank_with_blanks(items, lambda readable: ranker.rank(query, readable, top_k=most), most)


def _to_item(index: int, text: Any, metadata: Mapping[str, Any], title_key: str | None) -> Item:
    title = None if title_key is None else metadata.get(title_key)
    return Item(str(index), text) if title is None or title == "" else Item(str(index), title, text)
