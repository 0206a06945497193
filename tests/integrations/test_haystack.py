"""The component in Haystack's own pipeline."""

from __future__ import annotations

import asyncio
import inspect

import pytest

pytest.importorskip("haystack", reason="make test-all has it in an environment of its own")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from shelf import QUERY, TEXTS, TITLES, expected, titled

from onyxrank import BundleError, InvalidInput
from onyxrank.integrations.haystack import OnyxRanker


def documents():
    return [
        Document(id=str(index), content=text, meta={"name": title}, score=0.5)
        for index, (text, title) in enumerate(zip(TEXTS, TITLES, strict=True))
    ]


def told(ranked):
    """Indices and scores of returned documents."""
    return [int(doc.id) for doc in ranked], [doc.score for doc in ranked]


def pipeline(component):
    store = InMemoryDocumentStore()
    store.write_documents(documents())
    made = Pipeline()
    made.add_component("retriever", InMemoryBM25Retriever(store, top_k=len(TEXTS)))
    made.add_component("ranker", component)
    made.connect("retriever.documents", "ranker.documents")
    return made


INPUT = {"retriever": {"query": "for the"}, "ranker": {"query": QUERY}}


def test_a_pipelines_documents_come_in_the_rankers_order(ranker):
    made = pipeline(OnyxRanker(ranker))
    assert told(made.run(INPUT)["ranker"]["documents"]) == expected(ranker, TEXTS)


def test_an_asynchronous_run_gives_the_same(ranker):
    ranked = asyncio.run(OnyxRanker(ranker).run_async(QUERY, documents()))
    assert told(ranked["documents"]) == expected(ranker, TEXTS)
    made = pipeline(OnyxRanker(ranker))
    if hasattr(made, "run_async"):
        assert told(asyncio.run(made.run_async(INPUT))["ranker"]["documents"]) == expected(ranker, TEXTS)


def test_a_pipeline_is_written_and_read_with_the_bundles_path(bundle, ranker):
    written = pipeline(OnyxRanker(bundle, top_k=3)).dumps()
    named = "allowed_modules" in inspect.signature(Pipeline.loads).parameters
    made = Pipeline.loads(written, **({"allowed_modules": ["onyxrank.integrations.haystack"]} if named else {}))
    assert made.dumps() == written
    component = made.get_component("ranker")
    assert (component.top_k, component.title_key) == (3, None)
    order, scores = expected(ranker, TEXTS)
    # Stores in memory are not written with their documents.
    assert told(component.run(QUERY, documents())["documents"]) == (order[:3], scores[:3])


def test_a_loaded_ranker_cannot_be_written(ranker):
    with pytest.raises(InvalidInput):
        OnyxRanker(ranker).to_dict()


def test_a_bundle_is_loaded_when_the_pipeline_warms_up(tmp_path, bundle):
    absent = OnyxRanker(tmp_path / "absent")
    with pytest.raises(BundleError):
        absent.warm_up()
    component = OnyxRanker(bundle)
    component.warm_up()
    loaded = component._loaded()
    component.warm_up()
    assert component._loaded() is loaded
    with pytest.raises(InvalidInput):
        OnyxRanker(5)


def test_the_most_of_a_call_stands_against_the_components(ranker):
    order, scores = expected(ranker, TEXTS)
    component = OnyxRanker(ranker, top_k=2)
    assert told(component.run(QUERY, documents())["documents"]) == (order[:2], scores[:2])
    assert told(component.run(QUERY, documents(), top_k=4)["documents"]) == (order[:4], scores[:4])


def test_a_title_of_the_metadata_comes_first(ranker):
    component = OnyxRanker(ranker, title_key="name")
    assert told(component.run(QUERY, documents())["documents"]) == expected(ranker, titled())


def test_documents_are_not_changed_and_none_is_fine(ranker):
    given = documents()
    OnyxRanker(ranker).run(QUERY, given)
    assert given == documents()
    assert OnyxRanker(ranker).run(QUERY, []) == {"documents": []}


@pytest.mark.parametrize("content", [None, "", " "], ids=["none", "empty", "blank"])
def test_a_document_without_text_comes_last(ranker, content):
    ranked = OnyxRanker(ranker).run(QUERY, [Document(id="x", content=content), *documents()])["documents"]
    assert (ranked[-1].id, ranked[-1].score, len(ranked)) == ("x", 0.0, len(TEXTS) + 1)


def test_content_that_is_no_text_is_named(ranker):
    with pytest.raises(InvalidInput) as caught:
        OnyxRanker(ranker).run(QUERY, [*documents(), Document(id="x", content="\ud800")])
    assert caught.value.index == len(TEXTS)
