"""Ranking quality on real data, beside what a model has to beat: one table, one command.

1. For each data set, split and protocol (`quality_lists`) the baselines rank the test lists; they are fitted once.
2. For each seed the encoder alone and late interaction are trained (`quality_late`), and by name cross and
   shared-history, exported and ranked through the engine: hours on 2 cores. What is done is kept (`quality_files`),
   and a command that was interrupted goes on where it stopped. Figures of another recipe are measured again, once its
   run is out of the way.
3. The page is written from the figures that are there (`quality_page`).

    python benchmarks/quality_table.py --data FOLDER [--sets …] [--seeds 0 1 2] [--architectures …] [--table-only]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from model import say
from onyxrank.architectures.registry import CROSS, SHARED_HISTORY
from onyxrank_export.evaluation.baselines.fitted import NAMES, fitted_baselines
from provenance import stamp, write_record
from quality_arms import RECIPES, measure_architecture, measure_encoder
from quality_files import QUALITY, is_kept, keep
from quality_late import measure_late
from quality_lists import SETS, Task, tasks
from quality_page import write_page


def measure_baselines(task: Task) -> None:
    """Rank with the baselines that apply and are not there yet."""
    for protocol, lists in task.test.items():
        if is_kept(task, protocol, NAMES[-1]):  # the logit, which comes last
            continue
        say(f"{task.data_set}, {task.split}, {protocol}")
        for name, scorer in fitted_baselines(task.parts, task.validation[protocol], say=say).items():
            say(f"ranking by {name}")
            keep(task, protocol, name, scorer(lists))


def measure(task: Task, seeds: Sequence[int], architectures: Sequence[str], encoder_steps: int) -> None:
    """Measure what is not there yet of one split of a data set."""
    measure_baselines(task)
    for seed in seeds:
        measure_encoder(task, seed, encoder_steps)
        measure_late(task, seed)
        for architecture in architectures:
            measure_architecture(task, architecture, seed)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the data sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--encoder-steps", type=int, default=100, help="contrastive steps of the encoder alone")
    parser.add_argument(
        "--architectures", nargs="*", choices=(CROSS, SHARED_HISTORY), default=[SHARED_HISTORY, CROSS]
    )
    parser.add_argument("--table-only", action="store_true", help="write the table from the figures that are there")
    options = parser.parse_args()
    if not options.table_only:
        if options.data is None:
            parser.error("--data is needed, or --table-only")
        for name in options.sets:
            for task in tasks(options.data / name):
                architectures = options.architectures if name in RECIPES else []
                measure(task, options.seeds, architectures, options.encoder_steps)
    page = write_page(QUALITY, QUALITY / "quality.md")
    write_record(stamp("quality"), page)
    say(f"wrote {page}")


if __name__ == "__main__":
    main()
