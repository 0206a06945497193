from __future__ import annotations

import pytest

from onyxrank import InvalidInput, ProviderUnavailable
from onyxrank.sessions.providers import PROVIDERS, candidates, check_nodes, check_running

BOTH = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("asked", "offered", "names"),
    [
        ("auto", BOTH, ["cuda", "cpu"]),
        ("auto", ["AzureExecutionProvider", "CPUExecutionProvider"], ["cpu"]),
        ("auto", ["AzureExecutionProvider"], []),
        ("cpu", BOTH, ["cpu"]),
        ("cuda", BOTH, ["cuda"]),
        ("auto", ["OpenVINOExecutionProvider", "CPUExecutionProvider"], ["cpu"]),
        ("openvino_bf16", ["OpenVINOExecutionProvider"], ["openvino_bf16"]),
    ],
    ids=["auto-both", "auto-cpu", "auto-none", "cpu", "cuda", "only-unasked", "named"],
)
def test_candidates(asked, offered, names):
    assert [provider.name for provider in candidates(asked, offered)] == names


def test_a_provider_not_offered_says_what_to_install():
    with pytest.raises(ProviderUnavailable, match=r"offers CPUExecutionProvider only.*onyxrank\[gpu\]"):
        candidates("cuda", ["CPUExecutionProvider"])


@pytest.mark.parametrize("asked", ["gpu", "CPU", "", "CUDAExecutionProvider"])
def test_an_unknown_provider_lists_the_known(asked):
    with pytest.raises(InvalidInput, match="auto, cuda, cpu") as caught:
        candidates(asked, BOTH)
    assert caught.value.field == "provider"


@pytest.mark.parametrize("running", [["CPUExecutionProvider"], BOTH[::-1], []], ids=["other", "second", "none"])
def test_what_runs_must_be_what_was_asked(running):
    with pytest.raises(ProviderUnavailable, match="instead"):
        check_running(PROVIDERS["cuda"], running)


def test_what_runs_may_have_the_cpu_behind_it():
    check_running(PROVIDERS["cuda"], BOTH)


def test_a_provider_that_takes_no_node_does_not_run():
    with pytest.raises(ProviderUnavailable, match=r"it takes no node of the graph \(128 on CPUExecutionProvider\)"):
        check_nodes(PROVIDERS["coreml"], {"CPUExecutionProvider": 128})


@pytest.mark.parametrize("nodes", [{}, {"CoreMLExecutionProvider": 1, "CPUExecutionProvider": 127}])
def test_a_provider_runs_that_takes_some_or_of_which_nothing_is_told(nodes):
    check_nodes(PROVIDERS["coreml"], nodes)
