"""What an operator sees: spans, logs, metrics, TLS."""

from __future__ import annotations

import json
import logging
import ssl

import httpx
import pytest
import trustme
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving import PATIENCE, serving

from onyxrank import Ranker
from onyxrank.serve import tracing
from onyxrank.serve.logs import JsonLines
from onyxrank.serve.metrics import SHARED_FOLDER, Metrics

SECRET = "zebrasecret"
BODY = {"query": SECRET, "items": [SECRET, "lamp"]}
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def test_a_request_is_a_span_of_the_callers_trace_without_texts(client, spans):
    spans.clear()
    client.post("/v1/rank", json=BODY, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    [span] = spans.get_finished_spans()
    assert span.name == "POST /v1/rank"
    assert f"{span.context.trace_id:032x}" == TRACE
    told = dict(span.attributes)
    assert (told["http.response.status_code"], told["onyxrank.items"]) == (200, 2)
    assert told["onyxrank.run_s"] > 0
    assert SECRET not in span.to_json()


def test_only_faults_of_the_server_mark_a_span_as_an_error(spans):
    spans.clear()
    for status in (200, 404, 429, 499, 500, 503):
        with tracing.request_span("POST", {}) as span:
            tracing.finish(span, "POST", "/v1/rank", status)
    told = [
        (span.attributes["http.response.status_code"], span.status.status_code.name)
        for span in spans.get_finished_spans()
    ]
    assert [status for status, outcome in told if outcome == "ERROR"] == [500, 503]


def test_a_failure_is_in_the_log_by_its_type_and_place_alone():
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "x", 1, SECRET, (), (type(error), error, None))
    line = JsonLines().format(record)
    assert json.loads(line)["exception"] == ["ValueError"]
    assert SECRET not in line


def test_metrics_of_a_history_cache_and_of_cuts(shared_bundle):
    with serving(bundle=str(shared_bundle)) as url:
        for _ in range(3):
            httpx.post(f"{url}/v1/rank", json={"query": "tent", "items": ["lamp " * 50]})
        httpx.post(f"{url}/v1/rank", json={"query": "tent", "items": [""]})
        page = httpx.get(f"{url}/metrics").text
    for line in (
        'onyxrank_history_cache_total{found="hits"} 2.0',
        'onyxrank_history_cache_total{found="misses"} 1.0',
        'onyxrank_item_cache_total{found="hits"} 2.0',
        'onyxrank_item_cache_total{found="misses"} 1.0',
        'onyxrank_truncations_total{part="title"} 3.0',
        'onyxrank_requests_total{route="/v1/rank",status="422"} 1.0',
        'onyxrank_stage_seconds_count{stage="run"} 3.0',
        "onyxrank_queue_tokens 0.0",
    ):
        assert line in page, line
    assert 'onyxrank_model{architecture="shared-history",name="shop",provider="cpu"' in page


def test_figures_of_a_worker_that_was_killed_are_forgotten(tmp_path, monkeypatch):
    gone = tmp_path / "gauge_livesum_4194305.db"  # above any process number of Linux
    gone.write_bytes(b"")
    monkeypatch.setenv(SHARED_FOLDER, str(tmp_path))
    Metrics()
    assert not gone.exists()


def test_tls(serve, trained_bundle, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    served = serve(
        trained_bundle,
        *("--ssl-certfile", str(tmp_path / "cert.pem"), "--ssl-keyfile", str(tmp_path / "key.pem")),
        verify=trusting,
    )
    assert served.url.startswith("https://")
    answer = httpx.post(f"{served.url}/v1/rank", json=BODY, verify=trusting, timeout=PATIENCE)
    assert answer.status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/health/live")
    assert served.stop() == 0


def test_unknown_tokens_are_counted(trained_bundle):
    metrics = Metrics()
    with Ranker.load(trained_bundle, threads=1) as ranker:
        metrics.ranking(ranker.rank("โคมไฟ", ["ร่มสีม่วง", "red camping tent"]))
    page = metrics.page().decode()
    assert "onyxrank_unknown_tokens_total 2.0" in page
    [tokens] = [line for line in page.splitlines() if line.startswith("onyxrank_tokens_total ")]
    assert float(tokens.split()[1]) >= 9
    assert "โคมไฟ" not in page
