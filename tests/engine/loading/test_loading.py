from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import onnxruntime
import pytest
from engine_fakes import FakeSession

from onyxrank import BundleError, InvalidInput, ProviderUnavailable, Ranker
from onyxrank.architectures.cross import PAIR, Cross
from onyxrank.architectures.shared_history import KEY_STEP
from onyxrank.bundle.entries import Variant
from onyxrank.bundle.opening import open_bundle
from onyxrank.bundle.variants import choose_variant
from onyxrank.loading import choices, load, parts
from onyxrank.loading.load import load_engine
from onyxrank.loading.options import LoadOptions
from onyxrank.loading.parts import load_encoder, open_sessions
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import machine_family
from onyxrank.sessions.ort_session import OrtSession
from onyxrank.sessions.providers import PROVIDERS, Provider
from onyxrank.sessions.shape_buckets import bucket

BOTH = ["CUDAExecutionProvider", "CPUExecutionProvider"]
CPU, CUDA, IN_BF16 = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["openvino_bf16"]
SETTING = Setting(variant="fp32", provider="cpu", threads=1, sessions=1, micro_batch_tokens=64)


def variant(name, precision, **facts):
    return Variant(name=name, precision=precision, files={"model": "onnx/model.onnx"}, **facts)


FP32 = variant("fp32", "fp32")
STATIC = variant("static", "int8_static", machines=("avx512_vnni", "arm64"))
DYNAMIC = variant("dynamic", "int8_dynamic", batch_invariant=False)
ANYWHERE = variant("anywhere", "int8_static")
BF16 = variant("bf16", "bf16")
BF16_REFUSED = variant("bf16", "bf16", gate={"passed": False})
BF16_DEPENDENT = variant("bf16", "bf16", batch_invariant=False)


@pytest.fixture
def bundle(tiny_bundle):
    return open_bundle(tiny_bundle)


@pytest.fixture
def manifest(bundle):
    return bundle.manifest


@pytest.mark.parametrize(
    ("variants", "asked", "provider", "family", "name", "reason"),
    [
        ((FP32,), "auto", CPU, "avx2", "fp32", "fp32 only"),
        ((FP32, DYNAMIC, STATIC), "auto", CPU, "avx512_vnni", "static", "made for avx512_vnni"),
        ((FP32, DYNAMIC, STATIC), "auto", CPU, "avx2", "fp32", "static is made for avx512_vnni, arm64"),
        ((FP32, DYNAMIC), "auto", CPU, "avx2", "fp32", "with dynamic a score would depend"),
        ((FP32, ANYWHERE), "auto", CPU, "other", "anywhere", "int8"),
        ((ANYWHERE, FP32), "auto", CUDA, "avx2", "fp32", "not faster on cuda"),
        ((FP32, DYNAMIC), "dynamic", CPU, "avx2", "dynamic", "depends on the other items"),
        ((FP32, STATIC), "static", CPU, "avx2", "static", "not gated on avx2"),
        ((FP32, STATIC), "fp32", CPU, "arm64", "fp32", "asked for by name"),
        ((FP32, ANYWHERE), "anywhere", CUDA, "avx2", "anywhere", "asked for by name"),
        ((ANYWHERE, FP32, BF16), "auto", IN_BF16, "avx2", "bf16", "judged it in bf16"),
        ((FP32, BF16), "auto", CPU, "avx2", "fp32", "fp32 only"),
        ((FP32, BF16_DEPENDENT), "bf16", IN_BF16, "avx2", "bf16", "depends on the other items"),
        ((FP32, BF16), "fp32", IN_BF16, "avx2", "fp32", "in which the gate has not judged it"),
    ],
    ids=[
        "only-fp32", "static", "other-machine", "batch-variant", "any-machine", "cuda", "named-variant",
        "named-other-machine", "named-fp32", "named-on-cuda", "bf16", "bf16-is-not-of-the-cpu", "named-bf16",
        "fp32-in-bf16",
    ],
)  # fmt: skip
def test_choice_of_variant(manifest, variants, asked, provider, family, name, reason):
    choice = choose_variant(dataclasses.replace(manifest, variants=variants), asked, provider, family)
    assert choice.variant.name == name
    assert reason in choice.reason


