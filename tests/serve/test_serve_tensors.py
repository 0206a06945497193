"""What Triton's clients send to the Open Inference Protocol: binary tensors, other shapes, compressed bodies."""

from __future__ import annotations

import gzip
import json
import struct
import zlib

import numpy as np
import pytest

from onyxrank import Item, Ranker

TITLES = ["camping bag", "desk lamp", "wool yarn 🧶"]
PATH = "/v2/models/shop/infer"
LENGTH = "inference-header-content-length"


@pytest.fixture(scope="module")
def expected(trained_bundle):
    with Ranker.load(trained_bundle, threads=1) as ranker:
        yield ranker.score("tent", [Item(str(index), title) for index, title in enumerate(TITLES)])


def packed(texts):
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def binary(**more):
    """A request of Triton's client: JSON, then the bytes of both tensors."""
    parts = {"history": packed(["tent"]), "title": packed(TITLES)}
    inputs = [
        {
            "name": name,
            "shape": [1 if name == "history" else len(TITLES)],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(data)},
        }
        for name, data in parts.items()
    ]
    head = json.dumps({"inputs": inputs} | more).encode()
    return head + b"".join(parts.values()), {LENGTH: str(len(head))}


def plain(**changed):
    title = {"name": "title", "shape": [3], "datatype": "BYTES", "data": TITLES} | changed
    return {"inputs": [{"name": "history", "shape": [1], "datatype": "BYTES", "data": ["tent"]}, title]}


def test_a_body_without_a_content_type(client, expected):
    response = client.post(PATH, content=json.dumps(plain()).encode())
    assert response.status_code == 200, response.text
    np.testing.assert_allclose(response.json()["outputs"][0]["data"], expected, atol=1e-6)


