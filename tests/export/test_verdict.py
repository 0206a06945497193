from __future__ import annotations

import numpy as np
import pytest

from onyxrank_export.evaluation.verdict import best_baseline, verdict

EASY = np.random.default_rng(0).uniform(0.2, 0.8, 300)
NOISE = np.random.default_rng(1).normal(0, 0.1, 300)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (1.1 * EASY, "The model is better than the best baseline, EASE, by 10 % [10, 10] of NDCG@10."),
        (0.9 * EASY, "worse than the best baseline, EASE, by 10 % [10, 10] of NDCG@10: it does not earn its keep"),
        (EASY + NOISE - NOISE.mean(), "not told apart from the best baseline, EASE"),
    ],
    ids=["better", "worse", "undecided"],
)
def test_a_sentence_says_whether_the_model_beats_the_best_baseline(model, told):
    quality = {"model": model, "bm25": 0.5 * EASY, "ease": EASY, "oracle": 2 * EASY}
    assert told in verdict(quality)
    assert best_baseline(quality) == "ease"


def test_nothing_is_said_of_lists_that_say_nothing():
    assert "says nothing" in verdict({"model": np.array([np.nan]), "bm25": np.array([np.nan])})
    assert "no baseline" in verdict({"model": EASY})
