"""Documents of other libraries as items.

A document's text is the item's title, whole: title and description share one token limit, so a text alone is read as
far as a title and a description would be. With `title_key` the metadata of that key is the title, which is read first
whatever the text's length, and the text is the description; a document without it is ranked by its text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from onyxrank.ranker import Ranker
from onyxrank.request.items import Item
from onyxrank.request.ranking import Ranking

RankerLike: TypeAlias = Ranker | str | os.PathLike[str]


def opened(ranker: RankerLike) -> Ranker:
    """The ranker itself, or that of a bundle's path.

    Raises:
        BundleError: if the bundle cannot be loaded.
        InvalidInput: if it is neither.

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
        ranker: to rank with.
        query: what is looked for.
        documents: their texts and metadata.
        title_key: metadata key of the title, or None.
        most: how many to return; None for all.

    Returns:
        Hits whose `index` is the document's.

    Raises:
        InvalidInput: naming the document's index, if its text is blank or not text.

    """
    items = [_to_item(index, text, metadata, title_key) for index, (text, metadata) in enumerate(documents)]
    return ranker.rank(query, items, top_k=most)


def _to_item(index: int, text: Any, metadata: Mapping[str, Any], title_key: str | None) -> Item:
    title = None if title_key is None else metadata.get(title_key)
    return Item(str(index), text) if title is None or title == "" else Item(str(index), title, text)