@pytest.mark.parametrize(
    "asking", [{"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "score"}]}], ids=["binary", "json"]
)
def test_binary_tensors(client, expected, asking):
    content, headers = binary(id="7", **asking)
    response = client.post(PATH, content=content, headers=headers)
    assert response.status_code == 200, response.text
    if "outputs" in asking:
        scores = response.json()["outputs"][0]["data"]
    else:
        length = int(response.headers[LENGTH])
        head = json.loads(response.content[:length])
        [output] = head["outputs"]
        assert (head["id"], output["shape"], output["datatype"]) == ("7", [3], "FP32")
        assert output["parameters"] == {"binary_data_size": 12}
        scores = np.frombuffer(response.content[length:], dtype="<f4")
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_an_output_may_be_asked_for_in_json_among_binary_ones(client):
    content, headers = binary(
        parameters={"binary_data_output": True},
        outputs=[{"name": "score", "parameters": {"binary_data": False}}],
    )
    assert len(client.post(PATH, content=content, headers=headers).json()["outputs"][0]["data"]) == 3


@pytest.mark.parametrize(
    ("shape", "data"),
    [([1, 3], TITLES), ([1, 3], [TITLES]), ([3, 1], [[title] for title in TITLES]), ([3], TITLES)],
    ids=["flat", "nested", "column", "one axis"],
)
def test_shapes_with_an_axis_of_one(client, expected, shape, data):
    response = client.post(PATH, json=plain(shape=shape, data=data))
    assert response.status_code == 200, response.text
    [output] = response.json()["outputs"]
    assert output["shape"] == shape
    np.testing.assert_allclose(output["data"], expected, atol=1e-6)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(client, expected, encoding, compress):
    content, headers = binary(outputs=[{"name": "score"}])
    sent = compress(content)
    response = client.post(PATH, content=sent, headers=headers | {"content-encoding": encoding})
    assert response.status_code == 200, response.text
    np.testing.assert_allclose(response.json()["outputs"][0]["data"], expected, atol=1e-6)
    for damaged in (b"", b"not compressed", sent[:-4], sent + b"more"):
        refused = client.post(PATH, content=damaged, headers=headers | {"content-encoding": encoding})
        assert (refused.status_code, "content-encoding" in refused.json()["error"]) == (400, True)


def test_a_compressed_body_that_grows_too_large_is_refused(client):
    bomb = gzip.compress(b"a" * (33 * 2**20))
    response = client.post(PATH, content=bomb, headers={"content-encoding": "gzip"})
    assert response.status_code == 413


@pytest.mark.parametrize("path", ["/v1/rank", "/rerank", "/v2/rerank", "/v1/rerank", "/page/rank"])
def test_compressed_bodies_are_refused_elsewhere(client, path):
    body = gzip.compress(json.dumps({"query": "a", "items": ["b"]}).encode())
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    response = client.post(path, content=body, headers=headers)
    assert (response.status_code, "content-encoding" in response.text) == (415, True)
    assert client.post(PATH, content=body, headers=headers | {"content-encoding": "br"}).status_code == 415
    assert client.post(path, json={}, headers={"content-encoding": "identity"}).status_code == 422


DAMAGED = {
    "not there": (b"{}", {LENGTH: "3"}, "number of bytes"),
    "negative": (b"{}", {LENGTH: "-1"}, "number of bytes"),
    "no number": (b"{}", {LENGTH: "²"}, "number of bytes"),
    "too many bytes": (binary()[0] + b"x", binary()[1], "more bytes behind"),
    "too few bytes": (binary()[0][:-1], binary()[1], "number of bytes behind"),
}


@pytest.mark.parametrize(("content", "headers", "says"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_binary_body(client, content, headers, says):
    named = {name: value.encode() for name, value in headers.items()}
    response = client.post(PATH, content=content, headers=named)
    assert (response.status_code, says in response.json()["error"]) == (422, True), response.text


TENSORS = {
    "inside a length": (b"\1\0", 1, "end inside an element"),
    "inside a text": (struct.pack("<I", 5) + b"abc", 1, "end inside an element"),
    "far beyond": (struct.pack("<I", 2**32 - 1) + b"abc", 1, "end inside an element"),
    "not utf-8": (struct.pack("<I", 1) + b"\xff", 1, "element 0 is not UTF-8"),
    "more than the shape": (packed(["a", "b"]), 1, "more elements than its shape"),
    "fewer than the shape": (packed(["a"]), 2, "shape must be [1] or [1, 1]"),
    "two long axes": (packed(["a"]), (2, 2), "shape must be [n] or [1, n]"),
    "no axis": (packed(["a"]), (), "shape must be [n] or [1, n]"),
    "below zero": (packed(["a"]), -2, "shape must be [n] or [1, n]"),
    "huge": (packed(["a"]), 10**30, "more than the 100000 allowed"),
}


@pytest.mark.parametrize(("data", "shape", "says"), TENSORS.values(), ids=TENSORS)
def test_a_damaged_tensor(client, data, shape, says):
    title = {"name": "title", "shape": list(shape) if isinstance(shape, tuple) else [shape], "datatype": "BYTES"}
    head = json.dumps({"inputs": [title | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    response = client.post(PATH, content=head + data, headers={LENGTH: str(len(head))})
    assert (response.status_code, says in response.json()["error"]) == (422, True), response.text


@pytest.mark.parametrize("size", [True, -1, 2.5, "3", 10**400], ids=lambda value: str(value)[:5])
def test_a_size_that_is_none(client, size):
    inputs = [{"name": "title", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}]
    response = client.post(PATH, json={"inputs": inputs})
    assert response.status_code in (400, 422), response.text


def test_data_of_other_kinds(client):
    for data in ([1, 2, 3], ["a", None, "b"], ["a", ["b", "c"], "d"], [["a", "b"], ["c"]], None):
        response = client.post(PATH, json=plain(data=data))
        assert response.status_code == 422, response.text
        assert "inputs[1]" in response.json()["error"]
