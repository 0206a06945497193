"""LangChain's component for Cohere."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_cohere", reason="make test-all has it in an environment of its own")

from asked import KEY, QUERY, TEXTS, TOLERANCE, expected
from langchain_cohere import CohereRerank
from langchain_core.documents import Document


def test_its_compressor(url, ranker):
    compressor = CohereRerank(cohere_api_key=KEY, base_url=url, model="shop", top_n=4)
    documents = [Document(page_content=text, metadata={"place": index}) for index, text in enumerate(TEXTS)]
    ranked = compressor.compress_documents(documents, QUERY)
    order, scores = expected(ranker)
    assert [document.metadata["place"] for document in ranked] == order[:4]
    assert [document.metadata["relevance_score"] for document in ranked] == pytest.approx(scores[:4], abs=TOLERANCE)
