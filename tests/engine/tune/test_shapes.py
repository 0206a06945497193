from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onyxrank.request.token_ids import EncodedRequest, Ragged
from onyxrank.request.truncation import Cuts
from onyxrank.tune.shapes import shortened

CLS, SEP = 1, 2


def encoded(history: int, items: list[int]) -> EncodedRequest:
    """A request with that many tokens of history and of each item, all of them different."""
    rows = [[*range(100 * place, 100 * place + count), SEP] for place, count in enumerate(items, 10)]
    ids = np.array([CLS, *range(10, 10 + history), SEP], np.int32)
    return EncodedRequest(ids, Ragged.of(rows), Cuts())


@given(
    history=st.integers(0, 80), items=st.lists(st.integers(1, 70), min_size=1, max_size=9), turn=st.integers(0, 99)
)
def test_a_few_tokens_are_left_out_of_the_ends_and_nothing_else(history, items, turn):
    whole = encoded(history, items)
    short = shortened(whole, turn)
    assert len(short.items) == len(items)
    sides = [(whole.history, short.history), *((whole.items[row], short.items[row]) for row in range(len(items)))]
    for before, after in sides:
        assert after.dtype == np.int32
        assert after[-1] == SEP
        assert after[:-1].tolist() == before[: len(after) - 1].tolist()
    assert history - history // 8 <= len(short.history) - 2 <= history
    assert min(map(len, short.items)) >= 2
    assert sum(items) + len(items) - len(short.items.ids) <= max(items) // 16 * len(items)


def test_turns_have_different_shapes_and_the_first_is_the_request():
    whole = encoded(190, [64, 20, 3])
    shapes = [(len(short.history), *short.items.lengths) for short in (shortened(whole, turn) for turn in range(24))]
    assert shapes[0] == (192, 65, 21, 4)
    assert len(set(shapes)) == len(shapes)
