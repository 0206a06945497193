from __future__ import annotations

import numpy as np
import pytest
import torch
from short_training import Interrupt, config, fit, same, weights
from torch.nn import functional

from onyxrank import InvalidInput
from onyxrank_export.data.pairs import CandidateList, training_lists
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.training.base import resolve_base
from onyxrank_export.training.contrastive import TEMPERATURE, Halves
from onyxrank_export.training.losses import soft_shares
from onyxrank_export.training.run import RunError
from onyxrank_export.training.similarity import Similarity, keep_margins, kept_margins, margins_to_learn

TAUGHT = {"contrastive_steps": 3, "contrastive_batch": 8, "contrastive_weight": 0.5}


@pytest.fixture(scope="module")
def split(few):
    return split_data(read_data(few))


@pytest.fixture(scope="module")
def base(split):
    torch.manual_seed(0)
    return resolve_base("tiny", [item.title for item in split.data.items], seed=0)


def vector(base, text):
    tokens = base.tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        states = base.model.base_model.eval()(**tokens).last_hidden_state[0]
    return functional.normalize(states.mean(dim=0), dim=0)


def similarity(base, split, lists, settings):
    texts = [text for row in lists for text in row.history]
    return Similarity(base.model.base_model, Halves.of(texts, split, base.tokenizer, settings), lists)


def test_a_margin_is_the_log_sum_of_the_cosines_with_the_history(split, base):
    few_lists = training_lists(split, config().sampling)[:4]
    settings = config(limits=config().limits.__class__(history_tokens=64, item_tokens=32))
    margins = iter(margins_to_learn(similarity(base, split, few_lists, settings), few_lists))
    for row in few_lists:
        events = [vector(base, text) for text in row.history]
        for item in row.items:
            whole = f"{split.data.items[item].title} {split.data.items[item].description}"
            of_item = vector(base, whole)
            if row.history:
                cosines = torch.stack([event @ of_item for event in events]) / TEMPERATURE
                assert next(margins) == pytest.approx(cosines.logsumexp(dim=0).item(), abs=1e-3)
            else:
                next(margins)
    assert next(margins, None) is None


def test_without_a_history_the_labels_take_the_encoder_s_place(split, base):
    labels = np.array([0, 1, 0], np.float32)
    lists = [CandidateList((), np.arange(3, dtype=np.int32), labels)]
    knows = similarity(base, split, lists, config())
    assert not knows.margins(lists[0]).any(), "what is measured must not look at the labels"
    margins = margins_to_learn(knows, lists)
    shares = soft_shares(torch.from_numpy(labels), torch.tensor([3]), torch.from_numpy(margins), 0.7)
    assert shares.tolist() == labels.tolist()


def test_what_the_encoder_says_is_learnt(few, tmp_path):
    plain = fit(few, tmp_path / "plain", max_steps=3, **(TAUGHT | {"contrastive_weight": 0.0}))
    taught, again = (fit(few, tmp_path / name, max_steps=3, **TAUGHT) for name in ("taught", "again"))
    assert same(weights(taught.folder), weights(again.folder))
    assert not same(weights(taught.folder), weights(plain.folder))
    assert not (taught.folder / "checkpoints").exists()


@pytest.mark.slow
def test_a_resumed_training_learns_the_same_of_the_encoder(few, tmp_path):
    settings = TAUGHT | {"evaluations": 3, "arch": "shared-history"}
    fit(few, tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(few, tmp_path / "run", Interrupt(7), **settings)
    margins = tmp_path / "run" / "checkpoints" / "similarities.npy"
    kept = margins.read_bytes()
    margins.write_bytes(kept[:20])
    with pytest.raises(RunError, match="npy is missing or damaged"):
        fit(few, tmp_path / "run", resume=True, **settings)
    margins.write_bytes(kept)
    fit(few, tmp_path / "run", resume=True, **settings)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_margins_are_kept_as_they_are(tmp_path):
    margins = np.array([1.5, -1e4, 0.25], np.float32)
    keep_margins(margins, tmp_path / "new")
    assert kept_margins(tmp_path / "new").tolist() == margins.tolist()


def test_a_teacher_and_an_encoder_do_not_teach_together():
    with pytest.raises(InvalidInput, match="goes without a teacher"):
        config(**TAUGHT, teacher="run")
