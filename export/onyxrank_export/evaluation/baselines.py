"""What a model has to beat: popularity and BM25, on the same candidates."""

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
    """How often each candidate was bought in training."""
    return [popularity[row.items].astype(np.float64) for row in lists]


def bm25_scores(lists: Sequence[CandidateList], items: Sequence[Item]) -> list[NDArray[np.float64]]:
    """BM25 of each candidate's title and description with the whole history as the query.

    Robertson and Zaragoza 2009, in Lucene's form (k1 = 1.5, b = 0.75), with document frequencies of the catalogue.
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
