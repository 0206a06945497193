"""A document compressor for LangChain (extra ``langchain``), which a ContextualCompressionRetriever takes, say."""

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
    """Puts documents in order of their probability, and returns copies that have it as ``relevance_score``.

    A document's text is ranked as a title, unless `title_key` says where its title is.

    Args:
        ranker: a loaded ranker, or a bundle's path.
        top_n: most documents to return, or None for all.
        title_key: key of the metadata under which a document has its title; its text is then the description. A
            document without a title, or with an empty one, is ranked by its text.

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
        """Rank documents; `acompress_documents` does the same in one of LangChain's threads.

        Returns:
            Copies of the documents, best first. Documents with equal scores are in input order.

        Raises:
            InvalidInput: if a document's text cannot be read; it names the document's index.
            NonFiniteScore: if the model answers NaN or infinity for a document; it names the document's index.

        """
        texts = ((document.page_content, document.metadata) for document in documents)
        ranking = rank_documents(self.ranker, query, texts, title_key=self.title_key, most=self.top_n)
        return [_scored(documents[hit.index], hit.score) for hit in ranking]


def _scored(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
