"""What goes wrong in service: clients that misbehave, a server that is killed, stopped, reloaded, overloaded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import numpy as np
import pytest
from serving import ADMIN_KEY, API_KEY, PATIENCE, serving

from onyxrank import Ranker
from onyxrank.architectures.cross import PairStep

TITLES = ["camping bag", "desk lamp", "wool yarn", "dog leash", "office chair"]
BODY = {"query": "tent", "items": TITLES}
SECRET = "zebrasecret"


def scores_of(bundle, titles=TITLES):
    with Ranker.load(bundle, threads=1) as ranker:
        return ranker.score("tent", titles)


def scores_in(answer):
    rows = sorted(answer["results"], key=lambda row: row["index"])
    return np.array([row["score"] for row in rows])


def connected(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def answered(connection):
    """Everything until the server closes the connection."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


@contextmanager
def slowly(monkeypatch, seconds):
    """Every micro-batch takes so long."""
    run = PairStep.run

    def slow(self, together, watch):
        time.sleep(seconds)
        return run(self, together, watch)

    with monkeypatch.context() as patch:
        patch.setattr(PairStep, "run", slow)
        yield


def test_one_byte_a_second_is_given_up(trained_bundle):
    with serving(bundle=str(trained_bundle), header_timeout_s=0.5, body_timeout_s=0.5) as url:
        with connected(url) as idle:
            assert answered(idle).startswith(b"HTTP/1.1 408")
        with connected(url) as slow:
            slow.sendall(b"POST /v1/rank HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ")
            assert answered(slow).startswith(b"HTTP/1.1 408")
        with connected(url) as slow:
            slow.sendall(b"POST /v1/rank HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{")
            got = answered(slow)
            assert got.startswith(b"HTTP/1.1 408")
            assert b"took too long" in got
        assert httpx.post(f"{url}/v1/rank", json=BODY).status_code == 200


def test_headers_without_end_are_given_up(client):
    with connected(str(client.base_url).rstrip("/")) as endless:
        endless.sendall(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        try:
            for _ in range(100):
                endless.sendall(b"x-more: " + b"a" * 4000 + b"\r\n")
        except OSError:
            pass
        with suppress(ConnectionResetError):
            assert answered(endless).startswith(b"HTTP/1.1 431")
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("told", [True, False], ids=["content-length", "chunked"])
def test_100_megabytes_are_refused(client, told):
    def chunks():
        for _ in range(100):
            yield b"a" * 2**20

    headers = {"content-type": "application/json"} | ({"content-length": str(100 * 2**20)} if told else {})
    try:
        response = client.post("/v1/rank", content=chunks(), headers=headers)
    except httpx.WriteError:
        return  # the server answered and closed before the client had sent all
    assert response.status_code == 413
    assert response.json()["error"]["field"] == "body"


def test_a_client_that_leaves_frees_its_place(trained_bundle, monkeypatch):
    with serving(bundle=str(trained_bundle), queue_tokens=100_000) as url, slowly(monkeypatch, 0.3):
        body = json.dumps({"query": "tent", "items": ["lamp"] * 5000}).encode()
        with connected(url) as leaving:
            head = b"POST /v1/rank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            leaving.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            wait_for(lambda: queue_of(url) > 0)
        wait_for(lambda: queue_of(url) == 0)
        assert 'onyxrank_requests_total{route="/v1/rank",status="499"} 1.0' in httpx.get(f"{url}/metrics").text


def queue_of(url):
    [line] = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith("onyxrank_queue_tok")]
    return float(line.split()[1])


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_event(served, event, times):
    """Until the log tells of it so often."""
    wait_for(lambda: sum(f'"event": "{event}"' in line for line in served.lines()) >= times)


def wait_for_more(seen, count):
    before = len(seen)
    wait_for(lambda: len(seen) >= before + count)