@pytest.mark.parametrize("name", ["trained_bundle", "shared_bundle"])
def test_sizes_repeat_where_each_costs_and_scores_stay(request, monkeypatch, name):
    folder = request.getfixturevalue(name)
    requests = [(["tent pegs"] * number, ["tent"] * (number + 1)) for number in range(9)]
    shapes = []
    run = OrtSession.run

    def spy(session, feeds):
        shapes.append({key: array.shape for key, array in feeds.items()})
        return run(session, feeds)

    def scores():
        shapes.clear()
        with Ranker.load(folder, variant="fp32") as ranker:
            return np.concatenate([ranker.score(*each) for each in requests])

    monkeypatch.setattr(OrtSession, "run", spy)
    expected = scores()
    monkeypatch.setattr(Provider, "pays_for_shapes", True)
    np.testing.assert_allclose(scores(), expected, rtol=0, atol=1e-6)
    assert all(rows == bucket(rows) for rows, _ in (shape["input_ids"] for shape in shapes))
    keys = {shape["keys"][-1] for shape in shapes if "keys" in shape}
    assert keys == ({KEY_STEP} if name == "shared_bundle" else set()), "histories of all lengths here have one size"


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ((), "the bundle has none: `onyxrank export --precision bf16` makes it"),
        ((BF16_REFUSED,), "bf16 was refused by the quality gate"),
        ((BF16_DEPENDENT,), "with bf16 a score would depend on the other items"),
    ],
    ids=["none", "refused", "batch-variant"],
)
def test_nothing_runs_in_bf16_unasked_that_was_not_judged_so(manifest, own, why):
    with pytest.raises(BundleError, match=why):
        choose_variant(dataclasses.replace(manifest, variants=(ANYWHERE, FP32, *own)), "auto", IN_BF16, "avx2")


def test_bf16_named_for_a_provider_that_computes_in_fp32(manifest):
    with pytest.raises(InvalidInput, match="cpu does not: ask for provider='openvino_bf16' too"):
        choose_variant(dataclasses.replace(manifest, variants=(FP32, BF16)), "bf16", CPU, "avx2")


def test_no_variant_to_take_unasked(manifest):
    dependent = dataclasses.replace(FP32, batch_invariant=False)
    with pytest.raises(BundleError, match="ask for one by name: fp32"):
        choose_variant(dataclasses.replace(manifest, variants=(dependent,)), "auto", CPU, "avx2")


def test_an_unknown_variant_lists_the_known(tiny_bundle):
    with pytest.raises(InvalidInput, match="no variant 'int4'; choose auto or one of fp32") as caught:
        Ranker.load(tiny_bundle, variant="int4")
    assert caught.value.field == "variant"


def test_a_variant_for_other_machines_is_noted(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    data = json.loads((folder / "onyxrank.json").read_text())
    data["variants"].append({**data["variants"][0], "name": "foreign", "machines": ["elsewhere"]})
    (folder / "onyxrank.json").write_text(json.dumps(data))
    with Ranker.load(folder, variant="foreign", threads=1) as ranker:
        info = ranker.info()
    assert info["variant"] == "foreign"
    assert f"made for elsewhere and not gated on {machine_family()}" in info["variant_reason"]
    assert info["session_options"]["session.x64quantprecision"] == "1", "its sums must not saturate here"


def test_a_variant_made_for_this_machine_keeps_the_fast_sums(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=1) as ranker:
        assert "session.x64quantprecision" not in ranker.info()["session_options"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threads", 0),
        ("threads", True),
        ("micro_batch_tokens", 0),
        ("sessions", 0),
        ("profile", 3),
        ("provider", "tpu"),
    ],
)
def test_options_are_checked(tiny_bundle, option, value):
    with pytest.raises(InvalidInput) as caught:
        Ranker.load(tiny_bundle, **{option: value})
    assert caught.value.field == option


