"""A few of the damaged requests that `fuzz.py` makes any number of."""

from __future__ import annotations

from random import Random

import pytest
from mutations import SECRET, Asked, damaged
from serving import ADMIN_KEY, serving

import fuzz


@pytest.fixture(scope="module")
def url(trained_bundle, tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "admin"
    keys.write_text(ADMIN_KEY)
    with serving(bundle=str(trained_bundle), admin_key_file=str(keys)) as address:
        yield address


@pytest.mark.slow
def test_damaged_requests_over_http(url):
    outcome = fuzz.Outcome(1000)
    fuzz.over_http(url, "shop", 0, outcome, {"authorization": f"Bearer {ADMIN_KEY}"}, range(1000))
    fuzz.faulthandler.cancel_dump_traceback_later()
    assert outcome.faults == []
    assert outcome.counts["200"] > 100
    assert sum(outcome.counts.values()) == 1000


@pytest.mark.slow
def test_damaged_calls_in_process(tiny_bundle):
    outcome = fuzz.Outcome(1000)
    fuzz.in_process(str(tiny_bundle), 0, range(1000), outcome)
    fuzz.faulthandler.cancel_dump_traceback_later()
    assert outcome.faults == []
    assert outcome.counts["answered"] > 100


def test_the_same_number_makes_the_same_request():
    assert damaged(Random("0:17"), "shop") == damaged(Random("0:17"), "shop")
    assert len({damaged(Random(f"0:{number}"), "shop").path for number in range(300)}) > 15


@pytest.mark.parametrize(
    ("status", "content", "says"),
    [
        (200, b"", ""),
        (422, b'{"error": {"type": "invalid_input", "message": "no", "field": ""}}', ""),
        (429, b'{"message": "no room"}', ""),
        (500, b'{"error": "a fault"}', "500"),
        (504, b'{"detail": "late"}', "504 without a deadline"),
        (422, b"Not Found", "no JSON"),
        (422, b"[]", "has no error"),
        (422, f'{{"message": "{SECRET}"}}'.encode(), "quotes a text"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_counts_as_a_fault(status, content, says):
    fault = fuzz.judged(Asked("POST", "/v1/rank", b""), status, content)
    assert says in fault
    assert bool(fault) == bool(says)
