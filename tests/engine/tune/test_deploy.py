from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from onyxrank import BundleError, OnyxrankError, Ranker
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine.cpus import machine_family
from onyxrank.sessions.tensorrt import engine_folder
from onyxrank.tune.deploy import check_deployable, deploy
from onyxrank.tune.options import TuneOptions
from onyxrank.tune.sample import SAMPLE_FILE, read_requests
from onyxrank.tune.tuning import tune_bundle

QUICK = TuneOptions(budget_s=1.0)


@pytest.fixture(params=["trained_bundle", "shared_bundle"])
def bundle(request):
    return open_bundle(request.getfixturevalue(request.param))


def test_a_slim_folder_holds_what_the_profile_needs_and_ranks_the_same(bundle, tmp_path):
    profile = tune_bundle(bundle, QUICK)
    slim = deploy(bundle, profile, tmp_path / "slim")
    [variant] = slim.variants
    assert set(variant.files.values()) <= set(slim.files)
    assert not any(name.endswith(".safetensors") for name in slim.files)
    request = read_requests(bundle.path(SAMPLE_FILE))[0]
    # Named, since int8 rounds a little otherwise on another provider.
    tuned = {"variant": variant.name, "provider": profile.setting.provider}
    with Ranker.load(tmp_path / "slim") as ours, Ranker.load(bundle.folder, **tuned) as theirs:
        assert ours.info()["profile"]["target"] == "latency"
        assert np.allclose(
            ours.score(request.history, request.items), theirs.score(request.history, request.items), atol=1e-5
        )
    with pytest.raises(BundleError, match="exists"):
        deploy(bundle, profile, tmp_path / "slim")
    deploy(bundle, profile, tmp_path / "slim", overwrite=True)
    again = open_bundle(tmp_path / "slim")
    for around in (tmp_path / "slim", tmp_path / "slim" / ".." / "slim"):
        with pytest.raises(BundleError, match="is the bundle that was tuned"):
            deploy(again, profile, around, overwrite=True)
    assert open_bundle(tmp_path / "slim").manifest == again.manifest


def test_tensorrts_engines_of_its_graphs_go_with_it(bundle, tmp_path):
    copy = shutil.copytree(bundle.folder, tmp_path / "copy")
    opened = open_bundle(copy)
    profile = tune_bundle(opened, QUICK)
    variant = opened.manifest.variant(profile.setting.variant)
    hashes = [opened.manifest.files[name].sha256 for name in variant.files.values()]
    for sha256 in (*hashes, "0" * 64):
        folder = engine_folder(copy, profile.fingerprint, sha256)
        folder.mkdir(parents=True)
        (folder / "a.engine").write_bytes(b"built")
    deploy(opened, profile, tmp_path / "slim")
    for sha256 in hashes:
        assert (engine_folder(tmp_path / "slim", profile.fingerprint, sha256) / "a.engine").read_bytes() == b"built"
    assert not engine_folder(tmp_path / "slim", profile.fingerprint, "0" * 64).exists()
    Ranker.load(tmp_path / "slim").close()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(bundle, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="cannot be written; name another file with --export"):
        check_deployable(bundle, tmp_path / "file" / "slim", overwrite=False)


def test_a_slim_folder_without_fp32_cannot_be_tuned(bundle, tmp_path):
    profile = tune_bundle(bundle, QUICK)
    mine = bundle.manifest.unasked(machine_family())
    quantized = next(each for each in mine if each.precision != "fp32")
    setting = dataclasses.replace(profile.setting, variant=quantized.name)
    deploy(bundle, dataclasses.replace(profile, setting=setting), tmp_path / "slim")
    with pytest.raises(OnyxrankError, match="tune the bundle that it was made of"):
        tune_bundle(open_bundle(tmp_path / "slim"), QUICK)
