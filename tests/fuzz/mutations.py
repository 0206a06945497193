"""Makes requests out of sound ones by damaging them: in their values, their bytes, their headers, their path."""

from __future__ import annotations

import copy
import json
import struct
from dataclasses import dataclass, field
from random import Random
from typing import Any

SECRET = "zebrasecret"
"""A word of every sound request; no error may quote it."""
_TEXTS = [SECRET, f"{SECRET} tent", "camping stove", "desk lamp", "wool yarn 🧶", "é", "x" * 300]
_RAW = {
    "@inf": "1e999",
    "@minus": "-1e999",
    "@nan": "NaN",
    "@surrogate": '"\\ud800"',
    "@zero": '"\\u0000"',
    "@deep": "[" * 300 + "]" * 300,
    "@deeper": "[" * 5000 + "]" * 5000,
    "@objects": '{"a":' * 400 + "1" + "}" * 400,
    "@digits": "9" * 5000,
    "@fraction": "0." + "0" * 400 + "1",
}
"""What the json module does not write, by the text that stands for it."""
VALUES: list[Any] = [
    *_RAW,
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 10**30, -(10**400), 10**400),
    *("", " ", "\t\n", "\u0301", "\u200b", "\ufeff", "\U0010ffff", "true", "1", "x" * 5000, "a\u0000b"),
    *([], {}, [[]], [{}], [None], {"": ""}, {"text": "tent"}, {"title": "tent", "id": None}, ["tent"] * 30),
]
"""Values to put in the place of others."""
_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "application/json; charset=utf-16",
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/problem+json",
    "",
]


@dataclass
class Asked:
    """A request, sound or damaged.

    Attributes:
        method: its method.
        path: its path.
        body: its body.
        headers: its headers besides those that the client adds.

    """

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def sound(random: Random, model: str) -> tuple[str, str, Any]:
    """Make a sound request: its method, path and JSON body."""
    texts = [random.choice(_TEXTS) for _ in range(random.randint(0, 6))]
    query = random.choice(_TEXTS)
    documents = [random.choice([text, {"text": text}, {"title": text, "body": text}]) for text in texts]
    asked = {"model": random.choice(["shop", "jina-x"]), "query": query, "documents": documents, "top_n": 3}
    asked["return_documents"] = random.random() < 0.5
    tensors = [
        {"name": name, "shape": [len(data)], "datatype": "BYTES", "data": data}
        for name, data in (("history", [query]), ("title", texts), ("description", texts))
    ]
    choices: list[tuple[str, str, Any]] = [
        ("POST", "/v1/rank", {"history": texts, "items": texts, "top_k": 2, "deadline_ms": 10_000}),
        ("POST", "/v1/rank", {"query": query, "items": [{"id": 7, "title": text} for text in texts]}),
        ("POST", "/rerank", {"query": query, "texts": texts, "raw_scores": True, "return_text": True}),
        ("POST", "/rerank", asked),
        ("POST", "/invocations", {"query": query, "texts": texts, "truncate": True}),
        ("POST", "/v1/rerank", asked),
        ("POST", "/v2/rerank", asked | {"rank_fields": ["text"]}),
        ("POST", "/jina/v1/rerank", asked),
        ("POST", f"/v2/models/{model}/infer", {"id": "7", "inputs": tensors, "outputs": [{"name": "score"}]}),
        ("POST", f"/v2/models/{model}/versions/1/infer", {"inputs": tensors[:2]}),
        ("POST", "/page/rank", {"query": query, "titles": texts}),
        ("POST", "/page/rank", {"history": [0, query], "within": "t", "most": 5}),
        ("POST", "/page/catalogue", {"search": "t", "offset": 0, "limit": 3}),
        ("POST", "/admin/reload", {"bundle": "/nowhere", "name": "shop"}),
        *(
            ("GET", path, None)
            for path in ("/", "/health", "/ping", "/info", "/metrics", "/v1/models", "/v2", "/openapi.json")
        ),
        *(("GET", path, None) for path in (f"/v2/models/{model}", f"/v2/models/{model}/ready", "/page/facts")),
    ]
    return random.choice(choices)


