"""The postprocessor in LlamaIndex's own query over a small index."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="make test-all has it in an environment of its own")

from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from shelf import QUERY, TEXTS, TITLES, expected, titled

from onyxrank import InvalidInput
from onyxrank.integrations.llama_index import OnyxRerank


def nodes():
    return [
        TextNode(text=text, id_=str(index), metadata={"name": title})
        for index, (text, title) in enumerate(zip(TEXTS, TITLES, strict=True))
    ]


def found():
    return [NodeWithScore(node=node, score=0.5) for node in nodes()]


def told(ranked):
    """Indices and scores of returned nodes."""
    return [int(hit.node.node_id) for hit in ranked], [hit.score for hit in ranked]


def test_a_querys_nodes_come_in_the_rankers_order(ranker):
    index = VectorStoreIndex(nodes(), embed_model=MockEmbedding(embed_dim=4))
    engine = index.as_query_engine(
        llm=MockLLM(), similarity_top_k=len(TEXTS), node_postprocessors=[OnyxRerank(ranker)]
    )
    assert told(engine.query(QUERY).source_nodes) == expected(ranker, TEXTS)
    assert told(asyncio.run(engine.aquery(QUERY)).source_nodes) == expected(ranker, TEXTS)


def test_only_the_best_are_returned_if_told_so(ranker):
    order, scores = expected(ranker, TEXTS)
    assert told(OnyxRerank(ranker, top_n=2).postprocess_nodes(found(), query_str=QUERY)) == (order[:2], scores[:2])


def test_a_title_of_the_metadata_comes_first(ranker):
    postprocessor = OnyxRerank(ranker, title_key="name")
    assert told(postprocessor.postprocess_nodes(found(), QueryBundle(QUERY))) == expected(ranker, titled())


def test_nodes_are_not_changed_and_none_is_fine(ranker):
    given = found()
    OnyxRerank(ranker).postprocess_nodes(given, query_str=QUERY)
    assert given == found()
    assert OnyxRerank(ranker).postprocess_nodes([], query_str=QUERY) == []


def test_a_bundles_path_is_opened_and_the_settings_are_written(bundle, ranker):
    postprocessor = OnyxRerank(str(bundle), top_n=3)
    assert told(postprocessor.postprocess_nodes(found(), query_str=QUERY))[0] == expected(ranker, TEXTS)[0][:3]
    assert postprocessor.to_dict()["top_n"] == 3
    assert postprocessor.to_dict()["class_name"] == "OnyxRerank"


def test_no_query_is_named(ranker):
    with pytest.raises(InvalidInput) as caught:
        OnyxRerank(ranker).postprocess_nodes(found())
    assert caught.value.field == "query"


def test_a_node_without_text_comes_last(ranker):
    blank = NodeWithScore(node=TextNode(text=""), score=3.0)
    ranked = OnyxRerank(ranker).postprocess_nodes([blank, *found()], query_str=QUERY)
    assert (ranked[-1].node.text, ranked[-1].score, len(ranked)) == ("", 0.0, len(TEXTS) + 1)
