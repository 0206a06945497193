"""Baselines that need no model: popularity and BM25, on the same candidates."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

from onyxrank.request.items import Item
from onyxrank_export.data.pairs import CandidateList
from onyxrank_export.quiet import quiet

_STOPWORDS = "en"


def popularity_scores(lists: Sequence[CandidateList], popularity: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Score candidates by how often they were bought in training.

    Args:
        lists: the lists whose candidates to score.
        popularity: int64 [items], training purchases of each item of the catalogue.

    Returns:
        float64 [candidates] for each list.

    """
    return [popularity[row.items].astype(np.float64) for row in lists]


def bm25_scores(lists: Sequence[CandidateList], items: Sequence[Item]) -> list[NDArray[np.float64]]:
    """Score candidates by BM25 of their title and description, with the whole history as the query.

    The formula is that of Robertson and Zaragoza 2009, in Lucene's form (k1 = 1.5, b = 0.75); document
    frequencies are those of the whole catalogue.

    Args:
        lists: the lists whose candidates to score.
        items: the catalogue.

    Returns:
        float64 [candidates] for each list; 0 where no word of the history occurs in the catalogue.

    """
    corpus = bm25s.tokenize(
        [f"{item.title} {item.description}" for item in items],
        stopwords=_STOPWORDS,
        show_progress=False,
        return_ids=False,
    )
    index = bm25s.BM25()
    with quiet():  # bm25s logs its progress
        index.index(corpus, show_progress=False)
    queries = bm25s.tokenize(
        [" ".join(row.history) for row in lists], stopwords=_STOPWORDS, show_progress=False, return_ids=False
    )
    scores = []
    for row, query in zip(lists, queries, strict=True):
        known = [word for word in query if word in index.vocab_dict]
        everything = index.get_scores(known) if known else np.zeros(len(items))
        scores.append(np.asarray(everything, np.float64)[row.items])
    return scores
