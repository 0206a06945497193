"""Exports that the quality gate refuses, in whole or in part."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exporting import ANYTHING, NOTHING, export, names
from onyxrank import Ranker
from onyxrank.cli.app import run
from onyxrank_export.conversion import export_context
from onyxrank_export.conversion import quantized_variants as module
from onyxrank_export.conversion.errors import GateRefused
from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.conversion.gate import GateLimits


def round_to_levels(levels):
    """A quantizer that loses nearly everything: int8 weights keep only so many levels."""
    original = module.quantize

    def worse(source, target, scheme, calibration):
        original(source, target, scheme, calibration)
        model = onnx.load(target)
        for weight in model.graph.initializer:
            values = numpy_helper.to_array(weight)
            if weight.data_type == onnx.TensorProto.INT8 and values.ndim == 2:
                step = 128 // levels
                rough = (np.round(values.astype(int) / step) * step).clip(-128, 127).astype(np.int8)
                weight.CopyFrom(numpy_helper.from_array(rough, weight.name))
        onnx.save(model, target)

    return worse


@pytest.fixture
def broken(monkeypatch, real_gate):
    monkeypatch.setattr(module, "quantize", round_to_levels(1))


def test_a_broken_quantization_is_refused_and_leaves_nothing(trained_run, tmp_path, broken):
    with pytest.raises(
        GateRefused, match=r"refused int8 .*int8_static_avx2 refused: .*; no bundle was written"
    ) as caught:
        export(trained_run, tmp_path / "bundle", precisions=("fp32", "int8"), gate_lists=64)
    assert caught.value.exit_status == 3
    assert names(tmp_path) == []


def test_a_refused_export_leaves_the_bundle_that_was_there(trained_run, trained_bundle, tmp_path, broken, capsys):
    shutil.copytree(trained_bundle, tmp_path / "bundle")
    before = {path: path.read_bytes() for path in (tmp_path / "bundle").rglob("*") if path.is_file()}
    command = ["export", str(trained_run), "--out", str(tmp_path / "bundle"), "--gate-lists", "64", "--overwrite"]
    assert run([*command, "--precision", "int8"]) == 3
    assert {path: path.read_bytes() for path in (tmp_path / "bundle").rglob("*") if path.is_file()} == before
    assert names(tmp_path) == ["bundle"]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("onyxrank: the quality gate refused int8 (")
    assert "train longer" in last


def test_where_too_few_lists_decide_it_is_told_how_many_would(trained_run, tmp_path, real_gate):
    asked = {"precisions": ("int8_dynamic",), "gate": GateLimits(ndcg_kept=0.9999)}
    with pytest.raises(GateRefused, match=r"undecided on int8.*judge on more than 8 lists with --gate-lists"):
        export(trained_run, tmp_path / "bundle", **asked)
    with pytest.raises(GateRefused, match=r"bring more data: the \d+ held-out lists it judged on are all there are"):
        export(trained_run, tmp_path / "bundle", **asked, gate_lists=10_000)
    assert names(tmp_path) == []


def test_int8_that_nobody_asked_for_is_left_out_where_too_few_lists_decide(trained_run, tmp_path, real_gate):
    told = []
    config = ExportConfig(gate_lists=8)
    manifest = export_bundle(trained_run, tmp_path / "bundle", config, say=told.append)
    assert {variant.precision for variant in manifest.variants} == {"fp32"}
    assert {verdict["outcome"] for verdict in manifest.gate["refused"].values()} == {"undecided"}
    assert any(text.startswith("int8 is left out: judge on more than 8 lists") for text in told)


def test_by_force_it_is_written_and_the_manifest_says_so(trained_run, tmp_path, broken):
    manifest = export(trained_run, tmp_path / "bundle", precisions=("int8_static",), force=True, gate_lists=64)
    assert manifest.gate["forced"] is True
    static = [variant for variant in manifest.variants if variant.precision == "int8_static"]
    assert len(static) == 2
    assert all(variant.refused and variant.gate["reasons"] for variant in static)
    with Ranker.load(tmp_path / "bundle") as ranker:
        assert ranker.info()["precision"] == "fp32", "what the gate refused is not loaded unasked"


def test_one_good_recipe_is_enough_and_the_bad_ones_are_named(trained_run, tmp_path, monkeypatch):
    worse, original = round_to_levels(1), module.quantize

    def sometimes(source, target, scheme, calibration):
        (worse if scheme.reduce_range else original)(source, target, scheme, calibration)

    monkeypatch.setattr(module, "quantize", sometimes)
    wide = GateLimits(auc_change=0.1, ndcg_kept=0.6, overlap=0.6)
    manifest = export(trained_run, tmp_path / "bundle", precisions=("int8_static",), gate=wide, gate_lists=128)
    assert [variant.name for variant in manifest.variants] == ["int8_static_avx512_vnni", "fp32_fused", "fp32"]
    assert list(manifest.gate["refused"]) == ["int8_static_avx2"]
    assert not (tmp_path / "bundle" / "onnx" / "model_qint8_static_avx2.onnx").exists()


def test_full_range_weights_are_judged_by_exact_sums_on_every_machine(trained_run, tmp_path, monkeypatch):
    judged, original = {}, export_context.opened_architecture

    def noting(name, head, files, folder, pad_id, **options):
        judged[files["model"].name] = options["exact_sums"]
        return original(name, head, files, folder, pad_id, **options)

    monkeypatch.setattr(export_context, "opened_architecture", noting)
    export(
        trained_run,
        tmp_path / "bundle",
        precisions=("int8_static",),
        gate=ANYTHING,
    )
    assert judged["model_qint8_static_avx512_vnni.onnx"]
    assert not judged["model_qint8_static_avx2.onnx"]
    assert not judged["model_fused.onnx"]


def test_a_variant_that_answers_nan_is_refused_even_by_force(trained_run, tmp_path, monkeypatch):
    original = module.quantize

    def poison(source, target, scheme, calibration):
        original(source, target, scheme, calibration)
        model = onnx.load(target)
        bias = next(weight for weight in model.graph.initializer if weight.name == "logits_bias")
        bias.CopyFrom(numpy_helper.from_array(np.full(2, np.nan, np.float32), bias.name))
        onnx.save(model, target)

    monkeypatch.setattr(module, "quantize", poison)
    with pytest.raises(GateRefused, match="answers NaN or infinity"):
        export(trained_run, tmp_path / "bundle", precisions=("int8_dynamic",), force=True)
    assert names(tmp_path) == []


def test_bf16_that_is_refused_leaves_nothing(trained_run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BFLOAT16", replace(module.BFLOAT16, provider="cpu"))
    with pytest.raises(GateRefused, match="refused bf16"):
        export(trained_run, tmp_path / "bundle", precisions=("bf16",), gate=NOTHING)
    assert names(tmp_path) == []
    manifest = export(trained_run, tmp_path / "bundle", precisions=("bf16",), gate=NOTHING, force=True)
    assert manifest.variants[-1].refused
