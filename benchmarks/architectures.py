"""Cross and shared-history side by side, and eager PyTorch beside them: one page of items, and how time grows.

1. Both bundles are MiniLM of the same size (`model`); speed does not depend on how well the weights rank.
2. The page: history of 192 tokens, 100 items of 32 to 64. All ways take turns in one run. One has the layout and
   micro-batch that `tune`'s race finds fastest for this page, as eager PyTorch has its best batch size; the last is a
   request whose history was seen before.
3. Growth: the list from 10 to 2,000 items, the history from 16 to 384 tokens.
4. The measured peak of the machine's matrix products, the best of four times between the others, and which share of
   it the items graph reaches; what its products take of its time, beside the plain graph over pairs.

    python benchmarks/architectures.py [--data FOLDER of amazon2018_office] [--quick] [--out FOLDER]

Without --data the texts are the demo shop's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from contextlib import closing as closing_of
from pathlib import Path
from typing import Any

import onnx

from architectures_page import write_page
from model import built_bundle, say, shop_texts
from onyxrank.architectures.base import DEFAULT_CACHE_BYTES
from onyxrank.architectures.batching import micro_batches
from onyxrank.architectures.call import Call
from onyxrank.architectures.cross import Cross, pair_feeds
from onyxrank.architectures.registry import ARCHITECTURES, CROSS, SHARED_HISTORY
from onyxrank.architectures.shared_history import SharedHistory, history_state, item_feeds
from onyxrank.bundle.opening import Bundle, open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import machine_family, usable_cores, usable_cpus
from onyxrank.measure.bench import Entrant, measure_ways, versions
from onyxrank.measure.load import CpuTimes, is_crowded, other_cpus
from onyxrank.measure.requests import Pool, Request, Size, Workload, make_request
from onyxrank.measure.ways import LOOP, EngineWay, Way
from onyxrank.request.truncation import Limits
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.tune.contestants import Contestants
from onyxrank.tune.race import race
from onyxrank.tune.space import settings_of
from onyxrank_export.conversion.sessions import opened_session
from onyxrank_export.data.reading import read_data
from onyxrank_export.eager import eager_ways
from onyxrank_export.peak import constant_operations, measured_peaks
from products import operator_shares
from provenance import result_folder, stamp, write_result

LIMITS = Limits(history_tokens=384, item_tokens=64)
PAGE = Workload(name="page", history_tokens=192, items=100, item_tokens=64)
SHORTEST_ITEM = 32
ITEMS = (10, 50, 100, 250, 1000, 2000)
TUNE_ROUNDS, TUNE_S = 7, 60.0
HISTORIES = (16, 64, 128, 192, 256, 384)
SCALED_FROM = 250
"""Longer lists take the ways over pairs as multiples of this: their time is linear in the items by construction."""
TUNED = "shared-history int8, tuned"
CACHED = "shared-history int8, history seen before"
_WAYS = (
    (CROSS, "fp32_fused", "cross fp32"),
    (CROSS, "int8", "cross int8"),
    (SHARED_HISTORY, "fp32", "shared-history fp32"),
    (SHARED_HISTORY, "int8", "shared-history int8"),
    (SHARED_HISTORY, "int8", TUNED),
    (SHARED_HISTORY, "int8", CACHED),
)


def main() -> None:
    """Measure and write ``architectures.json``, ``.md`` and ``.png``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real data for the texts")
    parser.add_argument("--out", type=Path, help="folder of the result; by default this machine's")
    parser.add_argument("--quick", action="store_true", help="two small cells, to see that it works")
    options = parser.parse_args()
    record, threads = stamp("architectures"), usable_cpus()
    bundles = {
        name: open_bundle(built_bundle(f"{name}-{LIMITS.history_tokens}", name, LIMITS)) for name in ARCHITECTURES
    }
    texts = long_enough(read_texts(options.data) if options.data else shop_texts(), bundles[CROSS])
    before = CpuTimes.now()
    peaks = [measured_peaks(threads)]
    with ExitStack() as closing:
        page = make_request(bundles[CROSS], PAGE, pool=texts)
        ways = load(bundles, page, closing)
        for way in ways:
            say(f"preparing {way.name}")
            way.prepare(page.first(16) if options.quick else page)
        content: dict[str, Any] = {
            "versions": versions(with_torch=True),
            "threads": threads,
            "texts": "amazon2018_office" if options.data else "demo shop",
            "settings": {way.name: dict(way.settings) for way in ways},
            "page": cell(ways, page, bundles, repeats=2 if options.quick else 9, budget_s=150.0),
        }
        peaks.append(measured_peaks(threads))
        ways = [way for way in ways if way.name not in (TUNED, CACHED)]  # these two are of the page
        content["by_items"] = [
            cell(ways, request_of(bundles, texts, items=items), bundles, repeats=1 if options.quick else 3)
            for items in (ITEMS[:2] if options.quick else ITEMS)
        ]
        peaks.append(measured_peaks(threads))
        content["by_history"] = [
            cell(ways, request_of(bundles, texts, history_tokens=tokens), bundles, repeats=1 if options.quick else 3)
            for tokens in (HISTORIES[:1] if options.quick else HISTORIES)
        ]
    peaks.append(measured_peaks(threads))
    # A peak that was measured in a slow minute is too low.
    content["peaks_gops"] = {precision: max(peak[precision] for peak in peaks) for precision in peaks[0]}
    content["items_graph"] = items_graph(bundles[SHARED_HISTORY], page, threads, content)
    others = other_cpus(before, CpuTimes.now())
    content["crowded"] = is_crowded(others, threads)
    folder = result_folder(record, options.out)
    write_page(write_result(record, content, folder / "architectures.json"), folder)
    say(f"wrote architectures.json, .md and .png to {folder}")