def test_overload_answers_429_and_recovers(trained_bundle, monkeypatch):
    with (
        serving(bundle=str(trained_bundle), queue_tokens=200) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        with slowly(monkeypatch, 0.05), ThreadPoolExecutor(16) as callers:
            asked = list(callers.map(lambda _: client.post("/v1/rank", json=BODY), range(100)))
            health = client.get("/health/live").status_code
        refused = [answer for answer in asked if answer.status_code == 429]
        assert health == 200
        assert refused
        assert {answer.status_code for answer in asked} == {200, 429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        tei = client.post("/rerank", json={"query": "tent", "texts": TITLES})
        assert tei.status_code == 200, "the queue is empty again"
        expected = scores_of(trained_bundle)
        for answer in asked:
            if answer.status_code == 200:
                np.testing.assert_allclose(scores_in(answer.json()), expected, atol=1e-6)


def test_a_deadline_answers_504(trained_bundle, monkeypatch):
    with serving(bundle=str(trained_bundle), timeout_s=0.2) as url, slowly(monkeypatch, 1.0):
        for body in (BODY, BODY | {"deadline_ms": 50}):
            response = httpx.post(f"{url}/v1/rank", json=body)
            assert (response.status_code, response.json()["error"]["type"]) == (504, "deadline_exceeded")


def test_a_broken_model_answers_500_and_the_log_quotes_nothing(trained_bundle, monkeypatch, caplog):
    from onyxrank.sessions.ort_session import OrtSession

    with serving(bundle=str(trained_bundle)) as url:
        monkeypatch.setattr(OrtSession, "run", lambda self, feeds: [np.full((len(feeds["input_ids"]), 2), np.nan)])
        response = httpx.post(f"{url}/v1/rank", json={"query": SECRET, "items": [SECRET]})
        assert (response.status_code, response.json()["error"]["type"]) == (500, "non_finite_score")
        assert "items[0]" in response.json()["error"]["message"]
        monkeypatch.setattr(OrtSession, "run", lambda self, feeds: 1 / 0)
        response = httpx.post(f"{url}/v1/rank", json={"query": SECRET, "items": [SECRET]})
        assert (response.status_code, response.json()["error"]["type"]) == (500, "internal")
    assert SECRET not in response.text
    assert SECRET not in caplog.text


def test_the_log_holds_no_text_and_request_ids_come_back(serve, trained_bundle):
    served = serve(trained_bundle)
    with served.client() as client:
        response = client.post(f"/v1/rank?{SECRET}=1", json=BODY, headers={"x-request-id": "shop-17"})
        assert response.headers["x-request-id"] == "shop-17"
        for body in ({"query": SECRET, "items": [SECRET]}, {"query": 3, "items": [SECRET]}, SECRET):
            client.post("/v1/rank", json=body)
        client.get(f"/{SECRET}")
        odd = client.get("/health/live", headers={"x-request-id": "a b\tc"}).headers["x-request-id"]
        assert len(odd) == 32
    assert served.stop() == 0
    lines = [json.loads(line) for line in served.lines()]
    assert SECRET not in served.log.read_text()
    assert {"starting", "ready", "request", "stopped"} <= {line["event"] for line in lines}
    [line] = [line for line in lines if line.get("request_id") == "shop-17"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/rank", 200)


def test_sigterm_in_mid_load_loses_no_admitted_request(serve, trained_bundle):
    served = serve(trained_bundle)
    body = {"query": "tent", "items": [f"{TITLES[number % 5]} {number}" for number in range(400)]}
    outcomes = []

    def ask():
        with served.client() as client:
            while True:
                try:
                    outcomes.append(client.post("/v1/rank", json=body))
                except httpx.ConnectError:
                    return  # it takes no more
                except httpx.TransportError as error:
                    outcomes.append(error)
                    return

    with ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(ask) for _ in range(4)]
        wait_for(lambda: len(outcomes) > 4)
        assert served.stop() == 0
        for one in asking:
            one.result()
    lost = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    # A kept-alive connection may be closed just as the next request goes out: that one was never admitted.
    assert all(isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError) for error in lost)
    answers = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert len(answers) > 4
    assert all(answer.status_code == 200 and answer.json()["total"] == 400 for answer in answers)
    admitted = [json.loads(line) for line in served.lines()]
    ranked = [line for line in admitted if line.get("route") == "/v1/rank"]
    assert [line["status"] for line in ranked] == [200] * len(answers), "what was admitted was answered"


@pytest.mark.parametrize("workers", [1, 2])
def test_reloading_under_load_mixes_nothing(serve, trained_bundle, shared_bundle, keys, workers):
    served = serve(trained_bundle, "--workers", str(workers), *options(keys))
    wait_for_event(served, "ready", workers)
    expected = [scores_of(bundle) for bundle in (trained_bundle, shared_bundle)]
    seen, stop = [], threading.Event()

    def ask():
        with served.client(headers={"authorization": f"Bearer {API_KEY}"}) as client:
            while not stop.is_set():
                answer = client.post("/v1/rank", json=BODY)
                assert answer.status_code == 200, answer.text
                seen.append([np.allclose(scores_in(answer.json()), own, atol=1e-5) for own in expected])

    with ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(ask) for _ in range(4)]
        try:
            for turn in range(4):
                bundle = (shared_bundle, trained_bundle)[turn % 2]
                answer = reload(served, bundle)
                assert answer.status_code == 200, answer.text
                wait_for_event(served, "reloaded", (turn + 1) * workers)
                wait_for_more(seen, 16)
        finally:
            stop.set()
        for one in asking:
            one.result()
    assert all(sum(own) == 1 for own in seen), "every answer belongs to one model"
    assert {tuple(own) for own in seen} == {(True, False), (False, True)}
    assert served.stop() == 0


