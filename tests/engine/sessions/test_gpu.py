"""What runs on a GPU ranks as the CPU does. Skips where onnxruntime offers none, or none runs."""

from __future__ import annotations

import numpy as np
import pytest

from exporting import ANYTHING, export
from onyxrank import ProviderUnavailable, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.tune.sample import SAMPLE_FILE, read_requests


@pytest.fixture(params=["cuda", "tensorrt"])
def provider(request, tiny_bundle):
    try:
        Ranker.load(tiny_bundle, provider=request.param).close()
    except ProviderUnavailable as error:
        pytest.skip(str(error))
    return request.param


@pytest.mark.parametrize("name", ["trained_bundle", "shared_bundle"])
def test_a_gpu_scores_as_the_cpu(provider, name, request):
    folder = request.getfixturevalue(name)
    sample = read_requests(open_bundle(folder).path(SAMPLE_FILE))
    with Ranker.load(folder, variant="fp32") as cpu, Ranker.load(folder, provider=provider) as gpu:
        assert gpu.info()["provider"] == provider
        for one in sample:
            np.testing.assert_allclose(
                gpu.score(one.history, one.items), cpu.score(one.history, one.items), atol=1e-4
            )


@pytest.mark.parametrize("name", ["trained_run", "shared_run"])
def test_half_precision_on_a_gpu_ranks_as_fp32_on_the_cpu(provider, name, request, tmp_path):
    folder = tmp_path / "bundle"
    export(request.getfixturevalue(name), folder, precisions=("fp16",), gate=ANYTHING)
    sample = read_requests(open_bundle(folder).path(SAMPLE_FILE))
    with (
        Ranker.load(folder, variant="fp32") as cpu,
        Ranker.load(folder, provider=provider, variant="fp16") as gpu,
    ):
        for one in sample:
            np.testing.assert_allclose(
                gpu.score(one.history, one.items), cpu.score(one.history, one.items), atol=5e-3
            )


@pytest.mark.parametrize("items", [1, 2, 7, 100, 1000])
def test_lists_of_any_length_fit_the_padded_sizes(provider, items, trained_bundle):
    titles = [" ".join(["tent"] * (1 + number % 9)) for number in range(items)]
    with Ranker.load(trained_bundle, variant="fp32") as cpu, Ranker.load(trained_bundle, provider=provider) as gpu:
        for history in ("", "lamp", ["tent pegs"] * 20):
            np.testing.assert_allclose(gpu.score(history, titles), cpu.score(history, titles), atol=1e-4)
