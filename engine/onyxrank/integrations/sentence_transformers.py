"""A cross-encoder with the two methods of sentence-transformers' own, which need not be installed.

>>> model = CrossEncoder("bundle")                                      # doctest: +SKIP
>>> model.predict([("tent pegs", "steel pegs"), ("tent pegs", "lamp")])  # doctest: +SKIP
array([0.93, 0.04], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank.integrations._documents import RankerLike, opened
from onyxrank.request.items import Item, to_items


class CrossEncoder:
    """Ranks texts for a query. Safe to share between threads.

    Scores are probabilities, as sentence-transformers gives them for a model of one logit. `batch_size` and
    `show_progress_bar` are taken from code that was written for it and change nothing: the engine makes its own
    batches, on which scores do not depend.

    Args:
        ranker: a loaded ranker, or a bundle's path.

    """

    def __init__(self, ranker: RankerLike) -> None:
        self.ranker = opened(ranker)

    def predict(
        self,
        inputs: Sequence[Sequence[str]] | Sequence[str],
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float32] | np.float32:
        """Score pairs of query and text; those of one query share its tokens, and in shared-history its states.

        Args:
            inputs: pairs, or one pair.
            batch_size: changes nothing.
            show_progress_bar: changes nothing.

        Returns:
            float32 probabilities [pairs] in input order; of one pair a float32 number.

        Raises:
            InvalidInput: naming the pair by `index`.
            NonFiniteScore: if the model answers NaN or infinity.

        """
        pairs = list(inputs)
        if len(pairs) == 2 and all(isinstance(text, str) for text in pairs):
            return np.float32(self._scores([pairs])[0])
        return self._scores(pairs)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Rank texts for a query, best first, ties in input order.

        Args:
            query: what is looked for.
            documents: the texts.
            top_k: most to return; None for all.
            return_documents: whether to add the texts.
            batch_size: changes nothing.
            show_progress_bar: changes nothing.

        Returns:
            Dicts ``{"corpus_id": int, "score": float32}`` and, if asked for, ``"text"``.

        Raises:
            InvalidInput: naming the document by `index`.
            NonFiniteScore: if the model answers NaN or infinity; names the document.

        """
        ranking = self.ranker.rank(query, documents, top_k)
        results: list[dict[str, Any]] = [{"corpus_id": hit.index, "score": np.float32(hit.score)} for hit in ranking]
        if return_documents:
            for result in results:
                result["text"] = documents[result["corpus_id"]]
        return results

    def _scores(self, pairs: Sequence[Any]) -> NDArray[np.float32]:
        # Checked together, so that an error names the pair; then grouped by query.
        queries, texts = [], []
        for index, pair in enumerate(pairs):
            if not isinstance(pair, list | tuple | np.ndarray) or len(pair) != 2 or not isinstance(pair[0], str):
                raise InvalidInput(f"inputs[{index}] must be a pair of query and text", field="inputs", index=index)
            queries.append(pair[0])
            texts.append(pair[1])
        items = to_items([Item(str(index), text) for index, text in enumerate(texts)])
        places: dict[str, list[int]] = {}
        for index, query in enumerate(queries):
            places.setdefault(query, []).append(index)
        requests = [(query, [items[index] for index in found]) for query, found in places.items()]
        scores = np.empty(len(items), dtype=np.float32)
        for found, ranking in zip(places.values(), self.ranker.rank_many(requests), strict=True):
            for hit in ranking:
                scores[found[hit.index]] = hit.score
        return scores