def test_no_profile_is_fine(tiny_bundle):
    Ranker.load(tiny_bundle, profile=None, threads=1).close()


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_cuda_on_a_machine_without_it(tiny_bundle):
    with pytest.raises(ProviderUnavailable, match=r"'cuda' is not available.*onyxrank\[gpu\]"):
        Ranker.load(tiny_bundle, provider="cuda")
    with Ranker.load(tiny_bundle, threads=1) as ranker:
        info = ranker.info()
    assert info["provider"] == "cpu"
    assert info["provider_notes"] == ["cuda: not offered by this onnxruntime"]


class Refusing:
    """Stands for sessions of a machine where CUDA is offered and does not start."""

    def __init__(self, works):
        self.works, self.opened = works, []

    def __call__(self, path, graph, provider, threads, more, *, exact_sums):
        if provider.name not in self.works:
            raise ProviderUnavailable(f"{provider.name} does not start")
        self.opened.append(FakeSession())
        return self.opened[-1]


@pytest.mark.parametrize(
    ("asked", "works", "running"),
    [("auto", ["cuda", "cpu"], "cuda"), ("auto", ["cpu"], "cpu"), ("cuda", ["cuda"], "cuda")],
)
def test_auto_falls_back_and_says_so(bundle, monkeypatch, asked, works, running):
    monkeypatch.setattr(choices, "offered_providers", lambda asked: BOTH)
    monkeypatch.setattr(parts, "OrtSession", Refusing(works))
    facts = load_engine(bundle, LoadOptions(provider=asked)).facts
    assert (facts["provider_asked"], facts["provider"]) == (asked, running)
    assert facts["provider_notes"] == ([] if running == "cuda" else ["cuda: cuda does not start"])


@pytest.mark.parametrize(("asked", "works"), [("cuda", ["cpu"]), ("auto", [])])
def test_what_does_not_start_is_an_error(bundle, monkeypatch, asked, works):
    monkeypatch.setattr(choices, "offered_providers", lambda asked: BOTH)
    monkeypatch.setattr(parts, "OrtSession", Refusing(works))
    with pytest.raises(ProviderUnavailable, match="does not start"):
        load_engine(bundle, LoadOptions(provider=asked))


def test_a_bundle_of_one_int8_graph_runs_where_cuda_is_offered(bundle, monkeypatch):
    slim = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, variants=(ANYWHERE,)))
    monkeypatch.setattr(choices, "offered_providers", lambda asked: BOTH)
    monkeypatch.setattr(parts, "OrtSession", Refusing(["cuda", "cpu"]))
    facts = load_engine(slim, LoadOptions()).facts
    assert (facts["variant"], facts["provider"]) == ("anywhere", "cpu")
    [note] = facts["provider_notes"]
    assert note.startswith("cuda: no variant of this bundle is batch-invariant")
    monkeypatch.setattr(choices, "offered_providers", lambda asked: BOTH[:1])
    with pytest.raises(BundleError, match="no variant of this bundle is batch-invariant"):
        load_engine(slim, LoadOptions())


def test_an_onnxruntime_without_any_known_provider(bundle, monkeypatch):
    monkeypatch.setattr(choices, "offered_providers", lambda asked: ["AzureExecutionProvider"])
    with pytest.raises(ProviderUnavailable, match="no provider that onyxrank knows"):
        load_engine(bundle, LoadOptions())


