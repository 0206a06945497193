from __future__ import annotations

import pytest

from onyxrank import ProviderUnavailable
from onyxrank.machine.fingerprint import digest, machine_fingerprint
from onyxrank.sessions.ort_session import input_shapes
from onyxrank.sessions.shape_buckets import Sizes
from onyxrank.sessions.tensorrt import engine_options

SHA256 = "a1" * 32


def test_ranges_reach_from_one_to_the_limits(tmp_path):
    shapes = {"input_ids": ["rows", "tokens"], "keys": [6, 12, 33, "history"], "values": [6, 12, "history", 32]}
    options = engine_options(shapes, Sizes(128, 49, 131), 1024, tmp_path, SHA256)
    assert options["trt_profile_min_shapes"] == "input_ids:1x1,keys:6x12x33x1,values:6x12x1x32"
    assert options["trt_profile_opt_shapes"] == "input_ids:20x49,keys:6x12x33x131,values:6x12x131x32"
    assert options["trt_profile_max_shapes"] == "input_ids:128x49,keys:6x12x33x131,values:6x12x131x32"


def test_the_rows_of_a_history_graph_are_its_own(tmp_path):
    options = engine_options({"input_ids": [1, "tokens"]}, Sizes(1, 130), 1024, tmp_path, SHA256)
    assert options["trt_profile_max_shapes"] == "input_ids:1x130"


def test_engines_of_a_graph_lie_beside_the_machines_profile(tmp_path):
    options = engine_options({"input_ids": [1, "tokens"]}, Sizes(1, 130), 1024, tmp_path, SHA256)
    folder = tmp_path / "profiles" / f"tensorrt-{digest(machine_fingerprint())}-{SHA256[:12]}"
    assert folder.is_dir()
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(folder)


def test_half_precision_is_allowed_where_the_graph_is_in_it(tmp_path):
    arguments = ({"input_ids": [1, "tokens"]}, Sizes(1, 130), 1024, tmp_path, SHA256)
    assert engine_options(*arguments, half=True)["trt_fp16_enable"] == "1"
    assert "trt_fp16_enable" not in engine_options(*arguments)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "profiles").write_text("in the way")
    with pytest.raises(ProviderUnavailable, match="cannot keep its engines in"):
        engine_options({"input_ids": [1, "tokens"]}, Sizes(1, 130), 1024, tmp_path, SHA256)


def test_the_shapes_of_real_graphs_are_covered(shared_bundle, tmp_path):
    shapes = input_shapes(shared_bundle / "onnx" / "items.onnx")
    assert set(shapes) == {"input_ids", "attention_mask", "keys", "values"}
    told = engine_options(shapes, Sizes(128, 7, 15), 1024, tmp_path, SHA256)["trt_profile_max_shapes"]
    ranges = dict(part.split(":") for part in told.split(","))
    assert ranges["input_ids"] == ranges["attention_mask"] == "128x7"
    layers, heads, size, history = map(int, ranges["keys"].split("x"))
    assert ranges["values"] == f"{layers}x{heads}x15x{size - 1}"
    assert history == 15
