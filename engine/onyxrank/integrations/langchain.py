"""A document compressor for LangChain (extra ``langchain``), such as a ContextualCompressionRetriever takes."""

from __future__ import annotations

from collections.abc import Sequence

from onyxrank.errors import MissingExtra
from onyxrank.integrations._documents import RankerLike, opened, rank_documents
from onyxrank.ranker import Ranker

try:
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from pydantic import ConfigDict
except ModuleNotFoundError as error:
    raise MissingExtra("langchain", "onyxrank.integrations.langchain", error.name) from error


class OnyxRerank(BaseDocumentCompressor):
    """Puts documents in order of their probability, which the copies it returns have as ``relevance_score``.

    Documents' texts are ranked as titles; see `title_key`.

    Args:
        ranker: a loaded ranker, or a bundle's path.
        top_n: most documents to return; None for all.
        title_key: metadata key of a document's title; its text is then the description. A document without it, or
            with an empty one, is ranked by its text.

    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    ranker: Ranker
    top_n: int | None = None
    title_key: str | None = None

    def __init__(self, ranker: RankerLike, *, top_n: int | None = None, title_key: str | None = None) -> None:
        super().__init__(ranker=opened(ranker), top_n=top_n, title_key=title_key)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Rank documents; `acompress_documents` does so in a thread of LangChain's.

        Returns:
            Copies, best first, ties in input order.

        Raises:
            InvalidInput: naming the document's index, if it has no text.
            NonFiniteScore: if the model answers NaN or infinity; names the document.

        """
        texts = ((document.page_content, document.metadata) for document in documents)
        ranking = rank_documents(self.ranker, query, texts, title_key=self.title_key, most=self.top_n)
        return [_scored(documents[hit.index], hit.score) for hit in ranking]


def _scored(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
