from __future__ import annotations

import numpy as np

from onyxrank_export.training.dataset import LengthGroupedEpochs, collate


def batches(sampler, size):
    order = list(sampler)
    return order, [order[start : start + size] for start in range(0, len(order), size)]


def test_batches_hold_similar_lengths_and_every_list_once():
    lengths = np.random.default_rng(0).integers(5, 200, 2000).tolist()
    sampler = LengthGroupedEpochs(lengths, epochs=2, batch_size=10, seed=3)
    assert len(sampler) == 1000
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order, groups = batches(sampler, 10)
        start = 1000 * (epoch % 2)
        assert sorted(order) == list(range(start, start + 1000))
        padded = sum(len(group) * max(lengths[index] for index in group) for group in groups)
        assert padded < 1.15 * sum(lengths[index] for index in order)
        assert order == list(sampler), "the same when asked again"


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = LengthGroupedEpochs(list(range(1, 101)) * 2, epochs=2, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return [index % 100 for index in sampler]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1, 2)}) == 6


def test_rows_are_padded_to_the_longest_and_masked():
    def row(ids, types, label):
        return {"input_ids": ids, "token_type_ids": types, "labels": label}

    batch = collate([[row([2, 5, 3], [0, 0, 1], 1.0), row([2, 3], [0, 1], 0.0)], [row([2], [0], 0.5)]], pad_id=9)
    assert batch["input_ids"].tolist() == [[2, 5, 3], [2, 3, 9], [2, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert batch["labels"].tolist() == [1.0, 0.0, 0.5]
    assert batch["list_sizes"].tolist() == [2, 1]
