"""Haystack's components for text-embeddings-inference and Cohere."""

from __future__ import annotations

import pytest

pytest.importorskip("haystack_integrations", reason="make test-all has it in an environment of its own")

from asked import KEY, QUERY, TEXTS, TOLERANCE, expected
from haystack import Document, Pipeline
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker


@pytest.mark.parametrize("kind", ["tei", "cohere"])
def test_a_pipeline_with_its_ranker(url, ranker, kind):
    if kind == "tei":
        component = HuggingFaceTEIRanker(url=url, top_k=5, token=Secret.from_token(KEY))
    else:
        component = CohereRanker(api_key=Secret.from_token(KEY), api_base_url=url, top_k=5)
    pipeline = Pipeline()
    pipeline.add_component("ranker", component)
    documents = [Document(id=str(index), content=text) for index, text in enumerate(TEXTS)]
    ranked = pipeline.run({"ranker": {"query": QUERY, "documents": documents}})["ranker"]["documents"]
    order, scores = expected(ranker)
    assert [int(document.id) for document in ranked] == order[:5]
    assert [document.score for document in ranked] == pytest.approx(scores[:5], abs=TOLERANCE)
