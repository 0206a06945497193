"""The pages that the long benchmarks write, from figures made up here; and what they measure with."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from onyxrank.cli import train
from onyxrank.cli.app import run
from onyxrank_export.data.lists import lists_of_test
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.baselines.fitted import NAMES
from onyxrank_export.evaluation.scores import read_scores

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import architectures_page
import products
import quality_arms
import quality_files
import quality_lists
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
    (folder / "amazon2018_office" / "last.full").mkdir(parents=True)
    loss = np.full(50, 0.25, np.float32)
    for name, content in {
        "bm25": figures(),
        "popularity": figures(shift=-0.1),
        "cross.fp32.seed0": figures(shift=0.2, log_loss=loss),
        "cross.fp32.seed1": figures(shift=0.4, log_loss=loss, recipe=np.array('{"dropout": 0.0}')),
        "shared-history.fp32.seed0": figures(shift=0.25, log_loss=loss, trained_on=np.array("a GPU")),
    }.items():
        np.savez_compressed(folder / "amazon2018_office" / "last.full" / f"{name}.npz", **content)
    return folder


def test_the_quality_table_averages_trainings_and_tells_what_a_model_earns(results, tmp_path):
    page = quality_page.write_page(results, tmp_path / "quality.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in page.splitlines() if line.startswith("| ")}
    cross, best = rows["cross fp32 (2 trainings)"], rows["BM25 (the best)"]
    assert float(cross[0].split()[0]) - float(best[0].split()[0]) == pytest.approx(0.3, abs=2e-3)
    assert "± 0.1414" in cross[1]
    assert best[-1].strip() == best[-2].strip() == ""
    assert rows["shared-history fp32"][-2].strip() == "0.2500 [0.2500, 0.2500]"
    earned = float(rows["shared-history fp32"][-1].split()[0])
    mean = figures()["ndcg_at_10"].mean()
    assert earned == pytest.approx(100 * 0.25 / mean, abs=0.1)
    assert "- trained on a GPU: shared-history.fp32.seed0\n" in page
    assert '- trained with `{"dropout": 0.0}`: cross.fp32.seed1\n' in page
    assert "each shopper's last basket among the whole catalogue" in page


@pytest.fixture
def task(aisle_data):
    parts = split_data(read_data(aisle_data))
    lists = lists_of_test(parts, most=20)
    return quality_lists.Task("aisles", "last", aisle_data, parts, {"sampled": lists}, {"sampled": lists})


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(quality_files, "QUALITY", tmp_path / "results")
    monkeypatch.setattr(quality_files, "WORK", tmp_path / "work")
    return tmp_path


def test_figures_are_of_the_recipe_they_were_measured_with(task, kept):
    recipe = quality_arms.told(quality_arms.recipe_of(task, 0))
    scores = [row.labels for row in task.test["sampled"]]
    assert not quality_files.is_kept(task, "sampled", "cross.fp32.seed0", recipe)
    quality_files.keep(task, "sampled", "cross.fp32.seed0", scores, probabilities=True, recipe=recipe)
    assert quality_files.is_kept(task, "sampled", "cross.fp32.seed0", recipe)
    assert not quality_files.is_kept(task, "sampled", "cross.fp32.seed0", "{}")
    assert quality_arms.told(quality_arms.recipe_of(task, 5)) == recipe, "seeds are no part of a recipe"
    [(name, record)] = json.loads((kept / "results/aisles/last.sampled/record.json").read_text()).items()
    assert (name, record["kind"]) == ("cross.fp32.seed0.npz", "quality")
    found = quality_files.read_figures(quality_files.figures_of(task, "sampled", "cross.fp32.seed0"))
    assert found.metrics["ndcg_at_10"].tolist() == [1.0] * 20
    assert "log_loss" in found.metrics


def test_lists_that_a_system_did_not_rank_are_nan(task, kept):
    lists = task.test["sampled"]
    quality_files.keep(task, "sampled", "some", [lists[place].labels for place in (3, 5)], places=[3, 5])
    found = quality_files.read_figures(quality_files.figures_of(task, "sampled", "some"))
    assert np.flatnonzero(~np.isnan(found.metrics["auc"])).tolist() == [3, 5]


def test_scores_of_every_candidate_are_kept_beside(task, kept):
    scores = [np.arange(len(row.items), dtype=float) for row in task.test["sampled"]]
    quality_files.keep(task, "sampled", "order", scores)
    read = read_scores(kept / "work/scores/aisles/last.sampled/order.npz")
    assert [row.tolist() for row in read.by_list(read.scores["order"])] == [row.tolist() for row in scores]


def test_baselines_are_measured_once(task, kept, monkeypatch):
    quality_table.measure_baselines(task)
    systems = dict(quality_files.kept_systems(kept / "results/aisles/last.sampled"))
    assert set(systems) == set(NAMES)
    monkeypatch.setattr(quality_table, "fitted_baselines", None)
    quality_table.measure_baselines(task)


def test_the_encoder_alone_ranks_what_it_has_learnt(task, kept, monkeypatch):
    recipe = replace(quality_arms.recipe_of(task, 1), base="tiny", contrastive_batch=32, contrastive_rate=1e-3)
    monkeypatch.setattr(quality_arms, "recipe_of", lambda task, seed: recipe)
    quality_arms.measure_encoder(task, 1, 60)
    found = quality_files.read_figures(quality_files.figures_of(task, "sampled", "encoder-trained.seed1"))
    assert found.metrics["auc"].mean() > 0.7
    assert '"contrastive_steps": 60' in found.recipe


def test_the_published_rows_are_ranked_among_all_items(tmp_path, aisle_data):
    folder = shutil.copytree(aisle_data, tmp_path / quality_lists.PUBLISHED)
    ids = pl.read_parquet(folder / "items.parquet")["item_id"].cast(pl.String).to_list()
    rows = pl.DataFrame({"user_id": ["u"] * 10, "history": [[ids[1], ids[0]]] * 10, "item_id": [ids[2]] * 10})
    for part in ("valid", "test"):
        rows.write_parquet(folder / f"{part}.parquet")
    [task] = quality_lists.tasks(folder)
    row = task.test["full"][0]
    assert (task.split, len(row.items), row.events.tolist()) == ("published", len(ids), [1, 0])
    assert row.items[row.labels > 0].tolist() == [2]
    data = read_data(folder)
    pairs = {(user, item) for user, item, kind in zip(data.user, data.item, data.behavior, strict=True) if kind == 1}
    assert task.parts.popularity.sum() == len(pairs), "all of the interactions is training"


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
    monkeypatch.setattr(train, "train_run", lambda data, out, config, **options: asked.append(config))
    assert run(shlex.split(command)[1:]) == 0
    assert asked == [replace(quality_arms.RECIPES["amazon2018_office"], arch="cross")]


def test_a_paired_difference_leaves_out_what_one_of_them_cannot_tell():
    first, second = figures(), figures(shift=-0.1)
    first["auc"][0] = np.nan
    mean, low, high = quality_page.paired(first, second, "auc")
    assert low <= mean <= high
    assert mean == pytest.approx(0.1, abs=1e-6)


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
