"""What the conversion tests share: the trained run's model and held-out pairs as its encoder reads them."""

from __future__ import annotations

import numpy as np
import pytest

from onyxrank.sessions.ort_session import OrtSession


@pytest.fixture
def real_gate(monkeypatch):
    """The gate judges, also in a run in which what it says is settled (`forcing`)."""
    from onyxrank_export.conversion import gate, quantized_variants

    monkeypatch.setattr(quantized_variants, "judge", gate.judge)


@pytest.fixture(scope="session")
def trained_model(trained_run):
    from onyxrank_export.training.base import load_checkpoint

    return load_checkpoint(trained_run).model.eval()


@pytest.fixture(scope="session")
def fused(trained_bundle):
    """The optimized fp32 graph, which the quantizers start from."""
    return trained_bundle / "onnx" / "model_fused.onnx"


@pytest.fixture(scope="session")
def sample(trained_run, aisle_data):
    """A few held-out lists with their token ids."""
    from onyxrank_export.conversion.gate import GateSample
    from onyxrank_export.data.lists import lists_of_validation
    from onyxrank_export.data.reading import read_data
    from onyxrank_export.data.splits import split_data
    from onyxrank_export.training.base import load_checkpoint, text_encoder
    from onyxrank_export.training.run import read_run

    data = read_data(aisle_data)
    lists = lists_of_validation(split_data(data), most=12)
    encoder = text_encoder(load_checkpoint(trained_run).tokenizer, read_run(trained_run).limits)
    requests = [encoder.encode(row.history, [data.items[index] for index in row.items]) for row in lists]
    return GateSample(lists, requests)


@pytest.fixture(scope="session")
def feeds(sample):
    """Padded batches and single pairs."""
    from onyxrank.architectures.call import Call
    from onyxrank.architectures.cross import pair_feeds

    call = Call(sample.requests)
    count = len(call.margins)
    padded = [np.arange(start, count, count // 8) for start in range(8)]
    alone = [np.array([row]) for row in range(0, count, count // 8)]
    return [pair_feeds(call, chosen, 0) for chosen in (*padded, *alone)]


@pytest.fixture(scope="session")
def run_graph():
    """Runs a graph file on feeds, one thread."""
    from onyxrank.architectures.cross import PAIR
    from onyxrank.sessions.providers import PROVIDERS

    def run(path, feeds):
        session = OrtSession(path, PAIR, PROVIDERS["cpu"], 1)
        try:
            return [session.run(batch)[0] for batch in feeds]
        finally:
            session.close()

    return run


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Behaviour data that trains in seconds."""
    from aisles import write_aisles

    return write_aisles(tmp_path_factory.mktemp("few") / "data", shoppers=40)
