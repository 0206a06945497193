"""The engine on a GPU beside PyTorch on the same: eager and compiled, in fp16.

1. Requests: the page (history of 192 tokens, 100 items of up to 64) and the widget (64, 10 items), as far as the
   bundles' limits allow; the demo shop's texts.
2. Ways: PyTorch over length-sorted batches at its best batch size, eager in fp32 and fp16 and compiled in fp16; the
   engine with each bundle, provider and variant (fp32, fp16), at its best micro-batch.
3. All take turns. Before that their scores are compared with eager fp32, so that one that is fast and wrong shows.

    onyxrank export RUN --out BUNDLE --precision fp16
    python benchmarks/gpu.py CROSS_BUNDLE SHARED_BUNDLE [--providers cuda tensorrt] [--device cuda] [--out FOLDER]

With --providers cpu --device cpu it runs anywhere, to see that it works.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model import say, shop_texts
from onyxrank import ProviderUnavailable
from onyxrank.architectures.registry import CROSS
from onyxrank.bundle.opening import Bundle, open_bundle
from onyxrank.measure.bench import Entrant, measure_ways, versions
from onyxrank.measure.latency import interleave
from onyxrank.measure.report import WayReport
from onyxrank.measure.requests import Pool, Request, Workload, make_request
from onyxrank.measure.ways import EngineWay, Way
from onyxrank_export.eager import SortedBatches, load_eager
from provenance import origin, result_folder, stamp, write_result

WORKLOADS = (
    Workload(name="page", history_tokens=192, items=100, item_tokens=64),
    Workload(name="widget", history_tokens=64, items=10, item_tokens=64),
)
MICRO_BATCHES = (4096, 16384, 65536)
PRECISIONS = ("fp32", "fp16")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``gpu.json`` and ``gpu.md``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "bundles", type=Path, nargs="+", help="a cross bundle, whose weights PyTorch runs, and others"
    )
    parser.add_argument("--providers", nargs="+", default=["cuda", "tensorrt"])
    parser.add_argument("--device", default="cuda", help="PyTorch's")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--out", type=Path, help="folder of the result; by default this machine's")
    options = parser.parse_args(arguments)
    record = stamp("gpu", gpu=torch.cuda.get_device_name() if options.device.startswith("cuda") else None)
    bundles = [open_bundle(path) for path in options.bundles]
    if bundles[0].manifest.architecture != CROSS:
        parser.error("the first bundle must be of the cross architecture, which PyTorch runs as it is")
    texts = shop_texts()
    with ExitStack() as closing:
        ways = list(torch_ways(bundles[0], options.device, closing))
        skipped: dict[str, str] = {}
        cells = []
        for workload in WORKLOADS:
            request = within_limits(workload, bundles, texts)
            engines = [
                way
                for bundle in bundles
                for provider in options.providers
                for way in engine_ways(bundle, provider, request, closing, skipped)
            ]
            cells.append(cell(workload.name, request, [*ways, *engines], options.repeats))
    figures = {
        "versions": versions(with_torch=True),
        "skipped": skipped,
        "cells": cells,
    }
    folder = result_folder(record, options.out)
    content = write_result(record, figures, folder / "gpu.json")
    (folder / "gpu.md").write_text(page(content), encoding="utf-8")
    say(f"wrote gpu.json and gpu.md to {folder}")


def within_limits(workload: Workload, bundles: Sequence[Bundle], texts: Pool) -> Request:
    """Make a request of that size, or of the largest that every bundle reads whole."""
    limits = [bundle.manifest.limits for bundle in bundles]
    fitting = Workload(
        name=workload.name,
        history_tokens=min(workload.history_tokens, *(limit.history_tokens for limit in limits)),
        items=workload.items,
        item_tokens=min(workload.item_tokens, *(limit.item_tokens for limit in limits)),
    )
    return make_request(bundles[0], fitting, pool=texts)


def torch_ways(bundle: Bundle, device: str, closing: ExitStack) -> Iterator[Way]:
    """Load PyTorch's ways; the compiled one only on CUDA."""
    eager = load_eager(bundle.folder)
    ways = [
        SortedBatches(eager, device=device, say=say),
        SortedBatches(eager, precision="fp16", device=device, say=say),
    ]
    if device.startswith("cuda"):
        ways.append(SortedBatches(eager, precision="fp16", device=device, compiled=True, say=say))
    for way in ways:
        closing.callback(way.close)
        yield way


