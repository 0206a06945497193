"""Connections: what is refused early, trailers, upgrades, and answers that nobody reads."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress

import httpx
import pytest
from serving import PATIENCE, serving

BODY = json.dumps({"query": "tent", "items": ["lamp", "stove"]}).encode()
POST = b"POST /v1/rank HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@pytest.fixture
def url(fake_model):
    with serving(bundle=fake_model) as address:
        yield address


@pytest.fixture
def locked(fake_model, keys):
    with serving(bundle=fake_model, body_timeout_s=0.3, max_body_bytes=1000, **keys) as address:
        yield address


def connected(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def until_closed(connection):
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def until(connection, end):
    received = b""
    while end not in received:
        chunk = connection.recv(65536)
        assert chunk, received
        received += chunk
    return received


@pytest.mark.parametrize("framing", [b"content-length: 100000", b"transfer-encoding: chunked"])
@pytest.mark.parametrize(("path", "status"), [(b"/v1/rank", b"401"), (b"/admin/reload", b"401")])
def test_a_refusal_that_leaves_the_body_unread_closes(locked, path, status, framing):
    with connected(locked) as asking:
        asking.sendall(b"POST " + path + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n" + framing + b"\r\n\r\n1")
        got = until_closed(asking)
    assert got.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nconnection: close\r\n" in got.lower()


def test_a_closed_path_a_slow_body_and_a_large_one_close_too(fake_model):
    with serving(bundle=fake_model, body_timeout_s=0.3, max_body_bytes=1000) as url:
        for path, length, status in (
            (b"/admin/reload", b"500", b"403"),
            (b"/v1/rank", b"500", b"408"),
            (b"/v1/rank", b"5000", b"413"),
        ):
            with connected(url) as asking:
                asking.sendall(
                    b"POST " + path + b" HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: " + length + b"\r\n\r\n{"
                )
                got = until_closed(asking)
            assert got.startswith(b"HTTP/1.1 " + status)
            assert b"\r\nconnection: close\r\n" in got.lower()


def test_a_refusal_arrives_although_the_body_is_still_being_sent(locked):
    answer = httpx.post(f"{locked}/v1/rank", content=b" " * 3_000_000, timeout=PATIENCE)
    assert answer.status_code == 401


def test_a_refusal_of_a_request_without_body_keeps_the_connection(locked):
    with connected(locked) as asking:
        for _ in range(2):
            asking.sendall(b"GET /info HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert b"connection: close" not in until(asking, b"}").lower()


def endless(asking, line):
    """Send a line again and again, for as long as the server takes it."""
    given_up = time.monotonic() + PATIENCE
    with suppress(ConnectionError):
        while True:
            asking.sendall(line * 100)
            assert time.monotonic() < given_up


@pytest.mark.parametrize("path", [b"/v1/rank", b"/admin/reload"])
def test_trailers_are_limited(locked, path):
    with connected(locked) as asking:
        asking.sendall(b"POST " + path + b" HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
        endless(asking, b"x-more: " + b"a" * 1000 + b"\r\n")


def test_too_large_trailers_are_431(url):
    with connected(url) as asking:
        asking.sendall(POST + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"x-more: a\r\n" * 7000)
        assert until_closed(asking).startswith(b"HTTP/1.1 431")


def test_a_trailer_is_no_header(locked, keys):
    """A key that comes as a trailer opens nothing."""
    from serving import API_KEY

    chunked = b"%x\r\n%s\r\n0\r\nauthorization: Bearer %s\r\n\r\n" % (len(BODY), BODY, API_KEY.encode())
    with connected(locked) as asking:
        asking.sendall(POST + b"transfer-encoding: chunked\r\n\r\n" + chunked)
        assert until(asking, b"}").startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "two segments"])
@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
def test_an_upgrade_is_ignored_and_its_body_is_read(url, upgrade, apart):
    head = POST + b"connection: upgrade, http2-settings\r\nupgrade: " + upgrade + b"\r\nhttp2-settings: AAM\r\n"
    head += b"content-length: %d\r\n\r\n" % len(BODY)
    with connected(url) as asking:
        for _ in range(2):  # and the connection goes on
            asking.sendall(head if apart else head + BODY)
            if apart:
                time.sleep(0.05)
                asking.sendall(BODY)
            assert until(asking, b"}}").startswith(b"HTTP/1.1 200")


def test_a_body_after_an_upgrade_is_no_request(url):
    inner = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    head = POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(inner)
    with connected(url) as asking:
        asking.sendall(head)
        time.sleep(0.05)
        asking.sendall(inner)
        asking.sendall(b"GET /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        got = until_closed(asking)
    assert got.startswith(b"HTTP/1.1 400")
    assert b"HTTP/1.1 404" in got
    assert got.count(b"HTTP/1.1 ") == 2


def test_an_answer_that_nobody_reads_is_given_up(fake_model):
    """The connection ends, although the client keeps it open."""
    with serving(bundle=fake_model, send_timeout_s=0.3, max_text_chars=2**24) as url:
        documents = ["lamp " * 800_000, "stove " * 800_000]
        body = json.dumps({"query": "tent", "documents": documents, "return_documents": True}).encode()
        with connected(url) as asking:
            asking.sendall(b"POST /v2/rerank HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n")
            asking.sendall(b"content-length: %d\r\n\r\n%s" % (len(body), body))
            until_answered(url, "/v2/rerank")
            time.sleep(1)
            with suppress(ConnectionResetError):
                assert len(until_closed(asking)) < len(body)


def until_answered(url, route):
    given_up = time.monotonic() + PATIENCE
    while f'route="{route}",status="200"' not in httpx.get(f"{url}/metrics").text:
        assert time.monotonic() < given_up
        time.sleep(0.02)


def test_an_idle_connection_is_kept_as_long_as_told(fake_model):
    with serving(bundle=fake_model, keep_alive_s=0.2) as url, connected(url) as asking:
        asking.sendall(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert until_closed(asking).startswith(b"HTTP/1.1 200")
