from __future__ import annotations

import os

import pytest

from onyxrank import BundleError
from onyxrank.bundle.writing import file_entries, new_folder


@pytest.fixture
def bundle(tmp_path):
    """An existing bundle, as far as its folder goes."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "onyxrank.json").write_text("old")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole(tmp_path):
    target = tmp_path / "deep" / "bundle"
    with new_folder(target, overwrite=False) as folder:
        (folder / "file").write_text("new")
        assert not target.exists()
    assert names(target) == ["file"]
    assert names(target.parent) == ["bundle"]


def write_half(target, overwrite, error):
    with new_folder(target, overwrite=overwrite) as folder:
        (folder / "half").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_and_what_was_there(tmp_path, bundle, error):
    for target, overwrite in ((tmp_path / "fresh", False), (bundle, True)):
        with pytest.raises(error):
            write_half(target, overwrite, error)
    assert names(tmp_path) == ["bundle"]
    assert (bundle / "onyxrank.json").read_text() == "old"


def test_an_existing_bundle_is_replaced_only_when_asked(tmp_path, bundle):
    with pytest.raises(BundleError, match="replace it with --overwrite"), new_folder(bundle, overwrite=False):
        pass
    with new_folder(bundle, overwrite=True) as folder:
        (folder / "onyxrank.json").write_text("new")
    assert (bundle / "onyxrank.json").read_text() == "new"
    assert names(tmp_path) == ["bundle"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_between_the_two_renames_puts_the_old_bundle_back(tmp_path, bundle, monkeypatch, error):
    replace, calls = os.replace, []

    def fail_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(error), new_folder(bundle, overwrite=True) as folder:
        (folder / "onyxrank.json").write_text("new")
    assert (bundle / "onyxrank.json").read_text() == "old"
    assert names(tmp_path) == ["bundle"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="something other than a bundle"), new_folder(tmp_path, overwrite=True):
        pass
    assert names(tmp_path) == ["thesis.txt"]


def test_an_empty_folder_may_be_taken_over(tmp_path):
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty", overwrite=True) as folder:
        (folder / "file").write_text("new")
    assert names(tmp_path / "empty") == ["file"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_folder_is_refused(tmp_path, bundle, overwrite):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(bundle)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link", "dangling"):
        with (
            pytest.raises(BundleError, match=r"exists|is not a folder"),
            new_folder(tmp_path / name, overwrite=overwrite),
        ):
            pass


def test_entries_name_every_file_but_the_manifest(bundle):
    (bundle / "onnx").mkdir()
    (bundle / "onnx" / "model.onnx").write_bytes(b"abc")
    entries = file_entries(bundle)
    assert list(entries) == ["onnx/model.onnx"]
    assert entries["onnx/model.onnx"].bytes == 3
    assert entries["onnx/model.onnx"].sha256.startswith("ba7816bf")