def damaged(random: Random, model: str) -> Asked:
    """Make a request and damage it."""
    method, path, value = sound(random, model)
    headers = {"content-type": "application/json"} if value is not None else {}
    if path.endswith("/infer") and random.random() < 0.3:
        body, headers = _binary(random, value)
    else:
        for _ in range(random.choice([0, 1, 1, 1, 2, 3])):
            value = mutated(random, value)
        body = b"" if value is None and method == "GET" else written(value)
    if random.random() < 0.3:
        body = _bytes(random, body)
    if random.random() < 0.15:
        headers["content-type"] = random.choice(_TYPES)
    if random.random() < 0.05:
        headers["content-encoding"] = random.choice(["gzip", "deflate", "br", "identity", "", "gzip, gzip"])
    if random.random() < 0.05:
        path = random.choice([f"{path}/", f"/{path}", f"{path}?a=%00", path.upper(), f"{path}/%2e%2e", f"{path}%ff"])
    if random.random() < 0.05:
        method = random.choice(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "POST"])
    return Asked(method, path, body, headers)


def mutated(random: Random, value: Any) -> Any:
    """Return a copy of a JSON value in which one place is another."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places or random.random() < 0.03:
        return random.choice(VALUES)
    holder, key = random.choice(places)
    kind = random.random()
    if kind < 0.55:
        holder[key] = copy.deepcopy(random.choice(VALUES))
    elif kind < 0.65:
        del holder[key]
    elif kind < 0.75:
        holder[key] = [holder[key]]
    elif kind < 0.85 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * random.choice([1, 10, 200])
    elif isinstance(holder, dict):
        holder[random.choice(["", "text", "texts", "items", "documents", "history", "query", "\u0000"])] = holder[key]
    return value


def written(value: Any) -> bytes:
    """Write a JSON value, with the numbers and texts that the json module does not write."""
    text = json.dumps(value)
    for name, raw in _RAW.items():
        text = text.replace(json.dumps(name), raw)
    return text.encode()


def _places(value: Any) -> Any:
    """Give the holder and the key of every place inside a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _binary(random: Random, value: Any) -> tuple[bytes, dict[str, str]]:
    """Write a request with binary tensors, now and then with wrong counts."""
    behind = b""
    for tensor in value["inputs"]:
        texts = [text.encode() for text in tensor.pop("data")]
        data = b"".join(struct.pack("<I", len(text) + random.choice([0] * 20 + [1, 2**31])) + text for text in texts)
        tensor["parameters"] = {"binary_data_size": len(data) + random.choice([0] * 10 + [1, -1])}
        behind += data
    if random.random() < 0.3:
        value = mutated(random, value)
    head = written(value)
    length: Any = len(head) + random.choice([0] * 10 + [1, -1, 10**9])
    length = random.choice([length] * 20 + ["", "-1", "x", "9" * 40])
    return head + behind, {"inference-header-content-length": str(length)}


def _bytes(random: Random, body: bytes) -> bytes:
    """Damage the bytes of a body."""
    kind, at = random.randrange(6), random.randint(0, len(body))
    if kind == 0:
        return body[:at]
    if kind == 1 and body:
        at = min(at, len(body) - 1)
        return body[:at] + bytes([body[at] ^ (1 << random.randrange(8))]) + body[at + 1 :]
    if kind == 2:
        return body[:at] + random.randbytes(random.randint(1, 8)) + body[at:]
    if kind == 3:
        return body[:at] + body[at:] * random.choice([2, 20])
    if kind == 4:
        return body.decode(errors="replace").encode("utf-16")
    return b"\xef\xbb\xbf" + body