def reload(served, bundle):
    with served.client(headers={"authorization": f"Bearer {ADMIN_KEY}"}) as client:
        return client.post("/admin/reload", json={"bundle": str(bundle), "name": "shop"})


def options(keys):
    return [text for name, path in keys.items() for text in (f"--{name.replace('_', '-')}", path)]


def test_a_damaged_bundle_on_reload_leaves_the_old_one(serve, trained_bundle, shared_bundle, keys, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(shared_bundle, damaged)
    (damaged / "tokenizer.json").write_text("{}")
    served = serve(trained_bundle, *options(keys))
    answer = reload(served, damaged)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "bundle_error")
    with served.client(headers={"authorization": f"Bearer {API_KEY}"}) as client:
        got = scores_in(client.post("/v1/rank", json=BODY).json())
    np.testing.assert_allclose(got, scores_of(trained_bundle), atol=1e-6)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds the workers in /proc")
def test_a_killed_worker_is_replaced_and_the_others_go_on(serve, trained_bundle, shared_bundle, keys):
    served = serve(trained_bundle, "--workers", "2", *options(keys))
    wait_for_event(served, "ready", 2)  # a worker that starts after the reload begins with the new bundle
    assert reload(served, shared_bundle).status_code == 200
    wait_for_event(served, "reloaded", 2)
    before = workers_of(served)
    assert len(before) == 2
    outcomes, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                with served.client(headers={"authorization": f"Bearer {API_KEY}"}) as client:
                    outcomes.append(client.post("/v1/rank", json=BODY))
            except httpx.TransportError:
                outcomes.append(None)  # it was in the worker that was killed

    with ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(ask) for _ in range(4)]
        try:
            wait_for_more(outcomes, 16)
            os.kill(before[0], signal.SIGKILL)
            wait_for(lambda: len(workers_of(served)) == 2 and before[0] not in workers_of(served))
            wait_for_event(served, "ready", 3)
            wait_for_more(outcomes, 64)
        finally:
            stop.set()
        for one in asking:
            one.result()
    answers = [answer for answer in outcomes if answer is not None]
    assert len(outcomes) - len(answers) <= 4, "only what the killed worker held is lost"
    expected = scores_of(shared_bundle)
    for answer in answers:
        assert answer.status_code == 200
        np.testing.assert_allclose(scores_in(answer.json()), expected, atol=1e-5)
    assert served.stop() == 0


def workers_of(served):
    children = f"/proc/{served.process.pid}/task/{served.process.pid}/children"
    with open(children) as file:
        found = [int(number) for number in file.read().split()]
    return [number for number in found if "spawn_main" in command_of(number)]


def command_of(process):
    try:
        with open(f"/proc/{process}/cmdline") as file:
            return file.read()
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_metrics_tell_what_all_workers_did(serve, trained_bundle, workers):
    served = serve(trained_bundle, "--workers", workers)
    for _ in range(20):
        httpx.post(f"{served.url}/v1/rank", json=BODY)
    page = httpx.get(f"{served.url}/metrics").text
    assert 'onyxrank_requests_total{route="/v1/rank",status="200"} 20.0' in page
    assert f"onyxrank_items_total {20.0 * len(TITLES)}" in page
    assert 'variant="' in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["/nowhere"], "there is no folder"),
        (["BUNDLE", "--host", "0.0.0.0"], "needs --api-key-file"),
        (["BUNDLE", "--port", "TAKEN"], "cannot listen on"),
        (["BUNDLE", "--items", "/nowhere/items.csv"], "no such file"),
        (["BUNDLE", "--variant", "int8"], "did not start"),
        (["BUNDLE", "--workers", "2", "--provider", "cuda"], "did not start"),
    ],
    ids=["no bundle", "no key", "port taken", "no items", "no variant", "workers fail"],
)
def test_a_server_that_cannot_start_says_why(trained_bundle, arguments, says):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        replaced = {"BUNDLE": str(trained_bundle), "TAKEN": str(taken.getsockname()[1])}
        command = [sys.executable, "-m", "onyxrank", "serve", *(replaced.get(one, one) for one in arguments)]
        done = subprocess.run(
            [*command, *(["--port", "0"] if "TAKEN" not in arguments else [])],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 1, done.stderr
    assert says in done.stderr.splitlines()[-1]
    if "TAKEN" in arguments:
        assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
