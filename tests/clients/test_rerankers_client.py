"""rerankers' clients of APIs, which take the address of another server."""

from __future__ import annotations

import pytest

pytest.importorskip("rerankers", reason="make test-all has it in an environment of its own")

from asked import KEY, QUERY, TEXTS, TOLERANCE, expected
from rerankers.models.api_rankers import APIRanker

PATHS = {"cohere": "/v1/rerank", "jina": "/jina/v1/rerank", "text-embeddings-inference": "/rerank"}


@pytest.mark.parametrize("provider", PATHS)
def test_rank(url, ranker, provider):
    client = APIRanker("shop", KEY, provider, url=f"{url}{PATHS[provider]}")
    answer = client.rank(QUERY, TEXTS, doc_ids=list(range(len(TEXTS))))
    order, scores = expected(ranker)
    assert [row.document.doc_id for row in answer.results] == order
    assert [row.score for row in answer.results] == pytest.approx(scores, abs=TOLERANCE)


@pytest.mark.parametrize("provider", PATHS)
def test_a_blank_text_comes_last(url, provider):
    client = APIRanker("shop", KEY, provider, url=f"{url}{PATHS[provider]}")
    answer = client.rank(QUERY, [TEXTS[0], "", TEXTS[1]], doc_ids=[0, 1, 2])
    assert answer.results[-1].document.doc_id == 1
