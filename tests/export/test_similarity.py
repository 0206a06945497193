from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from short_training import Interrupt, config, fit, same, weights
from torch.nn import functional

from onyxrank import InvalidInput
from onyxrank_export.data.lists import CandidateList
from onyxrank_export.data.pairs import training_lists
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.training.base import resolve_base, text_encoder
from onyxrank_export.training.contrastive import TEMPERATURE, PairTokens
from onyxrank_export.training.dataset import ListDataset, collate
from onyxrank_export.training.list_trainer import ListTrainer
from onyxrank_export.training.losses import pointwise, soft_shares
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
    return Similarity(base.model.base_model, PairTokens.of(texts, split, base.tokenizer, settings), lists)


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


class Answers(torch.nn.Module):
    """A model whose logits are parameters, whatever it is asked; margins 0 at first."""

    def __init__(self, rows):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(rows, 2))

    def forward(self, **_):
        return {"logits": self.logits}


def loss_of_order(model, margins):
    """The loss of a list of two, of which the first was bought, with these margins of the encoder."""
    trainer = object.__new__(ListTrainer)
    trainer._teacher = None
    trainer._config = config(contrastive_steps=1, contrastive_weight=0.5, list_weight=2.0)
    inputs = {"labels": torch.tensor([1.0, 0.0]), "list_sizes": torch.tensor([2])}
    return trainer.compute_loss(model, inputs | ({} if margins is None else {"encoder_margins": margins}))


def test_the_order_to_learn_is_half_the_encoder_s_and_the_probability_the_label_s():
    model = Answers(2).train()
    with torch.no_grad():
        model.logits[:] = torch.tensor([[0.0, math.log(2)], [0.0, 0.0]])
    # The encoder's shares are 1/4 and 3/4, so those to learn are 5/8 and 3/8; the model's are 2/3 and 1/3.
    loss = loss_of_order(model, torch.tensor([0.0, math.log(3)]))
    of_list = -(5 / 8 * math.log(2 / 3) + 3 / 8 * math.log(1 / 3))
    of_pairs = -(math.log(2 / 3) + math.log(1 / 2)) / 2
    assert loss.item() == pytest.approx(of_pairs + 2.0 * of_list, rel=1e-6)
    assert loss_of_order(model.eval(), torch.tensor([0.0, math.log(3)])).item() == pytest.approx(of_pairs, rel=1e-6)


@pytest.mark.parametrize(("margins", "share"), [(None, 1.0), ([0.0, 0.0], 3 / 4), ([0.0, math.log(3)], 5 / 8)])
def test_training_leads_to_the_mixed_order(margins, share):
    """With the weight on lists alone, descent ends where the softmax over the list is the share to learn."""
    model = Answers(2).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(300):
        optimizer.zero_grad()
        every = loss_of_order(model, None if margins is None else torch.tensor(margins))
        (every - pointwise(model.logits, torch.tensor([1.0, 0.0]))).backward()
        optimizer.step()
    found = torch.softmax(model.logits[:, 1] - model.logits[:, 0], dim=0)[0].item()
    assert found == pytest.approx(share, abs=0.01)


def test_the_encoder_s_margins_come_with_the_rows_they_are_of(split, base):
    lists = training_lists(split, config().sampling)[:3]
    margins = np.arange(sum(len(row.items) for row in lists), dtype=np.float32)
    encoder = text_encoder(base.tokenizer, config().limits)
    data = ListDataset(lists, split.data.items, encoder, margins)
    batch = collate([data[2], data[0]])
    first, last = len(lists[0].items), len(lists[2].items)
    assert batch["encoder_margins"].tolist() == [*margins[-last:], *margins[:first]]
    assert "encoder_margins" not in collate([ListDataset(lists, split.data.items, encoder)[0]])


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
