"""Every block of code that readers are shown is run."""

from __future__ import annotations

import re
import shutil

import pytest
from doc_exceptions import COVERED, ELSEWHERE, HOOKS, SUBSTITUTIONS, UNRUN
from doc_folder import copy_bundle, write_data, write_requests
from doc_pages import CODE_PAGES, blocks_of
from doc_runner import Page, commands_of

RUN = [page for page in CODE_PAGES if blocks_of(page)]
TRAINS = {"README.md", "docs/quickstart.md", "docs/train.md"}
"""Pages that make their bundle themselves."""


@pytest.fixture
def folder(tmp_path, monkeypatch, trained_bundle, shared_bundle, trained_run):
    """What the names in the blocks stand for."""

    def make(page):
        write_requests(tmp_path)
        write_data(tmp_path)
        copy_bundle(shared_bundle, tmp_path / "demo/shared-history/bundle")
        if page not in TRAINS:
            copy_bundle(shared_bundle, tmp_path / "bundle")
        if page == "docs/train.md":
            shutil.copytree(trained_run, tmp_path / "model", ignore=shutil.ignore_patterns("run.json", "checkpoints"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("COLUMNS", "100")
        return tmp_path

    return make


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_every_block_runs(page, folder):
    if any("curl " in block.text for block in blocks_of(page)) and shutil.which("curl") is None:
        pytest.skip("the page asks a server with curl, which is not here")
    with Page(folder(page)) as running:
        for block in blocks_of(page):
            try:
                running.run(block)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{block} does not run") from error


def test_every_exception_is_still_needed():
    blocks = [block for page in CODE_PAGES for block in blocks_of(page)]
    unrun = [(block.page, block.language) for block in blocks if (block.page, block.language) in UNRUN]
    assert sorted(unrun) == sorted(UNRUN)
    commands = [command for block in blocks if block.language == "bash" for command in commands_of(block.text)]
    assert set(commands) >= set(COVERED)
    assert [pattern for pattern in SUBSTITUTIONS if not any(re.search(pattern, each) for each in commands)] == []
    assert [name for name in ELSEWHERE if not any(name in block.text for block in blocks)] == []
    assert set(HOOKS) <= {block.title for block in blocks}


def test_the_tree_of_a_bundle_is_that_of_bundles(trained_bundle, shared_bundle, late_bundle):
    [tree] = [block.text for block in blocks_of("docs/bundle.md") if block.language == "text"]
    told = re.sub("…", "[a-z0-9_]+", tree.replace(".", r"\."))
    inside = ("interaction", "1_Pooling")  # folders that the tree names as a whole
    for bundle in (trained_bundle, shared_bundle, late_bundle):
        for path in bundle.rglob("*"):
            if path.relative_to(bundle).parts[0] in inside and path.name not in inside:
                continue
            assert re.search(rf"\b{path.name}\b", tree) or any(
                re.fullmatch(name, path.name) for name in re.findall(r"[\w\[\]+\\.-]+onnx", told)
            ), f"docs/bundle.md does not name {path.name}"
