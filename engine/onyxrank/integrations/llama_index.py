"""A node postprocessor for LlamaIndex (extra ``llama-index``)."""

from __future__ import annotations

from onyxrank.errors import InvalidInput, MissingExtra
from onyxrank.integrations._documents import RankerLike, opened, rank_documents
from onyxrank.ranker import Ranker

try:
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
except ModuleNotFoundError as error:
    raise MissingExtra("llama-index", "onyxrank.integrations.llama_index", error.name) from error


class OnyxRerank(BaseNodePostprocessor):
    """Puts nodes in order of their probability, which replaces the retriever's score.

    A node's own text, without metadata, is ranked as a title, unless `title_key` says where its title is.

    Args:
        ranker: a loaded ranker, or a bundle's path.
        top_n: most nodes to return, or None for all.
        title_key: key of the metadata under which a node has its title; its text is then the description. A node
            without a title, or with an empty one, is ranked by its text.

    """

    top_n: int | None = None
    title_key: str | None = None
    _ranker: Ranker = PrivateAttr()

    def __init__(self, ranker: RankerLike, *, top_n: int | None = None, title_key: str | None = None) -> None:
        super().__init__(top_n=top_n, title_key=title_key)
        self._ranker = opened(ranker)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in LlamaIndex's own dicts."""
        return "OnyxRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Rank nodes; `apostprocess_nodes` does the same in a thread.

        Returns:
            A new ``NodeWithScore`` for each of the nodes, best first. Nodes with equal scores are in input order.

        Raises:
            InvalidInput: if there is no query, or if a node's text cannot be read; it then names the node's
                index.
            NonFiniteScore: if the model answers NaN or infinity for a node; it names the node's index.

        """
        if query_bundle is None:
            raise InvalidInput("nodes are ranked for a query: give query_bundle or query_str", field="query")
        texts = ((found.node.get_content(metadata_mode=MetadataMode.NONE), found.node.metadata) for found in nodes)
        ranking = rank_documents(
            self._ranker, query_bundle.query_str, texts, title_key=self.title_key, most=self.top_n
        )
        return [NodeWithScore(node=nodes[hit.index].node, score=hit.score) for hit in ranking]
