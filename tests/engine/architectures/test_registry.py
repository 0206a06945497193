"""An architecture plugs in by its own module and one line of the registry: nothing else of the engine knows it."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from serving import serving
from title_length import TitleLength

import onyxrank
from onyxrank import BundleError, OnyxrankError, Ranker
from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.entries import Variant
from onyxrank.bundle.manifest import Manifest
from onyxrank.bundle.opening import open_bundle
from onyxrank.bundle.writing import copy_file, file_entries, write_manifest
from onyxrank.tune.options import TuneOptions
from onyxrank.tune.tuning import tune_bundle

TITLES = ["tent", "steel tent pegs", "red lamp", "tent pegs"]


@pytest.fixture
def bundle(tiny_bundle, tmp_path, monkeypatch):
    """A bundle of the architecture, which has no graphs."""
    monkeypatch.setitem(ARCHITECTURES, TitleLength.name, TitleLength)
    folder, before = tmp_path / "titles", open_bundle(tiny_bundle)
    folder.mkdir()
    copy_file(before.path(before.manifest.tokenizer.file), folder / before.manifest.tokenizer.file)
    manifest = replace(
        before.manifest,
        architecture=TitleLength.name,
        variants=(Variant(name="fp32", precision="fp32", files={}),),
        files=file_entries(folder),
    )
    write_manifest(folder, manifest)
    return folder


@pytest.mark.parametrize(("name", "kind"), list(ARCHITECTURES.items()))
def test_an_architecture_stands_under_its_own_name_and_tells_its_graphs_edges(name, kind):
    assert kind.name == name
    for graph in kind.graphs.values():
        assert graph.inputs
        assert graph.kept <= set(graph.outputs)


def test_a_manifest_of_another_architecture_is_refused(tiny_bundle):
    data = json.loads((tiny_bundle / "onyxrank.json").read_text()) | {"architecture": "later"}
    with pytest.raises(BundleError, match="does not run the architecture 'later'"):
        Manifest.parse(data)


def test_it_ranks_is_scheduled_cached_prepared_and_closed(bundle):
    with Ranker.load(bundle) as ranker:
        for _ in range(2):
            assert ranker.rank("lamp", TITLES)[0].item.title == "steel tent pegs"
        info = ranker.info()
        assert (info["architecture"], info["queue"]["admitted"]) == (TitleLength.name, 2)
        assert (info["history_cache"]["misses"], info["history_cache"]["hits"]) == (1, 1)
        prepared = ranker.prepare("lamp")
        assert prepared.score(TITLES).tolist() == ranker.score("lamp", TITLES).tolist()
        many = ranker.rank_many([("lamp", TITLES), ([], []), ("tent", TITLES[:2])])
        assert [len(ranking) for ranking in many] == [4, 0, 2]
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda count: len(ranker.rank("lamp", TITLES[:count])), [1, 2, 3, 4] * 20))
        assert answers == [1, 2, 3, 4] * 20
    with pytest.raises(OnyxrankError, match="closed"):
        ranker.rank("lamp", TITLES)


def test_it_is_tuned_and_loads_with_what_was_found(bundle, tmp_path):
    requests = tmp_path / "requests.jsonl"
    rows = [{"history": ["lamp"], "items": TITLES[:count]} for count in (2, 3, 4)]
    requests.write_text("\n".join(map(json.dumps, rows)))
    tuned = tune_bundle(open_bundle(bundle), TuneOptions(budget_s=3, requests=requests))
    assert tuned.setting.variant == "fp32"


def test_it_is_served(bundle):
    with serving(bundle=str(bundle)) as url:
        answer = httpx.post(
            f"{url}/v1/rank", json={"history": ["lamp"], "items": [{"title": each} for each in TITLES]}
        )
    assert answer.status_code == 200
    assert answer.json()["results"][0]["index"] == 1


def test_nothing_else_names_an_architecture():
    folder = Path(onyxrank.__file__).parent
    names = re.compile(r"""["']cross["']|["']shared-history["']|\bSHARED_HISTORY\b|\bCROSS\b""")
    naming = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if names.search(path.read_text(encoding="utf-8"))
    }
    # The command line trains architectures by name; whatever runs them knows none.
    assert {path for path in naming if not path.startswith(("cli/", "architectures/"))} == set()
