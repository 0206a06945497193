"""The limit on file descriptors, and what is said when a server comes near it."""

from __future__ import annotations

import socket

import httpx
import pytest
from serving import serving

from onyxrank.serve import files

resource = pytest.importorskip("resource")


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [
        (1024, 4096, 4096, 4096 - 128),
        (1024, resource.RLIM_INFINITY, 65_536, 65_536 - 128),
        (1024, 10**9, 65_536, 65_536 - 128),
        (100_000, 10**9, None, 100_000 - 128),
        (64, 64, None, 16),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, None),
    ],
)
def test_the_limit_is_raised_and_some_are_kept_back(monkeypatch, soft, hard, raised, connections):
    told = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: told.append(limits))
    assert files.most_connections() == connections
    assert told == ([] if raised is None else [(raised, hard)])


def test_a_connection_too_many_is_answered_and_logged(fake_model, caplog):
    with serving(bundle=fake_model, connections=3) as url:
        host, port = url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(3)]
        answer = httpx.get(f"{url}/health/live")
        for connection in idle:
            connection.close()
    assert answer.status_code == 503
    assert "Exceeded concurrency limit." in caplog.messages
