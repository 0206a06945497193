"""A plugin provider, with fakes of onnxruntime and of the plugin; and the real one where it runs."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from onyxrank import ProviderUnavailable, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine import cpus
from onyxrank.sessions import plugins
from onyxrank.sessions.plugins import plugin_devices
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.tune.sample import sample_of

OPENVINO = PROVIDERS["openvino"]


class Runtime:
    """An onnxruntime that finds these devices."""

    __version__ = "9"

    def __init__(self, *devices, fails=False):
        self._devices, self._fails, self.registered = devices, fails, []

    def register_execution_provider_library(self, name, path):
        if self._fails:
            raise RuntimeError("no such library")
        self.registered.append((name, path))

    def get_ep_devices(self):
        return self._devices


def device(provider="OpenVINOExecutionProvider", kind="CPU"):
    return SimpleNamespace(ep_name=provider, ep_metadata={"ov_device": kind})


@pytest.fixture
def installed(monkeypatch):
    plugin = SimpleNamespace(get_library_path=lambda: "/plugin.so")
    monkeypatch.setitem(sys.modules, OPENVINO.plugin, plugin)
    monkeypatch.setattr(plugins, "_registered", set())


def test_the_device_asked_for_is_taken_and_the_plugin_registered_once(installed):
    wanted = device()
    runtime = Runtime(device("CPUExecutionProvider"), device(kind="GPU"), wanted)
    assert plugin_devices(OPENVINO, runtime) == [wanted] == plugin_devices(OPENVINO, runtime)
    assert runtime.registered == [(OPENVINO.plugin, "/plugin.so")]


def test_a_machine_it_does_not_run_on(installed):
    with pytest.raises(ProviderUnavailable, match=r"finds no CPU here that it runs on.*Intel"):
        plugin_devices(OPENVINO, Runtime(device(kind="GPU")))


def test_an_onnxruntime_that_does_not_take_it_is_asked_again_next_time(installed):
    with pytest.raises(ProviderUnavailable, match="onnxruntime 9 does not take"):
        plugin_devices(OPENVINO, Runtime(fails=True))
    assert plugin_devices(OPENVINO, Runtime(device()))


def test_a_plugin_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, OPENVINO.plugin, None)
    with pytest.raises(ProviderUnavailable, match=r"is not installed.*onyxrank\[openvino\]"):
        plugin_devices(OPENVINO, Runtime(device()))


@pytest.mark.parametrize("flags", [{"avx2"}, {"avx2", "avx512_bf16"}], ids=["without", "with"])
def test_bf16_is_for_processors_that_have_it(installed, monkeypatch, flags):
    monkeypatch.setattr(cpus, "instruction_sets", lambda: frozenset(flags))
    runtime, provider = Runtime(device()), PROVIDERS["openvino_bf16"]
    if "avx512_bf16" in flags:
        assert plugin_devices(provider, runtime)
    else:
        with pytest.raises(ProviderUnavailable, match="this CPU has none of amx_bf16, avx512_bf16, bf16"):
            plugin_devices(provider, runtime)
    assert plugin_devices(OPENVINO, runtime), "which fp32 does not ask"


def test_threads_and_precision_go_into_its_configuration():
    [(key, value)] = PROVIDERS["openvino_bf16"].session_options(3).items()
    assert key == "load_config"
    assert json.loads(value) == {"CPU": {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": "3"}}
    assert PROVIDERS["cuda"].session_options(3) == PROVIDERS["cuda"].options


# bf16 has eight bits, and the scores of the random model go through two layers in it.
@pytest.mark.parametrize(("name", "tolerance"), [("openvino", 1e-3), ("openvino_bf16", 5e-2)])
def test_openvino_scores_as_the_cpu_does(tiny_bundle, name, tolerance):
    try:
        ranker = Ranker.load(tiny_bundle, provider=name, threads=1, variant="fp32")
    except ProviderUnavailable as error:
        pytest.skip(str(error))
    items = ["steel tent", "desk lamp", "red running shoes"]
    with ranker, Ranker.load(tiny_bundle, provider="cpu", threads=1, variant="fp32") as cpu:
        assert ranker.info()["session_providers"][0] == "OpenVINOExecutionProvider"
        assert cpu.info()["session_nodes"] == {}
        if hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
            assert ranker.info()["session_nodes"]["OpenVINOExecutionProvider"] > 50
        assert np.allclose(ranker.score(["tent"], items), cpu.score(["tent"], items), atol=tolerance)


@pytest.mark.parametrize("name", ["trained_bundle", "shared_bundle"])
def test_openvino_runs_what_may_be_taken_unasked(request, name):
    bundle = open_bundle(request.getfixturevalue(name))
    for variant in (each.name for each in bundle.manifest.unasked(cpus.machine_family())):
        try:
            ranker = Ranker.load(bundle.folder, provider="openvino", threads=1, variant=variant)
        except ProviderUnavailable as error:
            pytest.skip(str(error))
        with ranker, Ranker.load(bundle.folder, provider="cpu", threads=1, variant=variant) as cpu:
            for each in sample_of(bundle, None)[0][:8]:
                scores = ranker.score(each.history, each.items)
                assert np.allclose(scores, cpu.score(each.history, each.items), atol=5e-3), variant
