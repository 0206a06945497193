from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onyxrank import BundleError, InvalidInput, OnyxrankError, ProviderUnavailable
from onyxrank.architectures.cross import PAIR
from onyxrank.machine.cpus import instruction_sets, machine_family
from onyxrank.sessions.ort_session import OrtSession
from onyxrank.sessions.providers import PROVIDERS

GRAPH = PAIR
CPU = PROVIDERS["cpu"]
CPUINFO = Path("/proc/cpuinfo")


def feeds(rows=2, columns=5, fill=6):
    ids = np.full((rows, columns), fill, dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


@pytest.fixture
def session(tiny_bundle):
    opened = OrtSession(tiny_bundle / "onnx" / "model.onnx", GRAPH, CPU, 1)
    yield opened
    opened.close()


def sum_graph(path, inputs, output="logits", kind=TensorProto.INT64):
    """A graph that adds its inputs, to have any edges a test wants."""
    shape = ["batch_size", "sequence_length"]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Sum" if kind == TensorProto.FLOAT else "Max", inputs, [output])],
            "sum",
            [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
            [helper.make_tensor_value_info(output, kind, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, path)
    return path


def product_graph(path, *, static):
    """The product of uint8 activations, the ids, with weights of 127, as the static or the dynamic mode writes it."""
    make, tensor = helper.make_node, numpy_helper.from_array
    weights = [
        tensor(np.full((8, 2), 127, dtype=np.int8), "weights"),
        tensor(np.zeros(2, dtype=np.int8), "weights_zero"),
        tensor(np.ones(2, dtype=np.float32), "weights_scale"),
        tensor(np.float32(1), "scale"),
        tensor(np.uint8(0), "zero"),
    ]
    nodes = [make("Cast", ["input_ids"], ["x"], to=TensorProto.FLOAT)]
    if static:
        names = ["q", "weights", "scale", "weights_scale", "zero", "weights_zero"]
        nodes += [
            make("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            make("MatMulIntegerToFloat", names, ["logits"], domain="com.microsoft"),
        ]
    else:
        nodes += [
            make("DynamicQuantizeLinear", ["x"], ["q", "x_scale", "x_zero"]),
            make("MatMulInteger", ["q", "weights", "x_zero", "weights_zero"], ["sums"]),
            make("Cast", ["sums"], ["float_sums"], to=TensorProto.FLOAT),
            make("Mul", ["x_scale", "weights_scale"], ["both_scales"]),
            make("Mul", ["float_sums", "both_scales"], ["logits"]),
        ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", 8]) for name in GRAPH.inputs]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 2])]
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "product", inputs, outputs, weights),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
            ir_version=9,
        ),
        path,
    )
    return path


@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_exact_sums_do_not_saturate_on_any_cpu(tmp_path, static):
    session = OrtSession(product_graph(tmp_path / "model.onnx", static=static), GRAPH, CPU, 1, exact_sums=True)
    [logits] = session.run(feeds(columns=8, fill=255))
    session.close()
    assert logits == pytest.approx(8 * 255 * 127)


def test_other_sums_saturate_only_where_two_products_are_added_in_16_bits(tmp_path):
    session = OrtSession(product_graph(tmp_path / "model.onnx", static=True), GRAPH, CPU, 1)
    [logits] = session.run(feeds(columns=8, fill=255))
    session.close()
    exact, saturated = {8.0 * 255 * 127}, {4.0 * (2**15 - 1)}
    # By what the system tells of the CPU, which a run of the suite may hide from the engine.
    family = machine_family(instruction_sets(CPUINFO.read_text() if CPUINFO.exists() else ""))
    expected = {"avx2": saturated, "avx512": saturated, "other": exact | saturated}.get(family, exact)
    assert set(np.unique(logits).tolist()) <= expected


def test_runs_and_says_what_it_runs_on(session):
    [logits] = session.run(feeds())
    assert logits.shape == (2, 2)
    assert logits.dtype == np.float32
    info = session.info()
    assert info.providers == ("CPUExecutionProvider",)
    assert info.threads == 1
    assert info.onnxruntime_version == onnxruntime.__version__
    assert info.options["session.set_denormal_as_zero"] == "1"


def test_a_closed_session_says_so(session):
    session.close()
    session.close()
    with pytest.raises(OnyxrankError, match="closed"):
        session.run(feeds())


def test_a_failing_run_is_mapped_and_chained(session):
    with pytest.raises(OnyxrankError, match="failed to run") as caught:
        session.run(feeds(fill=1_000_000))
    assert caught.value.__cause__ is not None
    with pytest.raises(OnyxrankError, match="ValueError"):
        session.run({})


@pytest.mark.parametrize("content", [b"", b"not a model"], ids=["empty", "text"])
def test_a_file_that_is_no_model_is_a_bundle_error(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="cannot load") as caught:
        OrtSession(path, GRAPH, CPU, 1)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("inputs", "output", "kind", "message"),
    [
        (["input_ids", "attention_mask"], "logits", TensorProto.INT64, "no input token_type_ids"),
        ([*GRAPH.inputs, "position_ids"], "logits", TensorProto.INT64, "an unknown input position_ids"),
        ([*GRAPH.inputs], "scores", TensorProto.INT64, "no output logits"),
        ([*GRAPH.inputs], "logits", TensorProto.FLOAT, r"input input_ids of tensor\(float\)"),
    ],
    ids=["no-types", "extra-input", "other-output", "float-ids"],
)
def test_a_graph_with_other_edges_is_refused(tmp_path, inputs, output, kind, message):
    with pytest.raises(BundleError, match=message):
        OrtSession(sum_graph(tmp_path / "model.onnx", inputs, output, kind), GRAPH, CPU, 1)


@pytest.mark.parametrize("threads", [0, True, 1.5], ids=repr)
def test_threads_are_a_count(tiny_bundle, threads):
    with pytest.raises(InvalidInput) as caught:
        OrtSession(tiny_bundle / "onnx" / "model.onnx", GRAPH, CPU, threads)
    assert caught.value.field == "threads"


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_a_provider_that_does_not_really_run_is_not_taken_for_it(tiny_bundle):
    # onnxruntime only warns about a provider that it does not have, and goes on with the CPU.
    with (
        pytest.warns(UserWarning, match="not in available"),
        pytest.raises(ProviderUnavailable, match="cuda"),
    ):
        OrtSession(tiny_bundle / "onnx" / "model.onnx", GRAPH, PROVIDERS["cuda"], 1)


class LeavesAll:
    """A session whose provider is named, and runs nothing: a real one on the CPU, which tells of its nodes."""

    def __init__(self, path, options, providers, **_):
        assert options.get_session_config_entry("session.record_ep_graph_assignment_info") == "1"
        self._named = [name for name, _ in providers[:1]]
        self._real = ORIGINAL(path, options, providers=["CPUExecutionProvider"])

    def get_providers(self):
        return [*self._named, "CPUExecutionProvider"]

    def __getattr__(self, name):
        return getattr(self._real, name)


ORIGINAL = onnxruntime.InferenceSession


@pytest.mark.skipif(
    not hasattr(ORIGINAL, "get_provider_graph_assignment_info"), reason="this onnxruntime does not tell of nodes"
)
@pytest.mark.parametrize("name", ["coreml", "directml"])
def test_a_provider_that_leaves_every_node_to_the_cpu_does_not_run(tiny_bundle, monkeypatch, name):
    monkeypatch.setattr(onnxruntime, "InferenceSession", LeavesAll)
    with pytest.raises(ProviderUnavailable, match=r"it takes no node of the graph \(\d+ on CPUExecutionProvider\)"):
        OrtSession(tiny_bundle / "onnx" / "model.onnx", GRAPH, PROVIDERS[name], 1)


def test_a_provider_that_fails_to_start_is_unavailable(tiny_bundle, monkeypatch):
    def fail(*args, **kwargs):
        assert kwargs["enable_fallback"] == 0
        raise RuntimeError("libcudart.so not found")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(ProviderUnavailable, match="could not start it") as caught:
        OrtSession(tiny_bundle / "onnx" / "model.onnx", GRAPH, PROVIDERS["cuda"], 1)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_the_hosts_floating_point_mode_stays_as_it_was(tiny_bundle):
    code = (
        "import sys, onyxrank\n"
        "from pathlib import Path\n"
        "from onyxrank.sessions.ort_session import input_shapes\n"
        "assert input_shapes(Path(sys.argv[1]) / 'onnx' / 'model.onnx')\n"
        "assert float('2e-308') * float('0.25') > 0, 'denormals are flushed in the host'\n"
        "with onyxrank.Ranker.load(sys.argv[1], threads=2) as ranker:\n"
        "    ranker.score('tent', ['lamp', 'stove'])\n"
        "assert float('2e-308') * float('0.25') > 0, 'denormals are flushed in the host'\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_bundle)], check=True, timeout=60)
