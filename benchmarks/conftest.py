"""What the latency suite shares: the bundle, the loaded ways, and the facts that go into its JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from typing import Any

import pytest

import model
from cells import FULL, ITEM_TOKENS, QUICK, Bench
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine.cpus import usable_cpus
from onyxrank.measure.bench import versions
from onyxrank.measure.engine_ways import engine_ways, machine_variants
from onyxrank.measure.loaded_ways import load_ways
from onyxrank.measure.requests import Workload, make_request
from onyxrank_export.eager import eager_ways
from onyxrank_export.quiet import quiet
from provenance import RECORD, stamp

PROVIDER = "cpu"
_FACTS = pytest.StashKey[dict[str, Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for a short run."""
    parser.addoption("--quick", action="store_true", help="the two smallest cells only, in a few seconds")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one benchmark of each cell."""
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", QUICK if metafunc.config.getoption("--quick") else FULL, ids=str)


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Load the bundle with every way, try each on one request, and close them at the end."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")

    def say(message: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"· {message}")

    record = stamp("latency", ("python", "-m", "pytest", *sys.argv[1:]))
    bundle = open_bundle(model.bundle_folder())
    limits, pool, threads = bundle.manifest.limits, model.shop_texts(), usable_cpus()
    workload = Workload(name="check", history_tokens=24, items=8, item_tokens=min(ITEM_TOKENS, limits.item_tokens))
    check = make_request(bundle, workload, pool=pool)
    with ExitStack() as closing:
        with quiet():
            engine = engine_ways(
                bundle,
                machine_variants(bundle, PROVIDER),
                provider=PROVIDER,
                threads=threads,
                micro_batch_tokens=None,
            )
            loaded = load_ways(chain(engine, eager_ways(bundle.folder, threads, say)), check, closing, say)
        request.config.stash[_FACTS] = {
            RECORD: record,
            "versions": versions(with_torch=True),
            "threads": threads,
            "bundle": {
                "base": bundle.manifest.training.get("config", {}).get("base"),
                "architecture": bundle.manifest.architecture,
                "limits": asdict(limits),
                "onyxrank_version": bundle.manifest.onyxrank_version,
            },
            "score_differences": {row.way.name: row.score_difference for row in loaded},
        }
        yield Bench(bundle, pool, tuple(row.way for row in loaded), threads, say)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, benchmarks: object, output_json: dict[str, Any]) -> None:
    """Put the facts of this run beside pytest-benchmark's own."""
    output_json["onyxrank"] = config.stash.get(_FACTS, {})
