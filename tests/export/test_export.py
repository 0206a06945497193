from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from transformers import BertForSequenceClassification, ElectraConfig, ElectraForSequenceClassification

from exporting import ANYTHING, export, names
from onyxrank import BundleError, InvalidInput, Item, Limits, ProviderUnavailable, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine import cpus
from onyxrank.machine.cpus import machine_family
from onyxrank.sessions import plugins
from onyxrank.tune.sample import SAMPLE_FILE, read_requests
from onyxrank_export.conversion import architectures, quantized_variants
from onyxrank_export.conversion.errors import ExportError
from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.conversion.quantize import SCHEMES
from onyxrank_export.training.base import load_checkpoint
from onyxrank_export.training.base_folder import UnsuitableModel
from weights import save_model

EVENTS = ["red tent", "camping stove"]
ITEMS = [("large red tent", "for camping"), ("desk lamp", ""), ("dog leash", "green"), ("coffee grinder", "of steel")]
MARGIN = 1e-5


def graphs(bundle):
    return {
        path: entry.sha256 for path, entry in open_bundle(bundle).manifest.files.items() if path.endswith(".onnx")
    }


# What is written


def test_the_bundle_is_a_model_folder_and_more(trained_bundle):
    manifest = open_bundle(trained_bundle).manifest
    assert {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "model.safetensors",
        "onnx/model.onnx",
        "onnx/model_fused.onnx",
    } <= manifest.files.keys()
    assert not [path for path in trained_bundle.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".data")]
    assert not [path for path in trained_bundle.rglob("*") if path.name.startswith(".")]
    listed = {trained_bundle / path for path in manifest.files}
    assert {path for path in trained_bundle.rglob("*") if path.is_file()} - listed == {
        trained_bundle / "onyxrank.json"
    }


@pytest.mark.parametrize("bundle", ["trained_bundle", "shared_bundle"])
def test_every_int8_graph_ranks_nearly_as_fp32_does(request, bundle):
    """On lists so few that chance is several times the gate's real limits."""
    manifest = open_bundle(request.getfixturevalue(bundle)).manifest
    int8 = {variant.name: variant for variant in manifest.variants if variant.precision != "fp32"}
    assert int8.keys() == {scheme.name for scheme in SCHEMES}
    for variant in int8.values():
        gate = variant.gate
        assert gate["passed"]
        assert gate["auc"] > 0.8
        assert abs(gate["auc_change"]) <= 0.02
        assert gate["ndcg_kept"] >= 0.85
        assert gate["overlap"] >= 0.9
        assert variant.batch_invariant == (variant.precision == "int8_static")
    assert manifest.gate["forced"] is False
    assert manifest.gate["lists"] >= 200
    assert manifest.gate["refused"] == {}
    assert max(manifest.parity["max_logit_difference"].values()) <= 1e-4


def test_what_may_be_loaded_unasked_comes_first(trained_bundle):
    order = [variant.precision for variant in open_bundle(trained_bundle).manifest.variants]
    assert order == sorted(order, key=("int8_static", "fp32", "int8_dynamic").index)


def test_the_manifest_tells_the_training_and_no_text(trained_bundle, trained_run):
    manifest = json.loads((trained_bundle / "onyxrank.json").read_text())
    facts = json.loads((trained_run / "run.json").read_text())
    assert manifest["training"]["config"] == facts["config"]
    assert manifest["training"]["data"]["fingerprint"] == facts["data"]["fingerprint"]
    assert manifest["training"]["versions"] == facts["versions"]
    assert manifest["parity"]["versions"].keys() == {"torch", "transformers", "optimum-onnx", "onnx", "onnxruntime"}
    assert manifest["parity"]["versions"]["onnxruntime"] == onnxruntime.__version__
    assert "path" not in manifest["training"]["data"]
    assert "red camping tent" not in json.dumps(manifest)


@pytest.mark.parametrize("bundle", ["trained_bundle", "shared_bundle"])
def test_every_variant_ranks_alike_on_every_machine(request, bundle):
    """Those made for other machines too: what they add up does not saturate here."""
    opened = open_bundle(request.getfixturevalue(bundle))
    rows = [(one.history, one.items) for one in read_requests(opened.path(SAMPLE_FILE))]
    rows.append(
        (["red camping tent", "red camping axe"], ["grey office pen", "red camping stove", "blue garden hose"])
    )
    scores = {}
    for variant in opened.manifest.variants:
        with Ranker.load(opened.folder, variant=variant.name, provider="cpu", threads=1) as ranker:
            options = ranker.info()["session_options"]
            scores[variant.name] = [ranker.score(*row) for row in rows]
        assert ("session.x64quantprecision" in options) == (not variant.runs_on(machine_family()))
    for name, found in scores.items():
        assert np.corrcoef(np.concatenate(found), np.concatenate(scores["fp32"]))[0, 1] > 0.99, name
        differences = np.abs(np.concatenate(found) - np.concatenate(scores["fp32"]))
        assert differences.max() < (MARGIN if name.startswith("fp32") else 0.1), name
        assert differences.mean() < 0.01, name


