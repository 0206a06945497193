from __future__ import annotations

import copy
import json

import pytest

from onyxrank import BundleError
from onyxrank.architectures.readout import Readout
from onyxrank.bundle.manifest import SCHEMA_VERSION, Manifest

FILE = {"sha256": "0" * 64, "bytes": 12}
VALID = {
    "schema_version": 2,
    "onyxrank_version": "0.1.0",
    "architecture": "cross",
    "head": "softmax",
    "limits": {"history_tokens": 64, "item_tokens": 32},
    "truncation": {"history": "newest", "item": "title_first", "separator": ";"},
    "tokenizer": {"file": "tokenizer.json", "cls_token": "[CLS]", "sep_token": "[SEP]", "prefix_safe": True},
    "variants": [
        {
            "name": "fp32",
            "precision": "fp32",
            "files": {"model": "onnx/model.onnx"},
            "machines": [],
            "batch_invariant": True,
            "batch_deviation": 1e-7,
            "gate": None,
            "readout": {"slope": 1, "offset": 0, "margins": [], "log_odds": [], "shift": 0},
            "calibration": None,
        },
        {
            "name": "int8",
            "precision": "int8_static",
            "files": {"model": "onnx/int8.onnx"},
            "machines": ["avx512_vnni"],
            "batch_invariant": True,
            "batch_deviation": 0,
            "gate": {"auc": {"delta": 0.001}, "passed": True},
            "readout": {"slope": 1, "offset": 0, "margins": [-1.5, 2.0], "log_odds": [-3, 1.5], "shift": -0.5},
            "calibration": {"form": "isotonic", "lists": 512},
        },
    ],
    "files": {"onnx/model.onnx": FILE, "onnx/int8.onnx": FILE, "tokenizer.json": FILE},
    "parity": {"max_logit": 1e-6, "nested": [1, {"a": None}]},
    "gate": {"forced": False},
    "training": {"seed": 1},
}


def changed(path, value):
    """A valid manifest with the value at a dotted path replaced, or removed if it is `...`."""
    data = copy.deepcopy(VALID)
    *parents, last = [int(key) if key.isdecimal() else key for key in path.split("/")]
    place = data
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return data


def test_parse_and_to_json_are_inverse():
    manifest = Manifest.parse(VALID)
    assert manifest.to_json() == VALID
    assert Manifest.parse(json.loads(json.dumps(manifest.to_json()))) == manifest
    assert manifest.variants[1].machines == ("avx512_vnni",)
    assert manifest.gate == {"forced": False}


def test_bundles_of_the_first_schema_have_the_logistic_function():
    first = copy.deepcopy(VALID) | {"schema_version": 1}
    for variant in first["variants"]:
        del variant["readout"], variant["calibration"]
    manifest = Manifest.parse(first)
    assert [(each.readout, each.calibration) for each in manifest.variants] == [(Readout(), None)] * 2
    first["variants"][0]["readout"] = VALID["variants"][0]["readout"]
    with pytest.raises(BundleError, match="readout: no such key in this schema version"):
        Manifest.parse(first)


def test_variants_know_their_machines():
    fp32, int8 = Manifest.parse(VALID).variants
    assert fp32.runs_on("other")
    assert int8.runs_on("avx512_vnni")
    assert not int8.runs_on("avx2")


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_a_newer_schema_is_refused_before_anything_else(version):
    with pytest.raises(BundleError, match=f"schema version {version}.*newer"):
        Manifest.parse({"schema_version": version})


def every_key(data, prefix=""):
    for key, value in data.items():
        yield prefix + key
        if isinstance(value, dict) and key not in ("parity", "gate", "training", "files", "calibration"):
            yield from every_key(value, f"{prefix}{key}/")


KEYS = [
    *every_key(VALID),
    *every_key(VALID["variants"][1], "variants/1/"),
    *every_key(FILE, "files/tokenizer.json/"),
]


@pytest.mark.parametrize("path", KEYS)
def test_a_missing_key_is_named(path):
    with pytest.raises(BundleError, match=path.rsplit("/", 1)[-1]):
        Manifest.parse(changed(path, ...))


@pytest.mark.parametrize("path", KEYS)
def test_a_value_of_the_wrong_type_is_named(path):
    with pytest.raises(BundleError, match=path.rsplit("/", 1)[-1]):
        Manifest.parse(changed(path, [[]]))


@pytest.mark.parametrize(
    "place",
    ["", "limits/", "truncation/", "tokenizer/", "variants/0/", "variants/0/readout/", "files/tokenizer.json/"],
)
def test_an_unknown_key_is_named(place):
    with pytest.raises(BundleError, match="surprise: no such key"):
        Manifest.parse(changed(f"{place}surprise", 1))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema_version", 0, "at least 1"),
        ("schema_version", True, "whole number"),
        ("architecture", "shared-later", "newer onyxrank"),
        ("head", "argmax", "head must be one of"),
        ("limits/item_tokens", 0, "at least 1"),
        ("truncation/history", "oldest", "truncation.history"),
        ("variants", [], "there are no variants"),
        ("variants/0", 3, "variants.0. must be an object"),
        ("variants/0/precision", "int4", "precision must be"),
        ("variants/0/name", "int8", "same name"),
        ("variants/0/name", "auto", "other than 'auto'"),
        ("variants/0/name", "", "some text"),
        ("variants/0/machines", [1], r"machines\[0\] must be a string"),
        ("variants/0/files", {}, "must name the files model"),
        ("variants/0/files", {"model": "onnx/model.onnx", "items": "onnx/model.onnx"}, "and no other"),
        ("variants/0/files/model", "onnx/absent.onnx", "not listed under files"),
        ("variants/0/batch_deviation", None, "must be a number, not null"),
        ("variants/0/readout/slope", -1, "slope must be above 0"),
        ("variants/1/readout/log_odds", [1, 0], "must not descend"),
        ("variants/1/readout/margins", ["1", 2], r"readout.margins\[0\] must be a number"),
        ("tokenizer/file", "absent.json", "not listed under files"),
        ("tokenizer/prefix_safe", 1, "true or false"),
        ("files/tokenizer.json/sha256", "0" * 63 + "G", "hexadecimal"),
        ("files/tokenizer.json/bytes", -1, "negative"),
        ("files/tokenizer.json", None, "must be an object"),
    ],
)
def test_a_value_out_of_range_is_named(path, value, message):
    with pytest.raises(BundleError, match=message):
        Manifest.parse(changed(path, value))


@pytest.mark.parametrize("data", [None, [], "text", 1], ids=repr)
def test_a_manifest_is_an_object(data):
    with pytest.raises(BundleError, match="must be an object"):
        Manifest.parse(data)


OUTSIDE = [
    "../model.onnx", "/etc/passwd", "onnx/../../x", "onnx\\..\\x", "C:/x", "C:x", "..", ".", "", "a//b",
    "./a", "a/", "a\0b", "//host/share",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE, ids=repr)
@pytest.mark.parametrize("place", ["tokenizer", "variant", "files"])
def test_a_path_that_leaves_the_folder_is_refused(place, path):
    data = copy.deepcopy(VALID)
    data["files"][path] = FILE
    if place == "tokenizer":
        data["tokenizer"]["file"] = path
    elif place == "variant":
        data["variants"][0]["files"]["model"] = path
    with pytest.raises(BundleError, match="not a plain path inside the bundle"):
        Manifest.parse(data)
