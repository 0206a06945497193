"""Triton's client, which speaks the Open Inference Protocol with binary tensors unless told otherwise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tritonclient", reason="make test-all has it in an environment of its own")

from asked import KEY, QUERY, TEXTS, TOLERANCE
from tritonclient import http


def headers():
    """Those of one call: the client writes its own into them."""
    return {"authorization": f"Bearer {KEY}"}


@pytest.fixture
def client(url):
    with http.InferenceServerClient(url.removeprefix("http://")) as asking:
        yield asking


def tensor(name, texts, binary, row):
    data = np.array([texts] if row else texts, dtype=np.object_)
    made = http.InferInput(name, list(data.shape), "BYTES")
    made.set_data_from_numpy(data, binary_data=binary)
    return made


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("row", [False, True], ids=["[n]", "[1, n]"])
def test_infer(client, ranker, bundle, binary, compression, row):
    inputs = [tensor("history", [QUERY], binary, row), tensor("title", TEXTS, binary, row)]
    outputs = [http.InferRequestedOutput("score", binary_data=binary)]
    answer = client.infer(
        bundle.name,
        inputs,
        outputs=outputs,
        request_id="7",
        headers=headers(),
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    scores = answer.as_numpy("score")
    assert scores.shape == ((1, len(TEXTS)) if row else (len(TEXTS),))
    assert answer.get_response()["id"] == "7"
    np.testing.assert_allclose(scores.reshape(-1), ranker.score(QUERY, TEXTS), atol=TOLERANCE)


def test_infer_without_saying_which_outputs(client, ranker, bundle):
    inputs = [tensor("history", [QUERY], True, False), tensor("title", TEXTS, True, False)]
    answer = client.infer(bundle.name, inputs, headers=headers())
    np.testing.assert_allclose(answer.as_numpy("score"), ranker.score(QUERY, TEXTS), atol=TOLERANCE)


def test_what_it_asks_of_server_and_model(client, bundle):
    assert client.is_server_live(headers=headers())
    assert client.is_server_ready(headers=headers())
    assert client.is_model_ready(bundle.name, headers=headers())
    assert not client.is_model_ready("other", headers=headers())
    assert client.get_server_metadata(headers=headers())["name"] == "onyxrank"
    assert client.get_model_metadata(bundle.name, headers=headers())["outputs"][0]["name"] == "score"


def test_a_fault_is_its_own_error(client, bundle):
    inputs = [tensor("history", [QUERY], True, False), tensor("price", TEXTS, True, False)]
    with pytest.raises(http.InferenceServerException, match="history, title and description"):
        client.infer(bundle.name, inputs, headers=headers())
