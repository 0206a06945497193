"""The models of the quality table: how each is trained, exported and ranked with, and what is kept of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from transformers import TrainerCallback, set_seed

from model import say
from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine.cpus import machine_family
from onyxrank.measure.ways import WEIGHTS
from onyxrank.ranker import Ranker
from onyxrank.request.truncation import Limits
from onyxrank_export.conversion.errors import GateRefused
from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.data.pairs import Sampling
from onyxrank_export.evaluation.evaluate import model_scores
from onyxrank_export.training.base import resolve_base
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.contrastive import contrastive_pairs
from onyxrank_export.training.encoder import train_encoder
from onyxrank_export.training.loop import train
from onyxrank_export.training.progress import ProgressCallback
from onyxrank_export.training.recipe import read_recipe
from onyxrank_export.training.run import CHECKPOINTS, RUN_FILE
from onyxrank_export.training.run_writing import device_name
from quality_files import WORK, is_kept, keep
from quality_lists import PUBLISHED, Task

_GATE_LISTS = 1024
_WHOLE_CATALOGUES = 200
"""How many lists of a whole catalogue cross and shared-history rank: a list of thousands takes them seconds."""

_OFFICE = TrainingConfig.from_options(**read_recipe("quality"))
RECIPES = {
    "amazon2018_office": _OFFICE,
    "online_retail_uci": replace(_OFFICE, limits=Limits(history_tokens=128, item_tokens=16)),
    "homedepot_search_relevance": replace(
        _OFFICE, limits=Limits(history_tokens=16, item_tokens=48), sampling=Sampling(), list_weight=1.0
    ),
}
"""How architectures are trained on each data set: by the recipe `quality`, and what a data set needs besides."""

FP32, INT8 = "fp32", "int8"
FP32_VARIANTS = {CROSS: "fp32_fused", SHARED_HISTORY: "fp32"}
"""The fp32 graph that is measured, by architecture; `passed` names the int8."""


def told(recipe: TrainingConfig) -> str:
    """Write how a recipe differs from the defaults of `onyxrank train`, but for the seeds."""
    mine, usual = asdict(recipe), asdict(TrainingConfig())
    for options in (mine, mine["sampling"], usual, usual["sampling"]):
        del options["seed"]
    return json.dumps({name: value for name, value in mine.items() if value != usual[name]}, sort_keys=True)


def recipe_of(task: Task, seed: int) -> TrainingConfig:
    """The recipe of a data set with a seed, of the weights and of the negatives, and a split."""
    recipe = RECIPES.get(task.data_set, _OFFICE)
    split = "last" if task.split in ("queries", PUBLISHED, "published") else task.split
    return replace(recipe, split=split, seed=seed, sampling=replace(recipe.sampling, seed=seed))


def measure_encoder(task: Task, seed: int, steps: int) -> None:
    """Train the encoder as a training does before the recommender, and rank the lists with it alone."""
    recipe = replace(recipe_of(task, seed), contrastive_steps=steps)
    how = json.dumps({name: getattr(recipe, name) for name in _OF_THE_ENCODER}, sort_keys=True)
    system = f"encoder-trained.seed{seed}"
    if all(is_kept(task, protocol, system, how) for protocol in task.test):
        return
    say(f"{task.data_set}, {task.split}: the encoder alone, seed {seed}, {steps} steps")
    set_seed(seed)
    texts = [text for item in task.parts.data.items for text in (item.title, item.description)]
    base = resolve_base(recipe.base, texts, seed=seed, dropout=recipe.dropout)
    lists = [row for protocol in task.test.values() for row in protocol]
    validation = next(iter(task.validation.values()))
    pairs = contrastive_pairs(task.parts, recipe)
    with tempfile.TemporaryDirectory() as folder:
        similarity, log = train_encoder(
            base, task.parts, pairs, validation, lists, recipe, Path(folder), [ProgressCallback(Listener())]
        )
    say(f"validation: {log[-1]}")
    for protocol, rows in task.test.items():
        keep(task, protocol, system, [similarity.margins(row) for row in rows], recipe=how, trained_on=device_name())


_OF_THE_ENCODER = ("base", "dropout", "contrastive_steps", "contrastive_batch", "contrastive_rate")
"""The settings that decide what the encoder becomes."""


def measure_architecture(task: Task, architecture: str, seed: int) -> None:
    """Train, export and rank with what is not there yet of one architecture."""
    recipe = replace(recipe_of(task, seed), arch=architecture)
    missing = [
        (protocol, precision)
        for protocol in task.test
        for precision in (INT8, FP32)
        if not is_kept(task, protocol, f"{architecture}.{precision}.seed{seed}", told(recipe))
    ]
    if not missing:
        return
    bundle = bundle_of(task, recipe)
    for protocol, precision in missing:
        say(f"{task.data_set}, {task.split}, {protocol}: ranking with {architecture} {precision}, seed {seed}")
        lists = task.test[protocol]
        step = max(1, len(lists) // _WHOLE_CATALOGUES) if protocol == "full" else 1
        places = list(range(0, len(lists), step))
        variant = passed(bundle) if precision == INT8 else FP32_VARIANTS[architecture]
        with Ranker.load(bundle, variant=variant) as ranker:
            if not str(ranker.info()["precision"]).startswith(precision):
                say(f"{bundle}: no {precision} to measure, {ranker.info()['variant_reason']}")
                continue
            scores = model_scores(ranker, [lists[place] for place in places], task.parts.data.items, every(500))
        keep(
            task,
            protocol,
            f"{architecture}.{precision}.seed{seed}",
            scores,
            places=None if step == 1 else places,
            probabilities=True,
            recipe=told(recipe),
            trained_on=device_of(bundle),
        )


def bundle_of(task: Task, recipe: TrainingConfig) -> Path:
    """Return the bundle of one training, which is made if it is not there."""
    name = f"{task.split}-{recipe.arch}-{recipe.seed}"
    run, bundle = WORK / "runs" / task.data_set / name, WORK / "bundles" / task.data_set / name
    if (run / WEIGHTS).exists():
        trained = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))["config"]
        if trained != json.loads(json.dumps(recipe.to_json())):
            raise SystemExit(f"{run} is of another recipe: move it and {bundle} away")
    else:
        say(f"{task.data_set}, {task.split}: training {recipe.arch}, seed {recipe.seed}")
        begun = any((run / CHECKPOINTS).glob("checkpoint-*/trainer_state.json"))
        callbacks: list[TrainerCallback] = [ProgressCallback(Listener())]
        train(task.path, run, recipe, resume=begun, callbacks=callbacks)
    if not bundle.exists():
        try:
            export_bundle(run, bundle, ExportConfig(precisions=(INT8, FP32), gate_lists=_GATE_LISTS), say=say)
        except GateRefused as error:
            say(f"{error}\nThe table goes on with fp32 only")
            export_bundle(run, bundle, ExportConfig(precisions=(FP32,), gate_lists=_GATE_LISTS), say=say)
    return bundle


def passed(bundle: Path) -> str:
    """Name the int8 that the engine takes here; where the gate refused it, another machine's that passed.

    The engine computes the sums of such a graph exactly, as the gate did.
    """
    variants = open_bundle(bundle).manifest.variants
    static = [each for each in variants if each.precision == "int8_static" and not each.refused]
    static.sort(key=lambda each: not each.runs_on(machine_family()))
    return static[0].name if static else "auto"


def device_of(bundle: Path) -> str:
    """Say what a bundle's model was trained on; nothing where its run did not say."""
    return str(open_bundle(bundle).manifest.training["training"].get("device", ""))


def every(step: int) -> Callable[[int, int], None]:
    """Make a listener that tells every so many lists."""

    def told(done: int, total: int) -> None:
        if done % step == 0 or done == total:
            say(f"{done} of {total} lists")

    return told


class Listener:
    """Tells a training's progress in lines, since it runs for long and mostly unwatched."""

    def begun(self, total: int, stage: str) -> None:
        """See `progress.Listener`."""
        say(f"{stage}, {total} steps")

    def step(self, done: int, total: int, loss: float | None) -> None:
        """See `progress.Listener`."""
        if done % 25 == 0 or done == total:
            say(f"step {done} of {total}" + ("" if loss is None else f", loss {loss:.4f}"))

    def evaluated(self, step: int, metrics: object) -> None:
        """See `progress.Listener`."""
        say(f"step {step}: {metrics}")
