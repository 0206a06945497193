"""Ranking quality of both architectures on real data, beside what a model has to beat: one table, one command.

1. Per data set and seed: train, export and evaluate cross and shared-history with one recipe. Hours on 2 cores, so
   what is done is kept: runs and bundles in `.quality` beside this folder, figures per list in `results/quality`.
   A command that was interrupted goes on where it stopped. Figures of another recipe are measured again, once its
   run is out of the way.
2. The baselines rank the same lists (`quality_baselines`); the encoder that the recipe trains first is one of them.
3. The table is written from the figures that are there, with bootstrap intervals (`quality_page`).

    python benchmarks/quality_table.py --data FOLDER [--sets …] [--seeds 0 1] [--table-only]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model import say
from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank.bundle.opening import open_bundle
from onyxrank.machine.cpus import machine_family
from onyxrank.measure.ways import WEIGHTS
from onyxrank.ranker import Ranker
from onyxrank.request.truncation import Limits
from onyxrank_export.conversion.errors import GateRefused
from onyxrank_export.conversion.export import ExportConfig, export_bundle
from onyxrank_export.data.lists import CandidateList, lists_of_test
from onyxrank_export.data.pairs import Sampling
from onyxrank_export.data.reading import read_data
from onyxrank_export.data.splits import split_data
from onyxrank_export.evaluation.evaluate import model_scores
from onyxrank_export.evaluation.metrics import per_list_metrics
from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.loop import train
from onyxrank_export.training.progress import ProgressCallback
from onyxrank_export.training.recipe import read_recipe
from onyxrank_export.training.run import CHECKPOINTS, RUN_FILE
from onyxrank_export.training.run_writing import device_name
from provenance import RESULTS, ROOT, stamp, write_record
from quality_baselines import Scores, chance, encoder_scores, log_losses, untrained
from quality_page import RECIPE, TRAINED_ON, write_page

WORK = ROOT / ".quality"
QUALITY = RESULTS / "quality"
_GATE_LISTS = 1024
"""How many lists the gate judges on. On 256, with one purchase each, NDCG@10 moves by 0.7 % by chance, and the
gate's limit is 1 %."""

_OFFICE = TrainingConfig.from_options(**read_recipe("quality"))
RECIPES = {
    "amazon2018_office": _OFFICE,
    "online_retail_uci": replace(_OFFICE, limits=Limits(history_tokens=128, item_tokens=16)),
    "homedepot_search_relevance": replace(
        _OFFICE, limits=Limits(history_tokens=16, item_tokens=48), sampling=Sampling(), list_weight=1.0
    ),
}
"""How both architectures are trained on each data set: by the recipe `quality`, and what a data set needs besides."""

FP32, INT8 = "fp32", "int8"
FP32_VARIANTS = {CROSS: "fp32_fused", SHARED_HISTORY: "fp32"}
"""The fp32 graph that is measured, by architecture; `passed` names the int8."""


@dataclass(frozen=True, slots=True)
class Content:
    """The test part of a data set.

    Attributes:
        name: of the set.
        path: its folder.
        lists: every test list.

    """

    name: str
    path: Path
    lists: Sequence[CandidateList]

    def keep(
        self, system: str, scores: Scores, recipe: str = "", trained_on: str = "", *, odds: bool = False
    ) -> None:
        """Write the metrics of scores, with how and on what the model was trained; `odds` are probabilities."""
        labels = [row.labels for row in self.lists]
        figures = per_list_metrics(labels, scores) | ({"log_loss": log_losses(labels, scores)} if odds else {})
        self.write(system, figures, recipe, trained_on)

    def write(
        self, system: str, figures: Mapping[str, NDArray[np.float64]], recipe: str = "", trained_on: str = ""
    ) -> None:
        """Write the metrics of each list: numbers only, no text and no id."""
        QUALITY.mkdir(parents=True, exist_ok=True)
        kept = {name: values.astype(np.float32) for name, values in figures.items()}
        told = {RECIPE: np.array(recipe), TRAINED_ON: np.array(trained_on)}
        path = figures_of(self.name, system)
        np.savez_compressed(path, **kept, **told)
        write_record(stamp("quality"), path)


def figures_of(data_set: str, system: str) -> Path:
    """Return the file with a system's metrics per list."""
    return QUALITY / f"{data_set}.{system}.npz"


def told(recipe: TrainingConfig) -> str:
    """Write how a recipe differs from the defaults of `onyxrank train`, but for the seeds."""
    mine, usual = asdict(recipe), asdict(TrainingConfig())
    for options in (mine, mine["sampling"], usual, usual["sampling"]):
        del options["seed"]
    return json.dumps({name: value for name, value in mine.items() if value != usual[name]}, sort_keys=True)


