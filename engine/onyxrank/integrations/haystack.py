"""A ranker component for Haystack (extra ``haystack``).

A pipeline with the component can be written to a file and read from it if the component was given a bundle's path.
Haystack 3 reads components of other packages only if they are named:
``allowed_modules=["onyxrank.integrations.haystack"]``.
"""

# There is no `from __future__ import annotations` here, since Haystack needs the types of `run` and not their names.
import asyncio
import os
from dataclasses import replace
from threading import Lock
from typing import Any

from onyxrank.errors import InvalidInput, MissingExtra
from onyxrank.integrations._documents import RankerLike, opened, rank_documents
from onyxrank.ranker import Ranker

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ModuleNotFoundError as error:
    raise MissingExtra("haystack", "onyxrank.integrations.haystack", error.name) from error


@component
class OnyxRanker:
    """Puts documents in order of their probability, and returns copies that have it as their score.

    A document's text is ranked as a title, unless `title_key` says where its title is.

    Args:
        ranker: a bundle's path, which is loaded when the pipeline warms up, or a loaded ranker.
        top_k: most documents to return, or None for all.
        title_key: key in ``meta`` under which a document has its title; its text is then the description. A document
            without a title, or with an empty one, is ranked by its text.

    Raises:
        InvalidInput: if `ranker` is neither a path nor a ranker.

    """

    def __init__(self, ranker: RankerLike, top_k: int | None = None, title_key: str | None = None) -> None:
        if not isinstance(ranker, Ranker | str | os.PathLike):
            raise InvalidInput(f"ranker must be a Ranker or a path, not {type(ranker).__name__}", field="ranker")
        self.top_k = top_k
        self.title_key = title_key
        self._given = ranker
        self._ranker = ranker if isinstance(ranker, Ranker) else None
        self._loading = Lock()

    def warm_up(self) -> None:
        """Load the bundle, unless it is loaded.

        Raises:
            BundleError: if the bundle cannot be loaded.

        """
        self._loaded()

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """Rank documents for a query.

        Args:
            query: what the user looks for.
            documents: documents to rank.
            top_k: most documents to return, or None for the component's own number.

        Returns:
            A dict with copies of the documents under ``documents``, best first. Documents with equal scores are in
            input order.

        Raises:
            InvalidInput: if a document's text cannot be read; it names the document's index.
            NonFiniteScore: if the model answers NaN or infinity for a document; it names the document's index.

        """
        # A document of a picture, say, has no content: it comes last, as one whose text is blank.
        texts = ((document.content or "", document.meta) for document in documents)
        most = self.top_k if top_k is None else top_k
        ranking = rank_documents(self._loaded(), query, texts, title_key=self.title_key, most=most)
        return {"documents": [replace(documents[hit.index], score=hit.score) for hit in ranking]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Rank documents as `run` does, in a thread."""
        ranked: dict[str, list[Document]] = await asyncio.to_thread(self.run, query, documents, top_k)
        return ranked

    def to_dict(self) -> dict[str, Any]:
        """Return plain values from which `from_dict` makes the component again.

        Raises:
            InvalidInput: if the component was given a loaded ranker, whose options cannot be written.

        """
        if isinstance(self._given, Ranker):
            raise InvalidInput("give the component a bundle's path to write its pipeline", field="ranker")
        parameters = {"ranker": os.fspath(self._given), "top_k": self.top_k, "title_key": self.title_key}
        written: dict[str, Any] = default_to_dict(self, **parameters)
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "OnyxRanker":
        """Make a component out of what `to_dict` returned."""
        made: OnyxRanker = default_from_dict(cls, data)
        return made

    def _loaded(self) -> Ranker:
        with self._loading:
            if self._ranker is None:
                self._ranker = opened(self._given)
            return self._ranker
