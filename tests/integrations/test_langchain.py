"""The compressor in LangChain's own retriever over a small store."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain_core", reason="make test-all has it in an environment of its own")
pytest.importorskip("langchain_classic", reason="make test-all has it in an environment of its own")

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from shelf import QUERY, TEXTS, TITLES, expected, titled

from onyxrank.integrations.langchain import OnyxRerank


def documents():
    return [
        Document(text, id=f"d{index}", metadata={"name": title, "index": index})
        for index, (text, title) in enumerate(zip(TEXTS, TITLES, strict=True))
    ]


def told(ranked):
    """Indices and scores of returned documents."""
    return [doc.metadata["index"] for doc in ranked], [doc.metadata["relevance_score"] for doc in ranked]


@pytest.fixture
def retriever():
    """All documents of a small store, in an order that says nothing."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents(documents())
    return store.as_retriever(search_kwargs={"k": len(TEXTS)})


def test_a_retrievers_documents_come_in_the_rankers_order(ranker, retriever):
    pipeline = ContextualCompressionRetriever(base_compressor=OnyxRerank(ranker), base_retriever=retriever)
    found = pipeline.invoke(QUERY)
    assert told(found) == expected(ranker, TEXTS)
    assert told(asyncio.run(pipeline.ainvoke(QUERY))) == told(found)
    assert [doc.id for doc in found] == [f"d{doc.metadata['index']}" for doc in found]


def test_only_the_best_are_returned_if_told_so(ranker):
    order, scores = expected(ranker, TEXTS)
    assert told(OnyxRerank(ranker, top_n=2).compress_documents(documents(), QUERY)) == (order[:2], scores[:2])


def test_a_title_of_the_metadata_comes_first(ranker):
    ranked = OnyxRerank(ranker, title_key="name").compress_documents(documents(), QUERY)
    assert told(ranked) == expected(ranker, titled())
    untitled = OnyxRerank(ranker, title_key="absent").compress_documents(documents(), QUERY)
    assert told(untitled) == expected(ranker, TEXTS)


def test_documents_are_not_changed_and_none_is_fine(ranker):
    given = documents()
    ranked = OnyxRerank(ranker).compress_documents(given, QUERY)
    assert given == documents()
    assert not {id(doc) for doc in given} & {id(doc) for doc in ranked}
    assert OnyxRerank(ranker).compress_documents([], QUERY) == []


def test_a_bundles_path_is_opened(bundle, ranker):
    compressor = OnyxRerank(bundle)
    assert told(compressor.compress_documents(documents(), QUERY)) == expected(ranker, TEXTS)
    compressor.ranker.close()


def test_a_document_without_text_comes_last(ranker):
    ranked = OnyxRerank(ranker).compress_documents([Document(" "), *documents()], QUERY)
    assert (ranked[-1].page_content, ranked[-1].metadata["relevance_score"]) == (" ", 0.0)
    assert len(ranked) == len(TEXTS) + 1
