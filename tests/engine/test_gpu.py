"""What runs on a GPU ranks as the CPU does. Skips where onnxruntime offers none, or none runs."""

from __future__ import annotations

import numpy as np
import pytest

from onyxrank import ProviderUnavailable, Ranker
from onyxrank._bundle import open_bundle
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
