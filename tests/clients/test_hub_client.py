"""huggingface_hub's client, as far as it speaks to text-embeddings-inference."""

from __future__ import annotations

from asked import KEY
from huggingface_hub import InferenceClient


def test_health_and_info(url):
    client = InferenceClient(url, provider="hf-inference", token=KEY)
    assert client.health_check()
    info = client.get_endpoint_info()
    assert list(info["model_type"]) == ["reranker"]
    assert info["max_client_batch_size"] == 10_000
