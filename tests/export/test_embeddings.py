from __future__ import annotations

import numpy as np
import pytest

from onyxrank import Item
from onyxrank_export.data.pairs import CandidateList
from onyxrank_export.evaluation.embeddings import embedding_scores
from weights import save_model

ITEMS = [Item("a", "red tent", ""), Item("b", "desk lamp for the office", ""), Item("c", "dog leash", "")]


@pytest.fixture(scope="module")
def encoder(tiny_reference, tmp_path_factory):
    return str(save_model(tiny_reference, tmp_path_factory.mktemp("encoder") / "model"))


def ask(history, items=(0, 1, 2)):
    return CandidateList(history, np.array(items, np.int32), np.zeros(len(items), np.float32))


def test_a_text_is_most_like_itself_and_scores_follow_the_candidates(encoder):
    one, other = embedding_scores([ask(("red tent ",)), ask(("red tent ",), (2, 0))], ITEMS, encoder)
    assert one.argmax() == 0
    assert one[0] == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(other, one[[2, 0]], atol=1e-6)


def test_padding_does_not_change_an_embedding(encoder):
    [alone] = embedding_scores([ask(("dog leash",), (0,))], ITEMS, encoder)
    [beside] = embedding_scores([ask(("dog leash",))], ITEMS, encoder)
    assert alone[0] == pytest.approx(beside[0], abs=1e-5)


def test_without_a_history_everything_is_alike(encoder):
    [scores] = embedding_scores([ask(())], ITEMS, encoder)
    assert scores.tolist() == [0, 0, 0]
