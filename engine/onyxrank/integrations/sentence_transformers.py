"""A cross-encoder with the two methods of sentence-transformers' own `CrossEncoder`.

sentence-transformers itself need not be installed.

>>> model = CrossEncoder("bundle")                                      # doctest: +SKIP
>>> model.predict([("tent pegs", "steel pegs"), ("tent pegs", "lamp")])  # doctest: +SKIP
array([0.93, 0.04], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onyxrank.errors import InvalidInput
from onyxrank.integrations._documents import RankerLike, opened
from onyxrank.request.blanks import WithBlanks, rank_with_blanks
from onyxrank.request.encoding import UnreadableTitles
from onyxrank.request.items import Item, to_items
from onyxrank.request.ranking import Ranking

_OF_SPEED = frozenset({"batch_size", "show_progress_bar", "num_workers", "chunk_size"})
"""Arguments of that library which change how fast it is, or what it shows, and not what it returns."""
_REFUSED = {
    "activation_fn": "scores are probabilities here",
    "activation_fct": "scores are probabilities here",
    "apply_softmax": "a pair has one score here, and no classes",
    "convert_to_tensor": "there is no PyTorch here; make a tensor of the array",
    "device": "the ranker's provider is chosen when its bundle is loaded",
    "pool": "the ranker has threads of its own",
    "prompt": "the model was trained without prompts",
    "prompt_name": "the model was trained without prompts",
}
"""Arguments of that library which would change what it returns, and why they are refused unless they ask nothing."""


class CrossEncoder:
    """Ranks texts for a query. It is safe to share between threads.

    Scores are probabilities, as sentence-transformers gives them for a model with one logit. Arguments of that
    library that only make it faster (`batch_size`, `num_workers`, `chunk_size`) or show what it does
    (`show_progress_bar`) are accepted and change nothing: the engine makes its own batches, on which scores do not
    depend. Those that would change the scores, such as `apply_softmax` or `activation_fn`, are refused unless they
    have the value that asks for nothing. A text without content comes last, with a probability of 0.

    Args:
        ranker: a loaded ranker, or a bundle's path.

    """

    def __init__(self, ranker: RankerLike) -> None:
        self.ranker = opened(ranker)

    def predict(
        self,
        inputs: Iterable[Any],
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        *,
        convert_to_numpy: bool = True,
        **more: Any,
    ) -> NDArray[np.float32] | list[np.float32] | np.float32:
        """Score pairs of query and text.

        Pairs with the same query are ranked together, so that the query is read once by shared-history.

        Args:
            inputs: pairs of query and text, or a single pair.
            batch_size: accepted, but changes nothing.
            show_progress_bar: accepted, but changes nothing.
            convert_to_numpy: whether to return an array; else a list.
            more: other arguments of sentence-transformers, see the class.

        Returns:
            Probabilities [pairs] as float32 in input order, or one float32 number for a single pair.

        Raises:
            InvalidInput: if a pair cannot be ranked, its `index` names the pair; if `inputs` is no list of pairs; or
                if an argument would change the scores.
            NonFiniteScore: if the model answers NaN or infinity.
            TypeError: if there is no such argument.

        """
        _check_arguments("predict", more)
        pairs = _listed(inputs, "inputs", "pairs of query and text")
        single = isinstance(inputs, list | tuple | np.ndarray) and len(pairs) == 2
        if single and all(isinstance(text, str) for text in pairs):
            return np.float32(self._scores([pairs])[0])
        scores = self._scores(pairs)
        return scores if convert_to_numpy else list(scores)

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        **more: Any,
    ) -> list[dict[str, Any]]:
        """Rank texts for a query, best first. Texts with equal scores are in input order.

        Args:
            query: what the user looks for.
            documents: the texts to rank.
            top_k: most texts to return, or None for all.
            return_documents: whether to return the texts too.
            batch_size: accepted, but changes nothing.
            show_progress_bar: accepted, but changes nothing.
            more: other arguments of sentence-transformers, see the class.

        Returns:
            A dict ``{"corpus_id": int, "score": float32}`` for each text, with ``"text"`` if it is asked for. The
            ``corpus_id`` is the text's position, whatever index a pandas Series has.

        Raises:
            InvalidInput: if a text cannot be ranked, its `index` names the text; if `documents` is no list of texts;
                or if an argument would change the scores.
            NonFiniteScore: if the model answers NaN or infinity for a text; its `index` names the text.
            TypeError: if there is no such argument.

        """
        more.pop("convert_to_numpy", None)  # a score is a number either way
        _check_arguments("rank", more)
        texts = _listed(documents, "documents", "texts")
        items = [Item(str(index), text) for index, text in enumerate(texts)]
        ranking = rank_with_blanks(items, lambda readable: self.ranker.rank(query, readable, top_k), top_k)
        results: list[dict[str, Any]] = [{"corpus_id": hit.index, "score": np.float32(hit.score)} for hit in ranking]
        if return_documents:
            for result in results:
                result["text"] = texts[result["corpus_id"]]
        return results

    def _scores(self, pairs: list[Any]) -> NDArray[np.float32]:
        # All pairs are checked before they are grouped by query, so that an error can name the pair.
        queries, texts = [], []
        for index, pair in enumerate(pairs):
            if not isinstance(pair, list | tuple | np.ndarray) or len(pair) != 2 or not isinstance(pair[0], str):
                raise InvalidInput(f"inputs[{index}] must be a pair of query and text", field="inputs", index=index)
            queries.append(pair[0])
            texts.append(pair[1])
        items = to_items([Item(str(index), text) for index, text in enumerate(texts)], blank=True)
        pairs_of: dict[str, list[int]] = {}
        for index, query in enumerate(queries):
            pairs_of.setdefault(query, []).append(index)
        rankings = self._rankings({query: [items[index] for index in pairs_of[query]] for query in pairs_of})
        scores = np.empty(len(items), dtype=np.float32)
        for indices, ranking in zip(pairs_of.values(), rankings, strict=True):
            for hit in ranking:
                scores[indices[hit.index]] = hit.score
        return scores

    def _rankings(self, items_of: Mapping[str, list[Item]]) -> list[Ranking]:
        """Rank the items of each query, in one call if the tokenizer can read all texts that are not blank."""
        listed = [WithBlanks(items) for items in items_of.values()]
        requests = [(query, one.readable) for query, one in zip(items_of, listed, strict=True)]
        try:
            rankings = self.ranker.rank_many(requests)
        except UnreadableTitles:
            return [
                rank_with_blanks(items, partial(self.ranker.rank, query), None) for query, items in items_of.items()
            ]
        return [one.ranking(ranking, None) for one, ranking in zip(listed, rankings, strict=True)]


def _check_arguments(method: str, given: Mapping[str, Any]) -> None:
    """Refuse arguments that would change the scores, and those that do not exist."""
    for name, value in given.items():
        if name in _REFUSED:
            if value is not None and value is not False:
                raise InvalidInput(f"{name} is not taken: {_REFUSED[name]}", field=name)
        elif name not in _OF_SPEED:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")


def _listed(values: Any, name: str, what: str) -> list[Any]:
    """List values by their position.

    Raises:
        InvalidInput: if iterating over them would give something else, such as the names of a table's columns.

    """
    unlike = isinstance(values, str | bytes | Mapping | set | frozenset) or hasattr(values, "columns")
    if unlike or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise InvalidInput(f"{name} must be a list of {what}, not {type(values).__name__}", field=name)
    return values.to_pylist() if hasattr(values, "to_pylist") else list(values)  # pyarrow's own scalars are no texts