def load(bundles: dict[str, Bundle], page: Request, closing: ExitStack) -> list[Way]:
    """Load eager PyTorch, in bf16 too where the CPU has it, and both architectures in fp32 and static int8."""
    ways = [way for way in eager_ways(bundles[CROSS].folder, say=say) if way.name != LOOP]
    for architecture, variant, name in _WAYS:
        bundle = bundles[architecture]
        named = static_int8(bundle) if variant == "int8" else variant
        settings = settings_of(named, architecture, PROVIDERS["cpu"], usable_cpus(), usable_cores())
        setting = fastest_of(settings, bundle, page) if name == TUNED else settings[0]
        ways.append(
            EngineWay.load(
                bundle.folder,
                named,
                provider="cpu",
                threads=setting.threads,
                sessions=setting.sessions,
                micro_batch_tokens=setting.micro_batch_tokens,
                history_cache_bytes=DEFAULT_CACHE_BYTES if name == CACHED else 0,
                name=name,
            )
        )
    for way in ways:
        closing.callback(way.close)
    return ways


def fastest_of(settings: Sequence[Setting], bundle: Bundle, page: Request) -> Setting:
    """Find the setting that scores the page fastest."""
    say(f"tuning {settings[0].variant}")
    encoded = load_encoder(bundle).encode(page.history, page.items)
    with closing_of(Contestants(bundle, [encoded], clients=1)) as contestants:
        runs = contestants.runs(settings)
        return race(runs, rounds=TUNE_ROUNDS, deadline=time.perf_counter() + TUNE_S).standings[0].setting


def static_int8(bundle: Bundle) -> str:
    """Name the static int8 variant that was made for this machine."""
    family = machine_family()
    return next(
        each.name for each in bundle.manifest.variants if each.precision == "int8_static" and each.runs_on(family)
    )