def test_sessions_opened_before_a_failure_are_closed(bundle, monkeypatch):
    opened = []

    def fail_second(*args, **more):
        if opened:
            raise BundleError("second graph")
        opened.append(FakeSession())
        return opened[0]

    monkeypatch.setattr(Cross, "graphs", {"model": PAIR, "other": PAIR})
    monkeypatch.setattr(parts, "OrtSession", fail_second)
    both = dataclasses.replace(FP32, files={"model": "onnx/model.onnx", "other": "onnx/model.onnx"})
    with pytest.raises(BundleError, match="second graph"):
        open_sessions(bundle, both, SETTING)
    assert opened[0].closed == 1


@pytest.mark.parametrize(
    ("threads", "sessions", "expected"),
    [(2, 1, [2, 2]), (1, 4, [4, 1]), (2, 2, [4, 2, 2]), (1, 9, [4, 1]), (6, 1, [6, 6])],
    ids=["one", "on-one-thread-each", "on-two-each", "no-more-than-cpus", "as-asked"],
)
def test_a_history_has_the_threads_that_all_runs_have(shared_bundle, monkeypatch, threads, sessions, expected):
    opened = []

    def fake(path, graph, provider, threads, more, **exact):
        opened.append(threads)
        return FakeSession()

    monkeypatch.setattr(parts, "OrtSession", fake)
    monkeypatch.setattr(parts, "usable_cpus", lambda: 4)
    bundle = open_bundle(shared_bundle)
    setting = dataclasses.replace(SETTING, threads=threads, sessions=sessions)
    open_sessions(bundle, bundle.manifest.variant("fp32"), setting)
    assert opened == expected


@pytest.mark.parametrize("kind", ["tiny_bundle", "shared_bundle"])
def test_as_many_runs_at_once_share_a_list_evenly(kind, request):
    bundle = open_bundle(request.getfixturevalue(kind))
    with (
        Ranker.load(bundle.folder, variant="fp32") as one,
        Ranker.load(bundle.folder, variant="fp32", sessions=2) as two,
    ):
        titles = [f"lamp {number}" for number in range(10)]
        np.testing.assert_allclose(two.score(["desk"], titles), one.score(["desk"], titles), atol=1e-6)
        histories = kind == "shared_bundle"
        assert one.info()["queue"]["runs"] == 1 + histories
        assert two.info()["queue"]["runs"] == 2 + histories


def test_a_tokenizer_that_cannot_be_used_is_a_bundle_error(bundle, tmp_path):
    spec = dataclasses.replace(bundle.manifest.tokenizer, sep_token="<s>")
    strange = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, tokenizer=spec))
    with pytest.raises(BundleError, match=r"no \[CLS\] or <s> token"):
        load_encoder(strange)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="tokenizers cannot read"):
        load_encoder(dataclasses.replace(bundle, folder=tmp_path))


def test_a_setting_of_numpys_numbers_is_of_pythons():
    counts = {"threads": np.int64(2), "sessions": np.int32(1), "micro_batch_tokens": np.int64(64)}
    setting = dataclasses.replace(SETTING, **counts)
    assert [type(getattr(setting, name)) for name in counts] == [int, int, int]


def test_sessions_are_closed_where_the_engine_cannot_be_assembled(bundle, monkeypatch):
    session = FakeSession()
    monkeypatch.setattr(type(bundle), "pad_id", lambda self: read_json_fails())
    setting = dataclasses.replace(SETTING, variant=bundle.manifest.variants[0].name)
    with pytest.raises(BundleError, match="damaged"):
        load.assemble(bundle, {"model": session}, setting)
    assert session.closed == 1


def read_json_fails():
    raise BundleError("config.json is damaged")


def test_a_variant_whose_scores_depend_on_the_batch_is_not_shared(bundle):
    [shared, alone] = [
        load.assemble(
            dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, variants=(variant,))),
            {"model": FakeSession()},
            dataclasses.replace(SETTING, variant=variant.name),
        ).architecture.limits.shared
        for own in (True, False)
        for variant in [dataclasses.replace(bundle.manifest.variants[0], batch_invariant=own)]
    ]
    assert (shared, alone) == (True, False)
