"""The command ``onyxrank train``: from data to a training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

from onyxrank.cli import console
from onyxrank.errors import InvalidInput
from onyxrank.machine import extras
from onyxrank.request.readability import ALLOWED_UNKNOWN, Readability


def _fill_in(context: typer.Context, recipe: str | None) -> str | None:
    """Let the options that are not given have the recipe's values instead of their own defaults.

    Raises:
        InvalidInput: if there is no such recipe, or it names something that is no option of this command.

    """
    if recipe is not None:
        options = _recipes().read_recipe(recipe)
        unknown = sorted(options.keys() - {parameter.name for parameter in context.command.params})
        if unknown:
            raise InvalidInput(
                f"the recipe '{recipe}' names {', '.join(unknown)}: no option of train is called so", field="recipe"
            )
        context.default_map = options
    return recipe


def _fill_in_for(context: typer.Context, arch: str) -> str:
    """Let the options have the values of the architecture's own recipe, where no other one was named."""
    if context.default_map is None:
        context.default_map = _recipes().recipe_of(arch)
    return arch


def _recipes() -> Any:
    return extras.load("onyxrank_export.training.recipe", extra="export", purpose="training")


def command(
    data: Annotated[Path, typer.Option(help="csv or parquet file, or folder, with the interactions or labels.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Take the options that are not given from a recipe, a JSON file of options; by default from the "
            "architecture's own. Where that names no value, the one shown here counts.",
            callback=_fill_in,
            is_eager=True,
        ),
    ] = None,
    base: Annotated[
        str, typer.Option(help="'minilm', 'tiny', a model folder, or a hub name such as bert-base-uncased.")
    ] = "minilm",
    arch: Annotated[
        str,
        typer.Option(
            help="Architecture to train: 'late-interaction', 'cross' or 'shared-history'.",
            callback=_fill_in_for,
            is_eager=True,
        ),
    ] = "late-interaction",
    split: Annotated[
        str,
        typer.Option(
            help="What is held out of training: each shopper's 'last' basket and the one before, what comes last in "
            "'time', or, as older versions, the 'last-item' and the one before."
        ),
    ] = "last",
    teacher: Annotated[
        str | None, typer.Option(help="Finished cross run over the same tokens, whose scores are learnt too.")
    ] = None,
    teacher_weight: Annotated[float, typer.Option(help="Share of the teacher in what is learnt.")] = 0.5,
    epochs: Annotated[int, typer.Option(help="Passes over the pairs.")] = 2,
    max_steps: Annotated[int | None, typer.Option(help="Stop after this many optimizer steps.")] = None,
    contrastive_steps: Annotated[
        int, typer.Option(help="Steps in which the encoder first learns which items are bought together; 0 for none.")
    ] = 0,
    contrastive_batch: Annotated[int, typer.Option(help="Pairs of items in each of those steps, per device.")] = 128,
    contrastive_rate: Annotated[float, typer.Option(help="Peak learning rate of those steps.")] = 1e-4,
    contrastive_weight: Annotated[
        float, typer.Option(help="How far a list's order is learnt from the encoder that those steps train, 0 to 1.")
    ] = 0.0,
    batch_size: Annotated[int, typer.Option(help="Pairs per step and device.")] = 32,
    accumulate: Annotated[int, typer.Option(help="Batches per optimizer step.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 5e-5,
    head_rate: Annotated[
        float, typer.Option(help="The head's learning rate (pooler and classifier), as a multiple of that of AdamW.")
    ] = 1.0,
    warmup: Annotated[float, typer.Option(help="Share of the steps over which the learning rate rises.")] = 0.06,
    dropout: Annotated[
        float | None, typer.Option(help="Share of hidden states dropped in training; the base's own by default.")
    ] = None,
    history_tokens: Annotated[int, typer.Option(help="Most tokens of history.")] = 128,
    item_tokens: Annotated[int, typer.Option(help="Most tokens of title and description.")] = 48,
    negatives: Annotated[int, typer.Option(help="Sampled negatives per purchase.")] = 3,
    popular: Annotated[float, typer.Option(help="Share of the negatives that is drawn by popularity.")] = 0.75,
    popularity_power: Annotated[
        float,
        typer.Option(help="Popularity is an item's purchases to this power; above 1 the model prefers rare ones."),
    ] = 1.0,
    around: Annotated[
        float,
        typer.Option(help="Share of purchases learnt from what the shopper bought in training before and after."),
    ] = 0.0,
    own_zeros: Annotated[bool, typer.Option(help="Learn from the data's own behavior 0 too.")] = True,
    list_weight: Annotated[
        float, typer.Option(help="Weight of the cross-entropy over each list beside the one per pair.")
    ] = 1.0,
    metric: Annotated[
        str,
        typer.Option(
            help="What picks the best checkpoint: ndcg_at_10, auc, mrr, hit_rate_at_10, accuracy, loss or log_loss."
        ),
    ] = "ndcg_at_10",
    evaluations: Annotated[int, typer.Option(help="Evaluations (and checkpoints) per epoch.")] = 1,
    validation_lists: Annotated[int, typer.Option(help="Validation lists to measure on.")] = 200,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    allow_unknown: Annotated[
        float, typer.Option(help="Most of the tokens and titles that the base's vocabulary may not know, 0 to 1.")
    ] = ALLOWED_UNKNOWN,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the run.")] = False,
) -> None:
    """Train a recommender on interactions (or search labels)."""
    config = extras.load("onyxrank_export.training.config", extra="export", purpose="training")
    train_run(
        data,
        out,
        config.TrainingConfig.from_options(
            base=base,
            arch=arch,
            split=split,
            history_tokens=history_tokens,
            item_tokens=item_tokens,
            negatives=negatives,
            popular=popular,
            popularity_power=popularity_power,
            around=around,
            own_zeros=own_zeros,
            epochs=epochs,
            max_steps=max_steps,
            contrastive_steps=contrastive_steps,
            contrastive_batch=contrastive_batch,
            contrastive_rate=contrastive_rate,
            contrastive_weight=contrastive_weight,
            batch_size=batch_size,
            accumulate=accumulate,
            learning_rate=learning_rate,
            head_rate=head_rate,
            warmup=warmup,
            dropout=dropout,
            list_weight=list_weight,
            teacher=teacher,
            teacher_weight=teacher_weight,
            precision=precision,
            evaluations=evaluations,
            validation_lists=validation_lists,
            metric=metric,
            seed=seed,
        ),
        resume=resume,
        allow_unknown=allow_unknown,
    )
    console.out.print(f"Trained: {out} (curves in {out / 'curves.png'})")
    console.out.print(f"Next: onyxrank export {out} --out BUNDLE")


def train_run(
    data: Path, out: Path, config: object, *, resume: bool = False, allow_unknown: float = ALLOWED_UNKNOWN
) -> None:
    """Train with a progress bar and a line for each evaluation.

    Args:
        data: file or folder of the data.
        out: the run's folder.
        config: a ``TrainingConfig`` of `onyxrank_export`, which is loaded by name.
        resume: whether to go on from the last checkpoint in the run's folder.
        allow_unknown: most of the tokens and titles that the vocabulary may not know.

    """
    # The folder and the data are checked before the libraries of training are loaded, which takes seconds.
    extras.require("torch", extra="export", purpose="training")
    if not extras.load("onyxrank_export.training.processes", extra="export", purpose="training").is_first():
        console.silence()
    elif not resume:
        extras.load("onyxrank_export.training.begun", extra="export", purpose="training").check_free(out)
    reading = extras.load("onyxrank_export.data.reading", extra="export", purpose="training")
    _say_content(reading.read_data(data))
    loop = extras.load("onyxrank_export.training.loop", extra="export", purpose="training")
    events = extras.load("onyxrank_export.training.progress", extra="export", purpose="training")
    with console.progress("training") as bar:
        listener = _ProgressListener(bar, bar.add_task("", total=None, note=""))
        try:
            run = loop.train(
                data,
                out,
                config,
                resume=resume,
                callbacks=[events.ProgressCallback(listener)],
                say=console.say,
                allow_unknown=allow_unknown,
            )
        except KeyboardInterrupt:
            saved = any((out / "checkpoints").glob("checkpoint-*"))
            console.say("go on from the last checkpoint with --resume" if saved else "no checkpoint yet: start again")
            raise
    console.say(Readability.from_json(run.facts["data"]["readability"]).sentence())


def _say_content(content: Any) -> None:
    """Say how much data was read, and if it has no times, since a misspelt column ``timestamp`` is not an error."""
    rows = len(content.item)
    console.say(f"{len(content.items):,} items, {rows:,} rows; loading the libraries of training")
    if getattr(content, "timestamp", ...) is None:
        console.say("no column timestamp: the rows are taken to be in order of time")


class _ProgressListener:
    """Shows the events of a training on a progress bar, as the callback of `onyxrank_export` calls it."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task, self._total = bar, task, 0

    def begun(self, total: int, stage: str) -> None:
        self._total = total
        console.say(f"{stage}, {total:,} steps")

    def step(self, done: int, total: int, loss: float | None) -> None:
        note = "" if loss is None else f"loss {loss:.4f}"
        self._bar.update(self._task, completed=done, total=total, note=note)

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        names = {
            "eval_loss": "loss",
            "eval_auc": "AUC",
            "eval_ndcg_at_10": "NDCG@10",
            "eval_accuracy": "accuracy",
        }
        figures = ", ".join(f"{label} {metrics[name]:.4f}" for name, label in names.items() if name in metrics)
        console.say(f"step {step} of {self._total}: validation {figures}")
