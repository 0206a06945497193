"""The pages that the long benchmarks write, from figures made up here; and what they measure with."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import TrainerCallback

from onyxrank.cli import train
from onyxrank.cli.app import run
from onyxrank_export.data.lists import CandidateList, lists_of_test
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.baselines.bm25 import bm25
from onyxrank_export.evaluation.metrics import per_list_metrics, ranking_metrics
from onyxrank_export.training.config import TrainingConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import architectures_page
import products
import quality_baselines
import quality_page
import quality_table

ROOT = Path(__file__).resolve().parents[1]
WAYS = [*architectures_page.LABELS, "cross fp32", "cross int8", "shared-history fp32", "shared-history int8"]


def figures(lists=50, shift=0.0, **more):
    dice = np.random.default_rng(0)
    metrics = ("auc", "ndcg_at_10", "hit_rate_at_10")
    return {name: (dice.random(lists) * 0.5 + shift).astype(np.float32) for name in metrics} | more


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "quality"
    folder.mkdir()
    loss = np.full(50, 0.25, np.float32)
    for name, content in {
        "amazon2018_office.bm25": figures(),
        "amazon2018_office.cross.fp32.seed0": figures(shift=0.2, log_loss=loss),
        "amazon2018_office.cross.fp32.seed1": figures(shift=0.4, log_loss=loss, recipe=np.array('{"dropout": 0.0}')),
        "amazon2018_office.cross.int8.seed1": figures(shift=0.39, log_loss=loss),
        "amazon2018_office.shared-history.fp32.seed0": figures(
            shift=0.25, log_loss=loss, trained_on=np.array("a GPU")
        ),
    }.items():
        np.savez_compressed(folder / f"{name}.npz", **content)
    return folder


def test_the_quality_table_averages_trainings_and_compares_list_by_list(results, tmp_path):
    page = quality_page.write_page(results, tmp_path / "quality.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in page.splitlines() if line.startswith("| ")}
    assert rows["cross fp32"][0].strip() == "seed0, seed1"
    assert float(rows["cross fp32"][1].split()[0]) - float(rows["BM25"][1].split()[0]) == pytest.approx(0.3, abs=2e-3)
    assert rows["BM25"][4].strip() == ""
    assert rows["shared-history fp32"][4].strip() == "0.250 [0.250, 0.250]"
    assert "shared-history fp32 against cross fp32, list by list: AUC -0.0500 [-0.0500, -0.0500]" in page
    # Over the training that both have: 0.39 against 0.4, not against the mean of 0.2 and 0.4.
    assert "cross int8 against cross fp32, list by list: AUC -0.0100 [-0.0100, -0.0100]" in page
    assert "- trained on a GPU: shared-history.fp32.seed0\n" in page
    assert '- trained with `{"dropout": 0.0}`: cross.fp32.seed1\n' in page
    assert page.count("Not measured yet.") == 2


def test_figures_are_of_the_recipe_they_were_measured_with(results, monkeypatch):
    monkeypatch.setattr(quality_table, "QUALITY", results)
    recipe = quality_table.RECIPES["amazon2018_office"]
    content = quality_table.Content("amazon2018_office", results, [])
    assert quality_table.kept_recipe("amazon2018_office", "cross.fp32.seed9") is None
    assert quality_table.kept_recipe("amazon2018_office", "cross.fp32.seed0") is None  # from before recipes were kept
    content.keep("cross.fp32.seed9", [], quality_table.told(recipe))
    assert quality_table.kept_recipe("amazon2018_office", "cross.fp32.seed9") == quality_table.told(recipe)
    assert quality_table.told(replace(recipe, dropout=0.1)) != quality_table.told(recipe)
    [(name, record)] = json.loads((results / "record.json").read_text()).items()
    assert (name, record["kind"]) == ("amazon2018_office.cross.fp32.seed9.npz", "quality")


@pytest.fixture
def shop(shop_data):
    split = split_data(read_data(shop_data))
    return split, lists_of_test(split, most=30)


def mean(lists, scores, metric="ndcg_at_10"):
    return ranking_metrics([row.labels for row in lists], scores)[metric]


def test_what_to_expect_by_chance_is_what_many_orders_give_on_average():
    labels = [np.eye(1, 40, dtype=np.float32)[0], np.array([1, 0.5, 0, 0, 0], np.float32), np.ones(1, np.float32)]
    lists = [CandidateList((), np.arange(len(row)), row) for row in labels]
    expected = quality_baselines.chance(lists)
    dice = np.random.default_rng(0)
    draws = [per_list_metrics(labels, [dice.random(len(row)) for row in labels]) for _ in range(2000)]
    for name in ("auc", "ndcg_at_10", "hit_rate_at_10"):
        np.testing.assert_allclose(expected[name], np.mean([draw[name] for draw in draws], axis=0), atol=0.03)
    share = 4 / 46
    assert expected["log_loss"][0] == pytest.approx(-(np.log(share) + 39 * np.log(1 - share)) / 40)


def test_baselines_that_need_no_training(shop):
    split, lists = shop
    systems = {
        name: score() for name, score in quality_baselines.untrained(split, lists).items() if name != "embeddings"
    }
    assert set(systems) == {"bm25", "popularity", "rarity", "bm25_rarity"}
    assert mean(lists, systems["popularity"], "auc") + mean(lists, systems["rarity"], "auc") == pytest.approx(1)
    assert mean(lists, systems["bm25_rarity"]) > mean(lists, systems["rarity"])


def test_the_weight_of_rarity_is_that_which_validation_prefers(shop, monkeypatch):
    split, lists = shop
    monkeypatch.setattr(quality_baselines, "_WEIGHTS", (0.0,))
    for ours, theirs in zip(
        quality_baselines.bm25_and_rarity(split, lists), bm25(split.data.items)(lists), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_encoder_alone_ranks_what_it_has_learnt(aisle_data):
    split = split_data(read_data(aisle_data))
    lists = lists_of_test(split, most=20)
    config = TrainingConfig(
        base="tiny", contrastive_steps=60, contrastive_batch=32, contrastive_rate=1e-3, validation_lists=5, seed=1
    )
    scores = quality_baselines.encoder_scores(split, lists, config, [TrainerCallback()])
    assert [len(row) for row in scores] == [len(row.items) for row in lists]
    assert mean(lists, scores, "auc") > 0.7


def test_make_quality_is_the_recipe_of_the_table(monkeypatch, tmp_path):
    made = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", "quality", f"DATA={tmp_path}", "RUN=x", "ARCH=cross"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    [command] = [line for line in made.stdout.replace("\\\n", "").splitlines() if " train " in line]
    assert {word for word in shlex.split(command) if word.startswith("--")} == {
        *("--data", "--out", "--base", "--arch", "--recipe")
    }, "the recipe's own options stand in its file alone"
    asked = []
    monkeypatch.setattr(train, "train_run", lambda data, out, config, resume: asked.append(config))
    assert run(shlex.split(command)[1:]) == 0
    assert asked == [replace(quality_table.RECIPES["amazon2018_office"], arch="cross")]


def test_a_paired_difference_leaves_out_what_one_of_them_cannot_tell():
    first, second = figures(), figures(shift=-0.1)
    first["auc"][0] = np.nan
    mean, low, high = quality_page.paired(first, second, "auc")
    assert low <= mean <= high
    assert mean == pytest.approx(0.1, abs=1e-6)


def test_the_ratio_kept_comes_with_an_interval():
    first, second = figures(), figures(shift=0.25)
    share, low, high = quality_page.kept(first, second, "auc")
    assert share == pytest.approx(first["auc"].mean() / second["auc"].mean(), abs=1e-6)
    assert low < share < high
    assert quality_page.kept(second, second, "auc") == (1.0, 1.0, 1.0)


def cell(items, history, ways=WAYS):
    return {
        "items": items,
        "history_tokens": history,
        "item_tokens_mean": 48.0,
        "ways": [
            {
                "name": name,
                "latency": {
                    "p50_ms": 100.0 * number,
                    "p95_ms": 1.0,
                    "mean_ms": 1.0,
                    "items_per_s": 2.0,
                    "repeats": 3,
                },
                "shares": None if name in architectures_page.LABELS else {"history": 0.5, "run": 0.4},
                "scaled_from": 250 if items > 250 and number < 3 else None,
            }
            for number, name in enumerate(ways, start=1)
        ],
    }


@pytest.mark.parametrize("ways", [WAYS, WAYS[:1] + WAYS[2:]], ids=["with-bf16", "without"])
def test_the_comparison_page_says_what_was_scaled_and_how_many_times_faster(tmp_path, ways):
    content = {
        "record": {
            "commit": None,
            "dirty": None,
            "date": "now",
            "command": "make architectures",
            "machine": {"cpu_model": "a CPU", "machine_family": "avx2"},
        },
        "threads": 2,
        "texts": "demo shop",
        "settings": {
            "cross fp32": {"threads": 2},
            "shared-history int8, tuned": {"threads": 1, "sessions": 2, "micro_batch_tokens": 256},
        },
        "crowded": True,
        "page": cell(100, 192, ways),
        "by_items": [cell(10, 192, ways), cell(1000, 192, ways)],
        "by_history": [cell(100, 16, ways), cell(100, 384, ways)],
        "peaks_gops": {"fp32": 200.0, "int8": 800.0},
        "items_graph": {
            "plain": {"operators": {"products": 0.31}},
            "fp32": {
                "operators": {"products": 0.7},
                "gigaoperations": 87.0,
                "share_of_peak": {"shared-history fp32": 0.6},
            },
            "int8": {
                "operators": {"products": 0.4},
                "gigaoperations": 87.0,
                "share_of_peak": {"shared-history int8": 0.3, "shared-history int8, tuned": 0.5},
            },
        },
    }
    architectures_page.write_page(content, tmp_path)
    page = (tmp_path / "architectures.md").read_text()
    assert "**Not valid.**" in page
    assert "| 1,000 | 100\\* | 200\\* | 300 |" in page
    assert "## By items, p50 in ms of 3 runs" in page
    assert "measured on 250 items" in page
    assert "Of the measured peak (200·10⁹ a second) that is, over the whole time of the graph, 60%" in page
    assert "Of the measured peak (800·10⁹ a second) (too low: products take less) that is" in page
    assert "30% (shared-history int8), 50% (shared-history int8, tuned). By operator" in page
    assert "shared-history int8, tuned: threads of a run 1, runs at once 2, most tokens of a run 256." in page
    assert "- before: the plain fp32 graph over pairs of history and item. By operator: products 31.0%." in page
    with Image.open(tmp_path / "architectures.png") as picture:
        assert picture.width > 1000


def test_the_profile_tells_products_from_the_rest(shared_bundle):
    from onyxrank.architectures.shared_history import SharedHistory
    from onyxrank_export.conversion.sessions import opened_session

    with opened_session(shared_bundle / "onnx/history.onnx", SharedHistory.graphs["history"]) as session:
        keys, values = session.run({"input_ids": np.array([[2, 9, 3]], np.int64)})
    ids = np.full((4, 6), 9, np.int64)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "keys": keys, "values": values}
    shares = products.operator_shares(shared_bundle / "onnx/items.onnx", [feeds], 1)
    named = [shares[name] for name in ("MatMul", "FusedMatMul", "Gemm") if name in shares]
    assert 0 < max(named) <= shares["products"] < 1
