from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from onyxrank import InvalidInput, Ranker
from onyxrank_export.data.pairs import lists_of_test
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.data.values import DataError
from onyxrank_export.evaluation.evaluate import Evaluation, bootstrap, evaluate
from onyxrank_export.evaluation.metrics import probability_metrics, ranking_metrics
from onyxrank_export.training.base import load_checkpoint

RANKING = ["auc", "ndcg_at_10", "mrr", "hit_rate_at_10"]
PROBABILITY = ["accuracy", "log_loss", "calibration_error"]


@pytest.fixture(scope="module")
def ranker(trained_bundle):
    with Ranker.load(trained_bundle, variant="fp32", threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def evaluation(ranker, aisle_data):
    return evaluate(ranker, aisle_data, most=40)


def eager_scores(run, lists, items):
    """One unpadded pair at a time, through transformers' own tokenizer and PyTorch."""
    checkpoint = load_checkpoint(run)
    model, tokenizer = checkpoint.model.eval(), checkpoint.tokenizer
    limit_history, limit_item = 12, 6
    scores = []
    for row in lists:
        history = []
        for event in reversed(row.history):
            ids = tokenizer(event, add_special_tokens=False).input_ids
            joined = ids + ([tokenizer.convert_tokens_to_ids(";"), *history] if history else [])
            if len(joined) > limit_history:
                break
            history = joined
        first = [tokenizer.cls_token_id, *history, tokenizer.sep_token_id]
        shares = []
        for index in row.items:
            text = f"{items[index].title} {items[index].description}"
            second = [*tokenizer(text, add_special_tokens=False).input_ids[:limit_item], tokenizer.sep_token_id]
            with torch.no_grad():
                logits = model(
                    torch.tensor([first + second]),
                    token_type_ids=torch.tensor([[0] * len(first) + [1] * len(second)]),
                ).logits
            shares.append(torch.softmax(logits[0], 0)[1].item())
        scores.append(np.array(shares))
    return scores


def test_figures_are_those_of_eager_pytorch(evaluation, trained_run, aisle_data):
    data = read_data(aisle_data)
    lists = lists_of_test(split_data(data), most=40)
    labels, scores = [row.labels for row in lists], eager_scores(trained_run, lists, data.items)
    expected = ranking_metrics(labels, scores) | probability_metrics(np.concatenate(labels), np.concatenate(scores))
    assert evaluation.results["model"] == pytest.approx(expected, abs=1e-4)
    assert (evaluation.lists, evaluation.sizes, evaluation.variant) == (40, (40, 40), "fp32")


def test_the_keys_are_those_of_the_contract(evaluation):
    written = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert list(written) == ["model", "popularity", "bm25"]
    assert list(written["model"]) == RANKING + PROBABILITY
    assert list(written["popularity"]) == list(written["bm25"]) == RANKING


def test_the_trained_model_beats_popularity_clearly(evaluation):
    figures = evaluation.results
    assert figures["model"]["auc"] > figures["popularity"]["auc"] + 0.25
    assert figures["model"]["ndcg_at_10"] > 2 * figures["popularity"]["ndcg_at_10"]


def test_intervals_hold_the_figures(evaluation):
    for name, (low, high) in evaluation.intervals.items():
        assert low <= evaluation.results["model"][name] <= high
        assert high - low < 0.4


def test_search_data_is_evaluated_too(ranker, search_data):
    told = []
    evaluation = evaluate(ranker, search_data, progress=lambda *done: told.append(done))
    assert evaluation.lists == 8
    assert told == [(done, 8) for done in range(1, 9)]
    assert evaluation.results["bm25"]["ndcg_at_10"] > 0.8, "the words of the query are in the title"
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_what_cannot_be_told_is_null_and_not_nan():
    figures = {name: math.nan if name == "auc" else 0.5 for name in [*RANKING, "auc_pooled"]}
    written = Evaluation({"model": figures}, {}, 1, 1, "fp32").to_json()
    assert written == {"model": {**dict.fromkeys(RANKING, 0.5), "auc": None}}


def test_no_lists_at_all_is_an_error(ranker, aisle_data):
    with pytest.raises(InvalidInput, match="at least 1"):
        evaluate(ranker, aisle_data, most=0)


def test_data_without_anyone_to_test_is_an_error(ranker, tmp_path):
    (tmp_path / "data.csv").write_text("user_id,item_id,behavior,item_title,item_description\nu,a,1,tent,\n")
    with pytest.raises(DataError, match="4 different purchases"):
        evaluate(ranker, tmp_path / "data.csv")


def test_a_bootstrap_interval_is_the_spread_of_the_mean():
    values = np.random.default_rng(1).normal(0.5, 0.2, 400)
    low, high = bootstrap(values)
    assert (low, high) == pytest.approx((values.mean() - 0.0196, values.mean() + 0.0196), abs=0.005)
    assert bootstrap(np.append(values, np.nan)) == (low, high)
    assert all(map(math.isnan, bootstrap(np.array([np.nan]))))