@pytest.mark.slow
def test_the_same_run_gives_the_same_graphs_in_another_process(trained_run, trained_bundle, tmp_path):
    command = [sys.executable, "-m", "onyxrank", "export", str(trained_run), "--out", str(tmp_path / "bundle")]
    command += ["--precision", "fp32,int8", "--gate-lists", "8", "--force"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    ours, theirs = graphs(tmp_path / "bundle"), graphs(trained_bundle)
    assert len(ours) == 6
    assert theirs == ours


def test_the_engine_loads_what_the_gate_vouches_for(trained_bundle):
    manifest = open_bundle(trained_bundle).manifest
    with Ranker.load(trained_bundle) as ranker:
        chosen = next(variant for variant in manifest.variants if variant.name == ranker.info()["variant"])
    assert chosen.batch_invariant
    assert chosen.runs_on(machine_family())


def test_fp16_passes_the_real_gate_and_is_loaded_by_name_only(trained_run, tmp_path, real_gate):
    manifest = export(trained_run, tmp_path / "bundle", precisions=("fp16",), gate_lists=256)
    [half] = [variant for variant in manifest.variants if variant.precision == "fp16"]
    assert half.gate["passed"]
    with (
        Ranker.load(tmp_path / "bundle", threads=1) as unasked,
        Ranker.load(tmp_path / "bundle", threads=1, variant="fp16") as named,
    ):
        assert unasked.info()["precision"] == "fp32"
        np.testing.assert_allclose(
            named.score(EVENTS, [title for title, _ in ITEMS]),
            unasked.score(EVENTS, [title for title, _ in ITEMS]),
            atol=2e-3,
        )


# The scores of a model of two layers lie closer together than bf16's eight bits tell apart.
BF16 = {"precisions": ("bf16",), "gate": ANYTHING}


@pytest.mark.parametrize("run", ["trained_run", "shared_run"])
def test_bf16_is_fp32_with_figures_of_its_own(request, run, tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "has_bf16", lambda: True)  # OpenVINO emulates it where there is AVX-512
    try:
        manifest = export(request.getfixturevalue(run), tmp_path / "bundle", **BF16)
    except ProviderUnavailable:  # the way to the manifest is walked on a provider that is there
        monkeypatch.setattr(quantized_variants, "BFLOAT16", replace(quantized_variants.BFLOAT16, provider="cpu"))
        manifest = export(request.getfixturevalue(run), tmp_path / "bundle", **BF16)
    fp32, *_, brain = manifest.variants
    assert (brain.name, brain.precision, brain.files) == ("bf16", "bf16", fp32.files)
    assert brain.gate["passed"]
    assert brain.gate["overlap"] >= 0.8
    assert open_bundle(tmp_path / "bundle").manifest == manifest
    with Ranker.load(tmp_path / "bundle", threads=1) as ranker:
        assert ranker.info()["precision"] == "fp32"


def test_bf16_is_not_judged_where_it_cannot_be_computed(trained_run, tmp_path, monkeypatch):
    monkeypatch.setattr(cpus, "instruction_sets", lambda: frozenset({"avx2"}))
    with pytest.raises(ProviderUnavailable, match="this CPU has none of amx_bf16, avx512_bf16"):
        export(trained_run, tmp_path / "bundle", precisions=("bf16",))
    assert not list(tmp_path.iterdir())


# Model folders that were not trained here


@pytest.mark.parametrize("classes", [1, 2])
def test_a_model_folder_exports_without_training_or_data(tiny_reference, tmp_path, classes):
    config = copy.deepcopy(tiny_reference.model.config)
    config.num_labels = classes
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = BertForSequenceClassification(config).eval()
    folder = save_model(tiny_reference, tmp_path / "model")
    model.save_pretrained(folder)
    manifest = export(folder, tmp_path / "bundle", limits=Limits(history_tokens=20, item_tokens=12))
    assert manifest.head == ("sigmoid" if classes == 1 else "softmax")
    assert [variant.name for variant in manifest.variants] == ["fp32_fused", "fp32"]
    assert manifest.gate["reason"] == "no quantized variant was asked for"
    assert manifest.training == {}
    expected = []
    for title, description in ITEMS:
        pair = tiny_reference.tokenizer.encode(" ; ".join(EVENTS), f"{title} {description}")
        with torch.no_grad():
            logits = model(torch.tensor([pair.ids]), token_type_ids=torch.tensor([pair.type_ids])).logits.double()
        shares = torch.sigmoid(logits[0]) if classes == 1 else torch.softmax(logits[0], 0)
        expected.append(shares[-1].item())
    with Ranker.load(tmp_path / "bundle", threads=1) as ranker:
        scores = ranker.score(EVENTS, [Item(str(index), *texts) for index, texts in enumerate(ITEMS)])
    np.testing.assert_allclose(scores, expected, atol=MARGIN)


def named_folder(tiny_reference, folder, labels):
    """A model folder whose two classes have these names, and the logits of one of its pairs."""
    config = copy.deepcopy(tiny_reference.model.config)
    config.id2label, config.label2id = dict(enumerate(labels)), {label: number for number, label in enumerate(labels)}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = BertForSequenceClassification(config).eval()
    save_model(tiny_reference, folder)
    model.save_pretrained(folder)
    pair = tiny_reference.tokenizer.encode(" ; ".join(EVENTS), f"{ITEMS[0][0]} {ITEMS[0][1]}")
    with torch.no_grad():
        logits = model(torch.tensor([pair.ids]), token_type_ids=torch.tensor([pair.type_ids])).logits.double()
    return folder, torch.softmax(logits[0], 0).tolist()


@pytest.mark.parametrize(
    ("labels", "relevant", "wanted"),
    [
        (("irrelevant", "relevant"), None, 1),
        (("relevant", "irrelevant"), None, 0),
        (("Relevant", "Not_Relevant"), None, 0),
        (("LABEL_0", "LABEL_1"), None, 1),
        (("cat", "dog"), "cat", 0),
        (("cat", "dog"), "dog", 1),
    ],
    ids=["usual", "other way", "denied", "unnamed", "told first", "told last"],
)
def test_the_class_of_relevant_items_is_that_of_its_name(tiny_reference, tmp_path, labels, relevant, wanted):
    folder, shares = named_folder(tiny_reference, tmp_path / "model", labels)
    limits = Limits(history_tokens=20, item_tokens=12)
    export(folder, tmp_path / "bundle", limits=limits, relevant=relevant)
    with Ranker.load(tmp_path / "bundle", threads=1) as ranker:
        [score] = ranker.score(EVENTS, [Item("a", *ITEMS[0])])
    assert abs(shares[0] - shares[1]) > 1e-3
    assert score == pytest.approx(shares[wanted], abs=MARGIN)
    # A bundle's own weights are in the engine's order, and are not turned round again.
    written = load_checkpoint(tmp_path / "bundle").model.config.id2label
    assert written == {0: labels[1 - wanted], 1: labels[wanted]}


@pytest.mark.parametrize(
    ("labels", "relevant", "says"),
    [
        (("cat", "dog"), None, "has the classes 'cat' and 'dog': say which"),
        (("positive", "relevant"), None, "say which is that of relevant items with --relevant"),
        (("cat", "dog"), "cow", "has no class 'cow', only 'cat' and 'dog'"),
    ],
    ids=["other names", "both", "no such"],
)
def test_classes_that_do_not_tell_are_asked_for(tiny_reference, tmp_path, labels, relevant, says):
    folder, _ = named_folder(tiny_reference, tmp_path / "model", labels)
    with pytest.raises(UnsuitableModel, match=says):
        export(folder, tmp_path / "bundle", relevant=relevant)
    assert not (tmp_path / "bundle").exists()


def test_the_class_of_a_run_is_known(trained_run, tmp_path):
    with pytest.raises(ExportError, match="leave --relevant out"):
        export(trained_run, tmp_path / "bundle", relevant="LABEL_0")


def test_embeddings_narrower_than_the_layers_are_quantized_too(tiny_reference, aisle_data, tmp_path):
    folder = save_model(tiny_reference, tmp_path / "model")
    sizes = {"embedding_size": 16, "hidden_size": 32, "intermediate_size": 64}
    config = ElectraConfig(
        vocab_size=tiny_reference.model.config.vocab_size, num_hidden_layers=2, num_attention_heads=4, **sizes
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        ElectraForSequenceClassification(config).save_pretrained(folder)
    limits = Limits(history_tokens=20, item_tokens=12)
    manifest = export(
        folder, tmp_path / "bundle", data=aisle_data, limits=limits, precisions=("int8_static",), force=True
    )
    assert "int8_static" in {variant.precision for variant in manifest.variants}
    with Ranker.load(tmp_path / "bundle", threads=1) as ranker:
        assert len(ranker.rank(EVENTS, ["red tent", "desk lamp"])) == 2


def test_int8_of_a_model_folder_needs_data(tiny_reference, tmp_path):
    folder = save_model(tiny_reference, tmp_path / "model")
    with pytest.raises(ExportError, match="name the data with --data"):
        export(folder, tmp_path / "bundle", precisions=("int8",))
    assert names(tmp_path) == ["model"]


def test_limits_must_fit_the_model_and_the_run(tiny_reference, trained_run, tmp_path):
    folder = save_model(tiny_reference, tmp_path / "model")
    with pytest.raises(UnsuitableModel, match="512 positions; the limits need 515"):
        export(folder, tmp_path / "bundle", limits=Limits(history_tokens=480, item_tokens=32))
    with pytest.raises(ExportError, match="those the run was trained with"):
        export(trained_run, tmp_path / "bundle", limits=Limits(history_tokens=10, item_tokens=6))


# Other ways to fail


def test_a_graph_that_is_not_the_model_is_refused(trained_run, tmp_path, monkeypatch):
    original = architectures.write_cross_graph

    def perturb(trained, target):
        original(trained, target)
        model = onnx.load(target)
        weight = next(weight for weight in model.graph.initializer if weight.name == "logits_weight")
        values = numpy_helper.to_array(weight) + np.float32(0.05)
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        onnx.save(model, target)

    monkeypatch.setattr(architectures, "write_cross_graph", perturb)
    with pytest.raises(ExportError, match="the graph's logits differ from PyTorch's"):
        export(trained_run, tmp_path / "bundle", precisions=("fp32",))
    assert names(tmp_path) == []


@pytest.mark.parametrize("step", ["exporting", "gate", "quantizing"])
def test_an_interrupted_export_leaves_nothing(trained_run, tmp_path, step):
    def say(message):
        if message.startswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(trained_run, tmp_path / "bundle", ExportConfig(gate_lists=8), say=say)
    assert names(tmp_path) == []


def test_an_existing_bundle_is_not_touched_unasked(trained_run, trained_bundle):
    before = (trained_bundle / "onyxrank.json").stat().st_mtime_ns
    with pytest.raises(BundleError, match="replace it with --overwrite"):
        export(trained_run, trained_bundle)
    assert (trained_bundle / "onyxrank.json").stat().st_mtime_ns == before


def test_a_run_is_not_overwritten_by_its_bundle(trained_run):
    with pytest.raises(BundleError, match="something other than a bundle"):
        export(trained_run, trained_run, overwrite=True)
    assert (trained_run / "run.json").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: shutil.rmtree(data), "no longer at"),
        (lambda data: (data / "items.parquet").write_bytes((data / "other").read_bytes()), "has changed since"),
    ],
    ids=["gone", "changed"],
)
def test_data_that_is_not_what_it_was_must_be_named(trained_run, aisle_data, tmp_path, change, message):
    import polars as pl

    run_folder, data = shutil.copytree(trained_run, tmp_path / "run"), shutil.copytree(aisle_data, tmp_path / "data")
    items = pl.read_parquet(data / "items.parquet")
    items.with_columns(item_description=pl.lit("new")).write_parquet(data / "other")
    content = json.loads((run_folder / "run.json").read_text())
    content["data"]["path"] = str(data)
    (run_folder / "run.json").write_text(json.dumps(content))
    change(data)
    with pytest.raises(ExportError, match=message):
        export(run_folder, tmp_path / "bundle")
    assert "bundle" not in names(tmp_path)


@pytest.mark.parametrize(
    ("settings", "field"), [({"precisions": ("fp8",)}, "precision"), ({"gate_lists": 0}, "gate_lists")]
)
def test_impossible_settings_are_refused(settings, field):
    with pytest.raises(InvalidInput) as caught:
        ExportConfig(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("precisions", "with_data", "quantized"),
    [
        (None, True, ("int8",)),
        (None, False, ()),
        (("fp32",), True, ()),
        (("fp32", "int8_static"), True, ("int8_static",)),
    ],
)
def test_int8_is_made_where_there_is_data_to_gate_it_on(precisions, with_data, quantized):
    assert ExportConfig(precisions=precisions).quantized(with_data=with_data) == quantized
