"""The command ``onyxrank demo``: the whole way on the built-in shop with both architectures, in a few minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank.bundle.opening import open_bundle
from onyxrank.cli import bench, console
from onyxrank.cli.evaluate import run_evaluation, show
from onyxrank.cli.export import export_run
from onyxrank.cli.inspect import variants_table
from onyxrank.cli.rank import ranking_table
from onyxrank.cli.train import train_run
from onyxrank.errors import GATE_REFUSED, InvalidInput, OnyxrankError
from onyxrank.machine import extras
from onyxrank.ranker import Ranker
from onyxrank.request.truncation import Limits

# These are smaller than the defaults of training and export, so that the demo takes minutes.
_LIMITS = Limits(history_tokens=64, item_tokens=24)
_BATCH = 16
_GATE_LISTS = 64
_TEST_LISTS = 64


def command(
    out: Annotated[Path, typer.Option(help="Folder for the shop, the run and the bundle.")] = Path("demo"),
    base: Annotated[
        str, typer.Option(help="Model to start from: 'minilm', 'tiny', a folder or a hub name.")
    ] = "minilm",
    steps: Annotated[int, typer.Option(help="Training steps of each architecture.")] = 120,
    seed: Annotated[int, typer.Option(help="Seed of the shop and of the training.")] = 0,
) -> None:
    """Train both architectures, export, gate, rank and race on the built-in demo shop."""
    started = time.monotonic()
    if out.exists() and any(out.iterdir()):
        raise InvalidInput(f"'{out}' exists and is not empty; choose another folder with --out", field="out")
    data = out / "shop"
    made = _make_shop(data, seed)
    reading = extras.load("onyxrank_export.data.reading", extra="export", purpose="the demo")
    oracles = extras.load("onyxrank_export.data.shop_oracle", extra="export", purpose="the demo")
    oracle = oracles.shop_oracle(made, reading.read_data(data), seed)
    bundles = {arch: out / arch / "bundle" for arch in (CROSS, SHARED_HISTORY)}
    for arch, bundle in bundles.items():
        _train(data, out, arch, base=base, steps=steps, seed=seed)
        _export(out / arch / "run", bundle)
        with Ranker.load(bundle) as ranker:
            console.heading(f"Ranking quality of {arch} on the shop's test shoppers")
            show(run_evaluation(ranker, data, most=_TEST_LISTS, oracle=oracle))
    console.out.print("The oracle is what nobody can beat: it knows what every made-up shopper likes.")
    with Ranker.load(bundles[SHARED_HISTORY]) as ranker:
        _show_ranking(ranker, data)
    history, item = _LIMITS.history_tokens, _LIMITS.item_tokens
    console.heading(f"The race, in one run: 100 items of up to {item} tokens, history of {history}")
    bench.show(bench.measure(bundles[CROSS], items=100, budget_s=20.0, beside=[bundles[SHARED_HISTORY]]))
    _say_next(out, time.monotonic() - started)


def _make_shop(data: Path, seed: int) -> Any:
    shop = extras.load("onyxrank_export.data.shop", extra="export", purpose="the demo")
    console.heading("The demo shop")
    made = shop.write_shop(data, seed=seed)
    events = made.interactions_table().height
    console.out.print(f"{len(made.products):,} items, {len(made.shoppers):,} shoppers, {events:,} events in {data}")
    return made


def _train(data: Path, out: Path, arch: str, *, base: str, steps: int, seed: int) -> None:
    """Train one architecture on the shop.

    Cross starts from the base model and learns from its own encoder, which contrastive steps have trained. Then
    shared-history starts from cross's run and learns from its scores. With so few steps a model gets further if it
    starts from what has been learnt already and learns from scores instead of bare labels.
    """
    pairs = extras.load("onyxrank_export.data.pairs", extra="export", purpose="the demo")
    config = extras.load("onyxrank_export.training.config", extra="export", purpose="the demo")
    rate = 5e-4 if base == "tiny" else 1e-4
    first = str(out / CROSS / "run")
    start: dict[str, Any] = (
        {
            "base": base,
            "contrastive_steps": max(1, steps // 4),
            "contrastive_batch": 64,
            "contrastive_rate": rate,
            "contrastive_weight": 0.5,
            "head_rate": 10.0,
        }
        if arch == CROSS
        else {"base": first, "teacher": first, "teacher_weight": 0.5}
    )
    run = out / arch / "run"
    console.heading(f"Training {arch} from '{start['base']}', {steps} steps of {_BATCH} pairs")
    train_run(
        data,
        run,
        config.TrainingConfig(
            arch=arch,
            limits=_LIMITS,
            # In so little time the model learns most from small batches, from lists without the data's own zeros,
            # and from the order within a list.
            sampling=pairs.Sampling(seed=seed, popular=1.0, own_zeros=False),
            list_weight=3.0,
            epochs=1,
            max_steps=steps,
            batch_size=_BATCH,
            learning_rate=rate,
            warmup=0.1,
            dropout=0.0,
            validation_lists=32,
            seed=seed,
            **start,
        ),
    )
    console.out.print(f"run folder {run}, curves in {run / 'curves.png'}")


def _export(run: Path, bundle: Path) -> None:
    module = extras.load("onyxrank_export.conversion.export", extra="export", purpose="the demo")
    console.heading("Exporting to ONNX: fp32, int8, and the quality gate")
    try:
        export_run(run, bundle, module.ExportConfig(precisions=("int8_static",), gate_lists=_GATE_LISTS))
    except OnyxrankError as error:
        if error.exit_status != GATE_REFUSED:
            raise
        # So few lists decide on nothing but a broken graph: then the demo goes on in fp32.
        console.out.print(f"{error}\nThe demo goes on with fp32 only.", markup=False)
        export_run(run, bundle, module.ExportConfig(precisions=("fp32",), gate_lists=_GATE_LISTS))
    console.out.print(variants_table(open_bundle(bundle).manifest))


def _show_ranking(ranker: Ranker, data: Path) -> None:
    """Print a test shopper's history, the best ten of 100 items, and the rank of the item that was really bought."""
    reading = extras.load("onyxrank_export.data.reading", extra="export", purpose="the demo")
    splits = extras.load("onyxrank_export.data.splits", extra="export", purpose="the demo")
    protocol = extras.load("onyxrank_export.data.lists", extra="export", purpose="the demo")
    content = reading.read_data(data)
    lists: list[Any] = protocol.lists_of_test(splits.split_data(content), most=1, negatives=99)
    shopper = lists[0]
    candidates = [content.items[index] for index in shopper.items]
    bought = int(shopper.labels.argmax())
    ranking = ranker.rank(shopper.history, candidates)
    console.heading("One shopper bought, oldest first:")
    for title in shopper.history:
        console.out.print(f"  {title}", markup=False)
    console.heading("and is offered 100 items; the engine's top 10:")
    best = ranker.rank(shopper.history, candidates, top_k=10)
    console.out.print(ranking_table(best, mark=bought))
    place = next(hit for hit in ranking if hit.index == bought)
    console.out.print(
        f"Really bought next: {place.item.title} (rank {place.rank} of {len(ranking)}, score {place.score:.4f})",
        markup=False,
    )


def _say_next(out: Path, seconds: float) -> None:
    console.heading(f"Done in {seconds / 60:.1f} minutes. Next, with your own data:")
    for line in (
        "onyxrank train --data interactions.csv --base minilm --arch shared-history --out run",
        "onyxrank export run --out bundle",
        "onyxrank evaluate bundle --data interactions.csv",
        "onyxrank rank bundle --history 'title of something bought' --items items.jsonl --top-k 10",
        f"onyxrank inspect {out / SHARED_HISTORY / 'bundle'}",
    ):
        console.out.print(f"  {line}", markup=False)
