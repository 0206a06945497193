from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from onyxrank import InvalidInput, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank_export.data.lists import lists_of_test
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.data.values import DataError
from onyxrank_export.evaluation.evaluate import evaluate
from onyxrank_export.evaluation.metrics import RANKING_METRICS, probability_metrics, ranking_metrics
from onyxrank_export.training.base import load_checkpoint

RANKING = list(RANKING_METRICS)
PROBABILITY = ["accuracy", "log_loss", "constant_log_loss", "calibration_error"]
CHEAP = ["popularity", "bm25"]
"""Baselines that are fitted in no time."""


@pytest.fixture(scope="module")
def ranker(trained_bundle):
    with Ranker.load(trained_bundle, variant="fp32", threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def evaluation(ranker, aisle_data):
    return evaluate(ranker, aisle_data, most=40, baselines=CHEAP)


def eager_margins(run, lists, items):
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
            shares.append((logits[0, 1] - logits[0, 0]).item())
        scores.append(np.array(shares))
    return scores


def test_figures_are_those_of_eager_pytorch(evaluation, trained_run, trained_bundle, aisle_data):
    data = read_data(aisle_data)
    lists = lists_of_test(split_data(data), most=40)
    labels, margins = [row.labels for row in lists], eager_margins(trained_run, lists, data.items)
    readout = open_bundle(trained_bundle).manifest.variant("fp32").readout
    probabilities = readout.probabilities(np.concatenate(margins).astype(np.float32))
    expected = ranking_metrics(labels, margins) | probability_metrics(np.concatenate(labels), probabilities)
    assert evaluation.results["model"] == pytest.approx(expected, abs=1e-4)
    assert (evaluation.lists, evaluation.sizes, evaluation.variant) == (40, (40, 40), "fp32")


def test_the_keys_are_those_of_the_contract(evaluation):
    written = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert list(written) == ["model", *CHEAP]
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
    evaluation = evaluate(ranker, search_data, baselines=CHEAP, progress=lambda *done: told.append(done))
    assert evaluation.lists == 8
    assert told == [(done, 8) for done in range(1, 9)]
    assert evaluation.results["bm25"]["ndcg_at_10"] > 0.8, "the words of the query are in the title"
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_what_cannot_be_told_is_null_and_not_nan(evaluation):
    figures = {name: math.nan if name == "auc" else 0.5 for name in [*RANKING, "auc_pooled"]}
    written = replace(evaluation, results={"model": figures}).to_json()
    assert written == {"model": {**dict.fromkeys(RANKING, 0.5), "auc": None}}


def test_no_lists_at_all_is_an_error(ranker, aisle_data):
    with pytest.raises(InvalidInput, match="at least 1"):
        evaluate(ranker, aisle_data, most=0)


def test_data_without_anyone_to_test_is_an_error(ranker, tmp_path):
    (tmp_path / "data.csv").write_text("user_id,item_id,behavior,item_title,item_description\nu,a,1,tent,\n")
    with pytest.raises(DataError, match="4 different purchases"):
        evaluate(ranker, tmp_path / "data.csv")


def test_all_scores_are_kept(evaluation, aisle_data):
    kept = evaluation.scores
    assert set(kept.scores) == set(evaluation.results)
    labels, scores = kept.by_list(kept.labels), kept.by_list(kept.scores["model"])
    assert ranking_metrics(labels, scores)["ndcg_at_10"] == evaluation.results["model"]["ndcg_at_10"]
    assert kept.fingerprint == read_data(aisle_data).fingerprint


def test_a_split_that_would_test_what_was_learnt_is_refused(ranker, trained_bundle, aisle_data):
    training = open_bundle(trained_bundle).manifest.training
    with pytest.raises(InvalidInput, match="train with --split time") as caught:
        evaluate(ranker, aisle_data, most=5, split="time", baselines=CHEAP, training=training)
    assert caught.value.field == "split"


def test_the_whole_catalogue_is_ranked_by_the_full_protocol(ranker, trained_bundle, aisle_data):
    training = open_bundle(trained_bundle).manifest.training
    told = []
    names = ["logit", "co_purchase", "popularity", "bm25"]
    evaluation = evaluate(
        ranker, aisle_data, most=3, protocol="full", baselines=names, training=training, say=told.append
    )
    items = len(read_data(aisle_data).items)
    assert items - 20 < evaluation.sizes[0] <= evaluation.sizes[1] < items
    assert (evaluation.protocol, evaluation.split, evaluation.lists) == ("full", "last", 3)
    assert told == ["popularity", "bm25", "co_purchase", "logit"]


def test_an_oracle_stands_beside_the_baselines_but_is_none(ranker, aisle_data):
    evaluation = evaluate(
        ranker, aisle_data, most=10, baselines=CHEAP, oracle=lambda lists: [row.labels for row in lists]
    )
    assert evaluation.results["oracle"]["ndcg_at_10"] == 1
    assert evaluation.best not in ("oracle", "model")
    assert "oracle" not in evaluation.verdict


def test_slices_hold_all_lists_of_each_kind(evaluation):
    by_kind = {}
    for each in evaluation.slices:
        by_kind.setdefault(each.name.split(":")[0], []).append(each.lists)
    assert {sum(counts) for counts in by_kind.values()} == {evaluation.lists}


def test_a_baseline_that_is_not_there_names_those_that_are(ranker, aisle_data):
    with pytest.raises(InvalidInput, match="of popularity, rarity, bm25"):
        evaluate(ranker, aisle_data, baselines=["bm52"])


def test_probabilities_are_better_than_a_constant_on_test_lists(ranker, trained_bundle, aisle_data):
    """The readout was fitted on validation lists."""
    variant = open_bundle(trained_bundle).manifest.variant("fp32")
    assert variant.calibration["form"] == variant.readout.kind
    found = evaluate(ranker, aisle_data, baselines=CHEAP).calibration
    assert found.log_loss < found.constant_log_loss
    assert found.error[0] < 0.05
