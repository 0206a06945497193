"""litellm's rerank, with the providers that take the address of another server."""

from __future__ import annotations

import os

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would load a list of prices from elsewhere
pytest.importorskip("litellm", reason="make test-all has it in an environment of its own")

import litellm
from asked import KEY, QUERY, TEXTS, TOLERANCE, expected

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydantic")
BASES = {
    "hosted_vllm": "",
    "infinity": "",
    "cohere": "/v2/rerank",
    "jina_ai": "/jina/v1/rerank",
}


@pytest.mark.parametrize("provider", BASES)
def test_rerank(url, ranker, provider):
    answer = litellm.rerank(
        model=f"{provider}/shop",
        query=QUERY,
        documents=TEXTS,
        top_n=4,
        # infinity returns mere texts where vLLM, on the same path, returns objects, as this server does.
        return_documents=provider != "infinity",
        api_key=KEY,
        api_base=f"{url}{BASES[provider]}",
    )
    order, scores = expected(ranker)
    assert [row["index"] for row in answer.results] == order[:4]
    assert [row["relevance_score"] for row in answer.results] == pytest.approx(scores[:4], abs=TOLERANCE)


def test_tokens_are_counted(url):
    answer = litellm.rerank(
        model="hosted_vllm/shop", query=QUERY, documents=TEXTS, api_key=KEY, api_base=f"{url}/v1/rerank"
    )
    assert answer.meta["tokens"]["input_tokens"] > len(TEXTS)
