from __future__ import annotations

import numpy as np

from onyxrank_export.data.lists import lists_of_test
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.shop import write_shop
from onyxrank_export.data.shop_oracle import shop_oracle
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.baselines.bm25 import bm25
from onyxrank_export.evaluation.metrics import ranking_metrics


def test_the_oracle_ranks_far_above_what_words_say_and_not_perfectly(tmp_path):
    shop = write_shop(tmp_path, n_items=300, n_shoppers=200)
    data = read_data(tmp_path)
    lists = lists_of_test(split_data(data), protocol="full")
    scores = shop_oracle(shop, data)(lists)
    assert all(((row >= 0) & (row <= 1)).all() for row in scores)
    # All products that the shopper does not have are candidates: their chances are all there are.
    np.testing.assert_allclose([row.sum() for row in scores], 1.0, atol=1e-9)
    labels = [row.labels for row in lists]
    best = ranking_metrics(labels, scores)["ndcg_at_10"]
    assert 1.5 * ranking_metrics(labels, bm25(data.items)(lists))["ndcg_at_10"] < best < 0.9


def test_the_oracle_is_calibrated(tmp_path):
    """Of what it gives a chance of a tenth, a tenth is bought: it knows what decides."""
    shop = write_shop(tmp_path, n_items=300, n_shoppers=1200)
    data = read_data(tmp_path)
    lists = lists_of_test(split_data(data), protocol="full")
    chances = np.concatenate(shop_oracle(shop, data)(lists))
    bought = np.concatenate([row.labels for row in lists])
    likely = chances > 0.05
    assert likely.sum() > 500
    assert abs(chances[likely].mean() / bought[likely].mean() - 1) < 0.25
