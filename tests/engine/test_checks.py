"""Numbers of thousands of digits, which Python does not write, and paths that are bytes."""

from __future__ import annotations

import math

import pandas
import pytest

from onyxrank import InvalidInput, Limits, Ranker
from onyxrank.checks import shown

HUGE = 10**5000


class Bytes:
    """A path that is bytes."""

    def __fspath__(self):
        return b"bundle"


@pytest.fixture(scope="module")
def ranker(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=1) as loaded:
        yield loaded


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda ranker, _: ranker.rank("tent", [{"id": HUGE, "title": "lamp"}]), "id"),
        (lambda ranker, _: ranker.rank("tent", ["lamp"], -HUGE), "top_k"),
        (lambda ranker, _: ranker.rank("tent", ["lamp"], deadline=HUGE), "deadline"),
        (lambda _, bundle: Ranker.load(bundle, threads=HUGE), "threads"),
        (lambda _, bundle: Ranker.load(bundle, micro_batch_tokens=-HUGE), "micro_batch_tokens"),
        (lambda *_: Limits(history_tokens=-HUGE), "history_tokens"),
        (lambda *_: Ranker.load(Bytes()), "bundle"),
        (lambda _, bundle: Ranker.load(bundle, profile=Bytes()), "profile"),
    ],
    ids=["id", "top_k", "deadline", "threads", "tokens", "limits", "bundle", "profile"],
)
def test_what_cannot_be_used_is_named(ranker, tiny_bundle, call, field):
    with pytest.raises(InvalidInput) as caught:
        call(ranker, tiny_bundle)
    assert caught.value.field == field
    assert len(str(caught.value)) < 200


def test_what_is_only_large_is_no_limit(ranker, tiny_bundle):
    assert len(ranker.rank("tent", ["lamp", "stove"], HUGE)) == 2
    frame = pandas.DataFrame({"request_id": [1, 1], "history": ["tent"] * 2, "title": ["lamp", "stove"]})
    assert len(ranker.score_frame(frame, chunk_rows=HUGE, progress=False)) == 2
    with Ranker.load(tiny_bundle, threads=1, micro_batch_tokens=HUGE, queue_tokens=HUGE) as large:
        assert len(large.rank("tent", ["lamp", "stove"])) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (-2.5, "-2.5"),
        (math.nan, "nan"),
        (True, "True"),
        ("something private", "str"),
        (None, "NoneType"),
        (10**60, "a number of 61 digits"),
        (HUGE, "a number of thousands of digits"),
    ],
    ids=lambda value: str(value)[:20] if value is not HUGE else "huge",
)
def test_numbers_are_shown_and_nothing_else(value, text):
    assert shown(value) == text
