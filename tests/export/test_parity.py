from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onyxrank.architectures.cross import PAIR
from onyxrank.sessions.ort_session import OrtSession
from onyxrank.sessions.providers import PROVIDERS
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.parity import check_parity, eager_logits


class Altered:
    """A session whose answer is changed on the way out."""

    def __init__(self, model, change):
        self._model, self._change = model, change
        self.masks = []

    def run(self, feeds):
        self.masks.append(feeds["attention_mask"])
        return [self._change(eager_logits(self._model, feeds), feeds)]


def test_the_same_logits_differ_by_nothing(trained_model, sample):
    session = Altered(trained_model, lambda logits, feeds: logits)
    assert check_parity(trained_model, session, sample.requests, 0) == 0
    shapes = [(len(mask), bool((mask == 0).any())) for mask in session.masks]
    assert shapes[0] == (64, True)
    assert shapes.count((1, False)) == 16
    assert shapes.count((1, True)) == 1
    assert [rows > 1 for rows, padded in shapes if not padded].count(True) == 1


def where(*, padded, alone):
    def change(logits, feeds):
        mask = feeds["attention_mask"]
        return logits + 1e-3 * ((mask == 0).any() == padded and (len(mask) == 1) == alone)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits, feeds: logits + 2e-4, r"differ from PyTorch's by 2\.\d+e-04 \(limit 1e-04\)"),
        (where(padded=True, alone=False), "differ from PyTorch's by 1"),
        (where(padded=False, alone=False), "differ from PyTorch's by 1"),
        (where(padded=True, alone=True), "differ from PyTorch's by 1"),
        (where(padded=False, alone=True), "differ from PyTorch's by 1"),
        (lambda logits, feeds: logits * np.nan, "differ from PyTorch's by nan"),
        (lambda logits, feeds: logits[:, :1], r"answers \(64, 1\) where PyTorch answers \(64, 2\)"),
    ],
    ids=["shifted", "padded-batch", "batch", "padded-alone", "alone", "nan", "classes"],
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
    session = OrtSession(tmp_path / "model.onnx", PAIR, PROVIDERS["cpu"], 1)
    with pytest.raises(ExportError, match="the graph's logits differ"):
        check_parity(trained_model, session, sample.requests, 0)