def engine_ways(
    bundle: Bundle, provider: str, request: Request, closing: ExitStack, skipped: dict[str, str]
) -> Iterator[Way]:
    """Load the engine in each precision that the bundle has, at the best micro-batch for the request."""
    present = {variant.precision: variant.name for variant in bundle.manifest.variants}
    for precision in (precision for precision in PRECISIONS if precision in present):
        name = f"{bundle.manifest.architecture} {provider} {precision}"
        tried: dict[str, Way] = {}
        try:
            for tokens in MICRO_BATCHES:
                way = EngineWay.load(
                    bundle.folder,
                    present[precision],
                    provider=provider,
                    threads=1,
                    micro_batch_tokens=tokens,
                    name=name,
                )
                closing.callback(way.close)
                tried[str(tokens)] = way
        except ProviderUnavailable as error:
            skipped[name] = str(error)
            say(f"{name}: {error}")
            continue
        runs = {tokens: lambda way=way: way.rank(request) for tokens, way in tried.items()}
        samples = interleave(runs, repeats=10, budget_s=20.0, warmup=2)
        medians = {tokens: samples[tokens].latency(len(request.items), 1).p50_ms for tokens in tried}
        say(f"{name}: " + ", ".join(f"{tokens} tokens {median:.2f} ms" for tokens, median in medians.items()))
        best = min(medians, key=lambda tokens: medians[tokens])
        for tokens, way in tried.items():
            if tokens != best:
                way.close()
        yield tried[best]


def cell(name: str, request: Request, ways: Sequence[Way], repeats: int) -> dict[str, Any]:
    """Measure one request on every way, in turn."""
    for way in ways:
        way.prepare(request)
    scores = {way.name: way.score(request) for way in ways}
    reports = measure_ways([Entrant(way, request) for way in ways], repeats=repeats, budget_s=120.0, warmup=2)
    return {
        "name": name,
        "items": len(request.items),
        "ways": [report.to_json() | {"largest_difference": _difference(scores, ways, report)} for report in reports],
    }


def _difference(scores: dict[str, np.ndarray], ways: Sequence[Way], report: WayReport) -> float | None:
    """Return the largest difference from eager fp32; nothing for shared-history, which has other weights."""
    reference = scores[ways[0].name]
    same = report.name.startswith(("sorted", CROSS))
    return float(np.abs(scores[report.name] - reference).max()) if same else None


def page(content: dict[str, Any]) -> str:
    """Write the figures as a page of Markdown."""
    machine = content["record"]["machine"]
    lines = [
        "# On a GPU",
        "",
        f"{machine.get('gpu') or 'no GPU: ' + str(machine['cpu_model'])}; the demo shop's texts, tokenization "
        "included. Written by `python benchmarks/gpu.py`; not edited.",
        "",
        f"Measured {origin(content['record'])}.",
    ]
    for each in content["cells"]:
        fp16 = next(way for way in each["ways"] if way["name"] == "sorted_batches_fp16")["latency"]["p50_ms"]
        lines += [
            "",
            f"## {each['name']}: {each['items']} items",
            "",
            "| way | p50 ms | p99 ms | items/s | × eager fp16 | largest difference | runs |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for way in each["ways"]:
            latency, difference = way["latency"], way["largest_difference"]
            told = "" if difference is None else f"{difference:.1e}"
            lines.append(
                f"| {way['name']} | {latency['p50_ms']:.2f} | {latency['p99_ms']:.2f} "
                f"| {latency['items_per_s']:,.0f} | {fp16 / latency['p50_ms']:.1f} | {told} "
                f"| {latency['repeats']} |"
            )
    lines += ["", *(f"- {name}: {reason}" for name, reason in content["skipped"].items())]
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    main()