def cell(
    ways: Sequence[Way], request: Request, bundles: dict[str, Bundle], *, repeats: int, budget_s: float = 90.0
) -> dict[str, Any]:
    """Measure one request on every way, in turn."""
    entrants = []
    for way in ways:
        linear = len(request.items) > SCALED_FROM and not way.name.startswith(SHARED_HISTORY)
        times = len(request.items) // SCALED_FROM if linear else 1
        entrants.append(Entrant(way, request.first(SCALED_FROM) if linear else request, times))
    reports = measure_ways(entrants, repeats=repeats, budget_s=budget_s, warmup=1 if repeats > 3 else 0)
    size = Size.of(load_encoder(bundles[CROSS]).encode(request.history, request.items))
    say(
        f"history {size.history_tokens}, {size.items} items: "
        + ", ".join(f"{report.name} {report.latency.p50_ms:.0f} ms" for report in reports)
    )
    return {
        "history_tokens": size.history_tokens,
        "items": size.items,
        "item_tokens_mean": size.item_tokens_mean,
        "ways": [
            report.to_json() | {"scaled_from": len(entrant.request.items) if entrant.times > 1 else None}
            for report, entrant in zip(reports, entrants, strict=True)
        ],
    }


def request_of(bundles: dict[str, Bundle], texts: Pool, **changes: int) -> Request:
    """Make the page's request with another size."""
    sizes = {"history_tokens": PAGE.history_tokens, "items": PAGE.items, "item_tokens": PAGE.item_tokens} | changes
    return make_request(bundles[CROSS], Workload(name="growth", **sizes), pool=texts)


def items_graph(bundle: Bundle, page: Request, threads: int, content: dict[str, Any]) -> dict[str, Any]:
    """Tell where the time of the items graph and of the plain one goes, and the first's share of the peak."""
    encoded = load_encoder(bundle).encode(page.history, page.items)
    graphs = SharedHistory.graphs
    call = Call([encoded])
    some = micro_batches(call.pair_lengths, Cross.default_micro_batch_tokens)[0]
    plain = operator_shares(bundle.path("onnx/model.onnx"), [pair_feeds(call, some, bundle.pad_id())], threads)
    result: dict[str, Any] = {"plain": {"operators": plain}}
    for precision, name in (("fp32", "fp32"), ("int8", static_int8(bundle))):
        files = bundle.manifest.variant(name).files
        with opened_session(bundle.path(files["history"]), graphs["history"]) as session:
            state = history_state(session, encoded.history)
        batches = [
            item_feeds(encoded.items, indices, bundle.pad_id(), state)
            for indices in micro_batches(encoded.items.lengths, SharedHistory.default_micro_batch_tokens)
        ]
        shares = operator_shares(bundle.path(files["items"]), batches, threads)
        operations = constant_operations(
            *_shape(bundle), tokens=int(encoded.items.lengths.sum()), items=len(encoded.items)
        )
        result[precision] = {
            "operators": shares,
            "gigaoperations": round(operations, 2),
            "share_of_peak": {
                way["name"]: round(operations / _run_s(way) / content["peaks_gops"][precision], 4)
                for way in content["page"]["ways"]
                if way["name"].startswith(f"{SHARED_HISTORY} {precision}") and way["name"] != CACHED
            },
        }
    return result


def _run_s(way: dict[str, Any]) -> float:
    """Return the median seconds that a way's page spends in the sessions that score items."""
    return float(way["latency"]["p50_ms"] / 1000 * way["shares"]["run"])


def read_texts(data: Path) -> Pool:
    """Read a data set's titles, as events, and its items."""
    items = read_data(data).items
    return Pool(events=[item.title for item in items], items=list(items))


def long_enough(texts: Pool, bundle: Bundle) -> Pool:
    """Keep items of at least 32 tokens, where there are enough."""
    encoder = load_encoder(bundle)
    lengths = [len(ids) for ids in encoder.token_ids([f"{item.title} {item.description}" for item in texts.items])]
    kept = [item for item, length in zip(texts.items, lengths, strict=True) if length >= SHORTEST_ITEM]
    return Pool(events=texts.events, items=kept) if len(kept) >= PAGE.items else texts


def _shape(bundle: Bundle) -> tuple[int, int, int]:
    """Read layers, hidden and inner size from the fp32 items graph."""
    graph = onnx.load(bundle.path("onnx/items.onnx")).graph
    inner = [weight.dims for weight in graph.initializer if weight.name.endswith("intermediate_weight")]
    return len(inner), int(inner[0][0]), int(inner[0][1])


if __name__ == "__main__":
    main()
