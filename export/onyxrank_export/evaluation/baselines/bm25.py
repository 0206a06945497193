"""BM25: the candidates that share words with the history come first."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

from onyxrank.request.items import Item
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.evaluation.baselines.scorer import Scorer
from onyxrank_export.quiet import quiet

_STOPWORDS = "en"


def bm25(items: Sequence[Item]) -> Scorer:
    """Score candidates by BM25 of their title and description, with the whole history as the query.

    The formula is that of Robertson and Zaragoza 2009, in Lucene's form (k1 = 1.5, b = 0.75); document frequencies
    are those of the whole catalogue. Where no word of the history occurs in the catalogue all scores are 0.

    Args:
        items: the catalogue.

    """
    index = bm25s.BM25()
    corpus = _words([f"{item.title} {item.description}" for item in items])
    with quiet():  # bm25s logs its progress
        index.index(corpus, show_progress=False)

    def score(lists: Sequence[CandidateList]) -> list[NDArray[np.floating]]:
        scores: list[NDArray[np.floating]] = []
        for row, query in zip(lists, _words([" ".join(row.history) for row in lists]), strict=True):
            known = [word for word in query if word in index.vocab_dict]
            everything = index.get_scores(known) if known else np.zeros(len(items))
            scores.append(np.asarray(everything, np.float64)[row.items])
        return scores

    return score


def _words(texts: list[str]) -> list[list[str]]:
    words: list[list[str]] = bm25s.tokenize(texts, stopwords=_STOPWORDS, show_progress=False, return_ids=False)
    return words
