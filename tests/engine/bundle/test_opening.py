from __future__ import annotations

import json
import os
import shutil

import pytest

from onyxrank import BundleError, Ranker
from onyxrank.bundle.opening import find_faults, open_bundle, read_json, verify_files


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def edit(bundle, change):
    path = bundle / "onyxrank.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_an_intact_bundle_opens(bundle):
    opened = open_bundle(str(bundle))
    assert opened.folder == bundle
    assert opened.path("onnx/model.onnx").is_file()
    assert find_faults(bundle, opened.manifest) == {}
    assert opened.pad_id() == 0


@pytest.mark.parametrize("name", ["onnx/model.onnx", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
def test_one_changed_byte_is_found(bundle, name, place):
    content = bytearray((bundle / name).read_bytes())
    content[place] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: altered"):
        Ranker.load(bundle)


def test_all_faulty_files_are_named_at_once(bundle):
    manifest = open_bundle(bundle).manifest
    (bundle / "onnx" / "model.onnx").unlink()
    with (bundle / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(BundleError, match=r"onnx/model.onnx: missing; tokenizer.json: \d+ bytes instead of \d+"):
        verify_files(bundle, manifest)


def test_a_newer_schema_is_refused(bundle):
    edit(bundle, lambda data: data.update(schema_version=3))
    with pytest.raises(BundleError, match="schema version 3"):
        Ranker.load(bundle)


def test_a_path_that_leaves_the_folder_is_refused(bundle):
    shutil.copy(bundle / "tokenizer.json", bundle.parent / "tokenizer.json")

    def leave(data):
        data["files"]["../tokenizer.json"] = data["files"].pop("tokenizer.json")
        data["tokenizer"]["file"] = "../tokenizer.json"

    edit(bundle, leave)
    with pytest.raises(BundleError, match="not a plain path inside"):
        Ranker.load(bundle)


def test_a_link_that_leaves_the_folder_is_refused(bundle):
    outside = bundle.parent / "tokenizer.json"
    (bundle / "tokenizer.json").rename(outside)
    (bundle / "tokenizer.json").symlink_to(outside)
    with pytest.raises(BundleError, match="a link that leaves the folder"):
        Ranker.load(bundle)


@pytest.fixture(params=["", "small"], ids=["repository", "folder"])
def snapshot(bundle, request):
    """The bundle as a snapshot in a Hugging Face cache, where every file is a link to one of its blobs."""
    repository = bundle.parent / "hub" / "models--shop--ranker"
    folder = repository / "snapshots" / "0123abcd" / request.param
    (repository / "blobs").mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in bundle.rglob("*") if path.is_file())):
        blob, link = repository / "blobs" / f"{number:040x}", folder / path.relative_to(bundle)
        shutil.move(path, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return folder


def test_a_snapshot_of_a_cache_is_a_bundle(snapshot):
    assert open_bundle(snapshot).folder == snapshot
    link = snapshot.parent / "link"
    link.symlink_to(snapshot)
    with Ranker.load(link, threads=1) as ranker:
        assert len(ranker.rank("tent", ["lamp", "stove"])) == 2


def test_a_snapshot_may_not_link_elsewhere(snapshot):
    repository = next(each.parent for each in snapshot.parents if each.name == "snapshots")
    (snapshot / "tokenizer.json").unlink()
    for place in (repository / "tokenizer.json", repository.parent / "blobs" / "t", snapshot.parent / "other" / "t"):
        place.parent.mkdir(exist_ok=True)
        place.write_text("{}")
        (snapshot / "tokenizer.json").symlink_to(place)
        with pytest.raises(BundleError, match=r"tokenizer\.json: a link that leaves the folder"):
            open_bundle(snapshot)
        (snapshot / "tokenizer.json").unlink()


def test_a_changed_blob_of_a_snapshot_is_found(snapshot):
    blob = (snapshot / "tokenizer.json").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b" ")
    with pytest.raises(BundleError, match=r"tokenizer\.json: altered"):
        open_bundle(snapshot)


def test_blobs_beside_any_other_folder_are_elsewhere(bundle):
    (bundle.parent / "blobs").mkdir()
    outside = bundle.parent / "blobs" / "tokenizer.json"
    (bundle / "tokenizer.json").rename(outside)
    (bundle / "tokenizer.json").symlink_to(outside)
    with pytest.raises(BundleError, match="a link that leaves the folder"):
        open_bundle(bundle)


def test_a_link_inside_the_folder_is_fine(bundle):
    (bundle / "tokenizer.json").rename(bundle / "real.json")
    (bundle / "tokenizer.json").symlink_to("real.json")
    open_bundle(bundle)


def test_a_bundle_may_itself_be_a_link(bundle):
    (bundle.parent / "link").symlink_to(bundle)
    open_bundle(bundle.parent / "link")


def test_a_file_that_cannot_be_read_is_named(bundle, monkeypatch):
    manifest = open_bundle(bundle).manifest

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("onyxrank.bundle.opening.hash_file", refuse)
    assert set(find_faults(bundle, manifest).values()) == {"unreadable (Permission denied)"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b'{"a": NaN}', "cannot be read as JSON"),
        (b"[" * 200_000, "cannot be read as JSON"),
        (b"[]", "must be an object"),
    ],
    ids=["cut", "not-utf8", "nan", "deep", "list"],
)
def test_an_unreadable_manifest_is_refused(bundle, content, message):
    (bundle / "onyxrank.json").write_bytes(content)
    with pytest.raises(BundleError, match=message):
        open_bundle(bundle)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="there is no folder"):
        open_bundle(tmp_path / "absent")
    with pytest.raises(BundleError, match=r"it has no onyxrank\.json"):
        open_bundle(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="there is no folder"):
        open_bundle(os.fspath(tmp_path / "file"))


@pytest.mark.parametrize(
    ("content", "pad_id"), [('{"pad_token_id": 7}', 7), ('{"pad_token_id": null}', 0), ("{}", 0)]
)
def test_pad_id_comes_from_the_config(bundle, content, pad_id):
    opened = open_bundle(bundle)
    (bundle / "config.json").write_text(content)
    assert opened.pad_id() == pad_id


def test_pad_id_without_a_readable_config(bundle):
    opened = open_bundle(bundle)
    (bundle / "config.json").write_text("[]")
    with pytest.raises(BundleError, match="not a JSON object"):
        opened.pad_id()
    edit(bundle, lambda data: data["files"].pop("config.json"))
    assert open_bundle(bundle).pad_id() == 0
    assert read_json(bundle / "config.json") == []


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b"], ids=["long", "zero byte"])
def test_a_path_that_the_system_does_not_take_is_no_bundle(path):
    with pytest.raises(BundleError, match=r"there is no folder .+ \(.+\)"):
        Ranker.load(path)


def test_a_folder_that_may_not_be_looked_into_is_no_bundle(bundle, monkeypatch):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.stat", refuse)
    with pytest.raises(BundleError, match=r"\(Permission denied\)"):
        open_bundle(bundle)