def seeded(recipe: TrainingConfig, seed: int) -> TrainingConfig:
    """Return the recipe with another seed, of the weights and of the negatives."""
    return replace(recipe, seed=seed, sampling=replace(recipe.sampling, seed=seed))


def kept_recipe(data_set: str, system: str) -> str | None:
    """Return the recipe of the figures that are there; None where there are none."""
    path = figures_of(data_set, system)
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as content:
        return str(content[RECIPE]) if RECIPE in content else None


def measure_set(path: Path, seeds: Sequence[int], architectures: Sequence[str]) -> None:
    """Measure what is not there yet of one data set."""
    name = path.name
    data = read_data(path)
    split = split_data(data)
    content = Content(name, path, lists_of_test(split))
    if not figures_of(name, "chance").exists():
        content.write("chance", chance(content.lists))
    for system, score in untrained(split, content.lists).items():
        if not figures_of(name, system).exists():
            say(f"{name}: {system}")
            content.keep(system, score())
    for seed in seeds:
        if kept_recipe(name, f"encoder.seed{seed}") != told(RECIPES[name]):
            say(f"{name}: the encoder alone, seed {seed}")
            listener = ProgressCallback(_Listener())
            scores = encoder_scores(split, content.lists, seeded(RECIPES[name], seed), [listener])
            content.keep(f"encoder.seed{seed}", scores, told(RECIPES[name]), device_name())
        for architecture in architectures:
            missing = [
                precision
                for precision in (INT8, FP32)
                if kept_recipe(name, f"{architecture}.{precision}.seed{seed}") != told(RECIPES[name])
            ]
            if not missing:
                continue
            bundle = bundle_of(content, architecture, seed)
            for precision in missing:
                say(f"{name}: ranking with {architecture} {precision}, seed {seed}")
                variant = passed(bundle) if precision == INT8 else FP32_VARIANTS[architecture]
                with Ranker.load(bundle, variant=variant) as ranker:
                    if not str(ranker.info()["precision"]).startswith(precision):
                        say(f"{bundle}: no {precision} to measure, {ranker.info()['variant_reason']}")
                        continue
                    scores = model_scores(ranker, content.lists, data.items, every(500))
                system, trained_on = f"{architecture}.{precision}.seed{seed}", device_of(bundle)
                content.keep(system, scores, told(RECIPES[name]), trained_on, odds=True)


def bundle_of(content: Content, architecture: str, seed: int) -> Path:
    """Return the bundle of one training, which is made if it is not there."""
    run = WORK / "runs" / content.name / f"{architecture}-{seed}"
    bundle = WORK / "bundles" / content.name / f"{architecture}-{seed}"
    config = replace(seeded(RECIPES[content.name], seed), arch=architecture)
    if (run / WEIGHTS).exists():
        trained = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))["config"]
        if trained != json.loads(json.dumps(config.to_json())):
            raise SystemExit(f"{run} is of another recipe: move it and {bundle} away")
    else:
        say(f"{content.name}: training {architecture}, seed {seed}")
        begun = any((run / CHECKPOINTS).glob("checkpoint-*/trainer_state.json"))
        train(content.path, run, config, resume=begun, callbacks=[ProgressCallback(_Listener())])
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


class _Listener:
    """Tells a training's progress in lines, since it runs for long and mostly unwatched."""

    def begun(self, total: int, stage: str) -> None:
        say(f"{stage}, {total} steps")

    def step(self, done: int, total: int, loss: float | None) -> None:
        if done % 100 == 0 or done == total:
            say(f"step {done} of {total}" + ("" if loss is None else f", loss {loss:.4f}"))

    def evaluated(self, step: int, metrics: object) -> None:
        say(f"step {step}: {metrics}")


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the data sets")
    parser.add_argument("--sets", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument(
        "--architectures", nargs="+", choices=(CROSS, SHARED_HISTORY), default=[SHARED_HISTORY, CROSS]
    )
    parser.add_argument("--table-only", action="store_true", help="write the table from the figures that are there")
    options = parser.parse_args()
    if not options.table_only:
        if options.data is None:
            parser.error("--data is needed, or --table-only")
        for name in options.sets:
            measure_set(options.data / name, options.seeds, options.architectures)
    page = write_page(QUALITY, QUALITY / "quality.md")
    write_record(stamp("quality"), page)
    say(f"wrote {page}")


if __name__ == "__main__":
    main()
