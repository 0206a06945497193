"""The whole way of late-interaction: a run, its bundle, and the bundle's rankings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from exporting import names
from onyxrank import BundleError, Item, Ranker
from onyxrank.architectures.interaction import Vectors
from onyxrank.architectures.interaction_files import FOLDER, read_interaction, read_known
from onyxrank.bundle.opening import open_bundle
from onyxrank_export.evaluation.evaluate import evaluate
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import embed
from onyxrank_export.training.loop import train
from onyxrank_export.training.run import RunError

HISTORY = ["red camping tent", "red camping stove"]
ITEMS = [Item("ca-pegs-red", "red camping pegs", "pegs for camping"), Item("x", "grey office shredder", "new")]


def test_a_run_says_what_each_term_is_worth(late_run):
    told = json.loads((late_run / "run.json").read_text())["training"]["terms"]
    assert {"popularity", "text", "learned", "co_purchase", "next", "all"} <= told.keys()
    assert told["all"] >= max(told.values()) - 1e-9
    assert {"config.json", "curves.png", "interaction", "metrics.json", "model.safetensors"} <= set(names(late_run))
    assert not (late_run / "checkpoints").exists()
    assert not list(late_run.rglob("*.pkl")) + list(late_run.rglob("*.bin"))


def test_margins_are_pytorchs(late_bundle):
    """Vectors by PyTorch, one text at a time, and the score of the bundle."""
    model = AutoModel.from_pretrained(late_bundle).eval()
    tokenizer = AutoTokenizer.from_pretrained(late_bundle)

    def vectors(texts):
        rows = []
        for text in texts:
            ids = tokenizer(text, truncation=True, max_length=8, return_tensors="pt")
            with torch.inference_mode():
                rows.append(embed(model, ids["input_ids"], ids["attention_mask"])[0].numpy())
        return np.stack(rows)

    known = read_known(late_bundle / FOLDER)
    events = Vectors(vectors(HISTORY), known.places_of_titles(HISTORY))
    items = Vectors(vectors([f"{item.title} {item.description}" for item in ITEMS]), known.places_of(ITEMS))
    assert (events.places >= 0).all()
    assert items.places[1] == -1
    expected = read_interaction(late_bundle / FOLDER).margins(events, items)
    with Ranker.load(late_bundle, variant="fp32", threads=1) as ranker:
        margins = {hit.index: hit.margin for hit in ranker.rank(HISTORY, ITEMS)}
    np.testing.assert_allclose([margins[0], margins[1]], expected, atol=1e-4)


def test_every_way_of_asking_gives_the_same(late_bundle):
    with Ranker.load(late_bundle, threads=1) as ranker:
        scores = ranker.score(HISTORY, ITEMS)
        ranking = ranker.rank(HISTORY, ITEMS)
        assert [hit.index for hit in ranking] == np.argsort(-scores, kind="stable").tolist()
        for other in (
            ranker.prepare(HISTORY).score(ITEMS),
            [hit.score for hit in sorted(ranker.rank_many([(HISTORY, ITEMS)])[0], key=lambda hit: hit.index)],
        ):
            np.testing.assert_allclose(other, scores, atol=1e-6)
        assert ranker.rank(HISTORY, []).hits == ()
        again = ranker.rank(HISTORY, ITEMS)
        assert again.timings.run == 0
        assert ranker.rank([], ITEMS).cold_start


def test_duplicates_and_what_is_in_the_history_keep_their_places(late_bundle):
    twice = [ITEMS[0], ITEMS[1], ITEMS[0], Item("ca-tent-red", "red camping tent", "tent for camping")]
    with Ranker.load(late_bundle, threads=1) as ranker:
        ranking = ranker.rank(HISTORY, twice)
    assert sorted(hit.index for hit in ranking) == [0, 1, 2, 3]
    first, second = (hit for hit in ranking if hit.id == "ca-pegs-red")
    assert first.margin == second.margin
    assert first.index < second.index


def test_a_history_of_titles_is_one_of_items(late_bundle):
    with Ranker.load(late_bundle, threads=1) as ranker:
        [known, unknown] = ranker.score(["red camping tent"], [ITEMS[0], Item("y", "pegs of steel")])
    assert known > unknown


def test_it_beats_the_encoder_that_it_began_with(late_bundle, aisle_data):
    with Ranker.load(late_bundle, threads=1) as ranker:
        found = evaluate(ranker, aisle_data, protocol="full", baselines=("popularity", "bm25", "co_purchase"))
    figures = {name: metrics["ndcg_at_10"] for name, metrics in found.results.items()}
    assert figures["model"] > max(figures["popularity"], figures["bm25"])
    assert found.results["model"]["log_loss"] < found.results["model"]["constant_log_loss"]


def test_a_bundle_opens_in_other_tools(late_bundle):
    modules = json.loads((late_bundle / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == ["Transformer", "Pooling", "Normalize"]
    assert json.loads((late_bundle / "1_Pooling" / "config.json").read_text())["pooling_mode_mean_tokens"]
    assert json.loads((late_bundle / "sentence_bert_config.json").read_text())["max_seq_length"] == 8


def test_the_score_is_verified_like_every_file(late_bundle, tmp_path):
    import shutil

    shutil.copytree(late_bundle, tmp_path / "bundle")
    target = tmp_path / "bundle" / FOLDER / "interaction.json"
    target.write_text(target.read_text().replace('"bias"', '"bias" '))
    with pytest.raises(BundleError, match=r"interaction/interaction\.json"):
        open_bundle(tmp_path / "bundle")


def test_search_data_has_a_score_of_texts(search_data, tmp_path):
    config = TrainingConfig(
        base="tiny",
        arch="late-interaction",
        contrastive_steps=4,
        contrastive_batch=16,
        precision="fp32",
        validation_lists=10,
    )
    run = train(search_data, tmp_path / "run", config)
    assert set(run.facts["training"]["terms"]) == {"popularity", "novelty", "text", "all"}
    assert not read_interaction(tmp_path / "run" / FOLDER).neighbours


def test_a_finished_run_is_not_written_over(late_run, aisle_data):
    with pytest.raises(RunError, match="not empty"):
        train(aisle_data, late_run, TrainingConfig(base="tiny", arch="late-interaction"))
