from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onyxrank._graphs import ARCHITECTURES
from onyxrank._providers import PROVIDERS
from onyxrank._session import OrtSession
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.parity import check_parity, eager_logits


class Altered:
    """A session whose answer is changed on the way out."""

    def __init__(self, model, change):
        self._model, self._change = model, change
        self.shapes = []

    def run(self, feeds):
        self.shapes.append(feeds["input_ids"].shape)
        return [self._change(eager_logits(self._model, feeds), feeds)]


def test_the_same_logits_differ_by_nothing(trained_model, sample):
    session = Altered(trained_model, lambda logits, feeds: logits)
    assert check_parity(trained_model, session, sample.requests, 0) == 0
    rows = [rows for rows, _ in session.shapes]
    assert max(rows) == 64
    assert rows.count(1) == 16


def padded_only(logits, feeds):
    return logits + 1e-3 * (feeds["attention_mask"] == 0).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits, feeds: logits + 2e-4, r"differ from PyTorch's by 2\.\d+e-04 \(limit 1e-04\)"),
        (padded_only, "differ from PyTorch's by 1"),
        (lambda logits, feeds: logits * np.nan, "differ from PyTorch's by nan"),
        (lambda logits, feeds: logits[:, :1], r"answers \(64, 1\) where PyTorch answers \(64, 2\)"),
    ],
    ids=["shifted", "where-padded", "nan", "classes"],
)
def test_other_logits_are_an_error(trained_model, sample, change, message):
    with pytest.raises(ExportError, match=message):
        check_parity(trained_model, Altered(trained_model, change), sample.requests, 0)


def test_one_altered_weight_is_noticed(trained_bundle, trained_model, sample, tmp_path):
    model = onnx.load(trained_bundle / "onnx" / "model.onnx")
    weight = next(weight for weight in model.graph.initializer if weight.name.endswith("classifier.weight"))
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] += 0.01
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "model.onnx")
    session = OrtSession(tmp_path / "model.onnx", ARCHITECTURES["cross"]["model"], PROVIDERS["cpu"], 1)
    with pytest.raises(ExportError, match="the graph's logits differ"):
        check_parity(trained_model, session, sample.requests, 0)
