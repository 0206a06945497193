from __future__ import annotations

import pytest

pytest.importorskip("cohere", reason="make test-all has it in an environment of its own")

import cohere
from asked import KEY, QUERY, TEXTS, TOLERANCE, expected


@pytest.mark.parametrize("version", ["Client", "ClientV2"])
def test_rerank(url, ranker, version):
    client = getattr(cohere, version)(api_key=KEY, base_url=url)
    answer = client.rerank(model="shop", query=QUERY, documents=TEXTS, top_n=4)
    order, scores = expected(ranker)
    assert [row.index for row in answer.results] == order[:4]
    assert [row.relevance_score for row in answer.results] == pytest.approx(scores[:4], abs=TOLERANCE)


def test_a_wrong_key_and_a_wrong_request_are_its_own_errors(url):
    with pytest.raises(cohere.errors.UnauthorizedError):
        cohere.ClientV2(api_key="wrong", base_url=url).rerank(model="shop", query=QUERY, documents=TEXTS)
    with pytest.raises(cohere.errors.UnprocessableEntityError, match="blank"):
        cohere.ClientV2(api_key=KEY, base_url=url).rerank(model="shop", query=QUERY, documents=["", " "])
