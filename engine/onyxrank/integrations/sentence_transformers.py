"""A cross-encoder with the two methods of sentence-transformers' own `CrossEncoder`.

sentence-transformers itself need not be installed.

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
    """Ranks texts for a query. It is safe to share between threads.

    Scores are probabilities, as sentence-transformers gives them for a model with one logit. The arguments
    `batch_size` and `show_progress_bar` are accepted from code that was written for that library and change nothing:
    the engine makes its own batches, on which scores do not depend.

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
        """Score pairs of query and text.

        Pairs with the same query are ranked together, so that the query is read once by shared-history.

        Args:
            inputs: pairs of query and text, or a single pair.
            batch_size: accepted, but changes nothing.
            show_progress_bar: accepted, but changes nothing.

        Returns:
            Probabilities [pairs] as float32 in input order, or one float32 number for a single pair.

        Raises:
            InvalidInput: if a pair cannot be ranked; its `index` names the pair.
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
        """Rank texts for a query, best first. Texts with equal scores are in input order.

        Args:
            query: what the user looks for.
            documents: the texts to rank.
            top_k: most texts to return, or None for all.
            return_documents: whether to return the texts too.
            batch_size: accepted, but changes nothing.
            show_progress_bar: accepted, but changes nothing.

        Returns:
            A dict ``{"corpus_id": int, "score": float32}`` for each text, with ``"text"`` if it is asked for.

        Raises:
            InvalidInput: if a text cannot be ranked; its `index` names the text.
            NonFiniteScore: if the model answers NaN or infinity for a text; its `index` names the text.

        """
        ranking = self.ranker.rank(query, documents, top_k)
        results: list[dict[str, Any]] = [{"corpus_id": hit.index, "score": np.float32(hit.score)} for hit in ranking]
        if return_documents:
            for result in results:
                result["text"] = documents[result["corpus_id"]]
        return results

    def _scores(self, pairs: Sequence[Any]) -> NDArray[np.float32]:
        # All pairs are checked before they are grouped by query, so that an error can name the pair.
        queries, texts = [], []
        for index, pair in enumerate(pairs):
            if not isinstance(pair, list | tuple | np.ndarray) or len(pair) != 2 or not isinstance(pair[0], str):
                raise InvalidInput(f"inputs[{index}] must be a pair of query and text", field="inputs", index=index)
            queries.append(pair[0])
            texts.append(pair[1])
        items = to_items([Item(str(index), text) for index, text in enumerate(texts)])
        pairs_of: dict[str, list[int]] = {}
        for index, query in enumerate(queries):
            pairs_of.setdefault(query, []).append(index)
        requests = [(query, [items[index] for index in indices]) for query, indices in pairs_of.items()]
        scores = np.empty(len(items), dtype=np.float32)
        for indices, ranking in zip(pairs_of.values(), self.ranker.rank_many(requests), strict=True):
            for hit in ranking:
                scores[indices[hit.index]] = hit.score
        return scores
