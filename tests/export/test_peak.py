from __future__ import annotations

import json
import shutil

import pytest

from onyxrank.bundle.opening import open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.measure.latency import Samples
from onyxrank.measure.peak import Peak
from onyxrank.measure.report import WayReport
from onyxrank.measure.requests import Request
from onyxrank_export.peak import constant_operations, measured_peaks, request_operations


def test_the_peak_is_of_products_in_both_precisions():
    peaks = measured_peaks(1)
    assert peaks.keys() == {"fp32", "int8"}
    assert all(0.1 < peak < 1e6 for peak in peaks.values())


def test_the_operations_are_those_of_the_products():
    one_layer = constant_operations(1, 8, 16, tokens=10, items=2)
    assert one_layer == pytest.approx(2 * (10 * 8 * 16 + 2 * (8 * 8 + 8 * 8 + 2 * 8 * 16)) / 1e9)
    more = constant_operations(3, 8, 16, tokens=10, items=2) - one_layer
    assert more == pytest.approx(2 * 2 * 10 * (8 * 24 + 8 * 8 + 2 * 8 * 16) / 1e9)


def test_cross_needs_the_history_for_every_item_and_shared_history_once(trained_bundle, shared_bundle):
    needed = {}
    for folder in (trained_bundle, shared_bundle):
        bundle = open_bundle(folder)
        encoder = load_encoder(bundle)
        many, one = (
            encoder.encode(["steel tent pegs"] * 5, [item] * count) for item in _items() for count in (50, 1)
        )
        needed[bundle.manifest.architecture] = request_operations(bundle, many) / request_operations(bundle, one)
    assert needed["cross"] == pytest.approx(50)
    assert needed["shared-history"] < 40


def test_a_bundle_whose_config_does_not_tell(tiny_bundle):
    bundle = open_bundle(tiny_bundle)
    encoded = load_encoder(bundle).encode(["tent"], _items())
    assert request_operations(bundle, encoded) is None
    assert json.loads((tiny_bundle / "config.json").read_text()).keys() == {"model_type", "pad_token_id"}


def test_the_share_is_of_the_peak_in_the_ways_own_precision(trained_bundle, tmp_path):
    bundle = open_bundle(shutil.copytree(trained_bundle, tmp_path / "bundle"))
    peak = Peak({"fp32": 10.0, "int8": 40.0}, lambda bundle, encoded: 2.0)
    request = Request(("tent",), tuple(_items()))

    def report(**settings):
        latency = Samples((0.5,)).latency(1)
        return WayReport(name="way", latency=latency, speedup=None, settings=settings)

    own = {"architecture": "cross", "bundle": "bundle", "provider": "cpu"}
    assert peak.share(report(**own, precision="fp32"), [bundle], request) == pytest.approx(0.4)
    assert peak.share(report(**own, precision="fp16"), [bundle], request) == pytest.approx(0.4)  # computed in fp32
    assert peak.share(report(**own, precision="int8_static"), [bundle], request) == pytest.approx(0.1)
    assert peak.share(report(precision="fp32"), [bundle], request) is None
    for other in ({"architecture": "shared-history"}, {"bundle": "other"}, {"provider": "openvino_bf16"}):
        assert peak.share(report(**(own | other), precision="fp32"), [bundle], request) is None


def _items():
    from onyxrank import Item

    return [Item("a", "steel tent", "green")]
