"""Whether `onyxrank tune` finds what an exhaustive search finds.

1. `tune` chooses twice, within its budget, as a user would let it.
2. The exhaustive search measures every setting as often and drops none.
3. What was chosen and the fastest three of the exhaustive search then take turns on the same requests for many
   rounds: what counts is how much longer the choice takes than the best of those, at its median.

    python benchmarks/tune_check.py BUNDLE [--requests FILE] [--budget 120] [--sweep-budget 900] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model import say
from onyxrank.bundle.opening import Bundle, open_bundle
from onyxrank.loading.parts import load_encoder
from onyxrank.loading.profile import Profile
from onyxrank.loading.setting import Setting
from onyxrank.tune.contestants import Contestants
from onyxrank.tune.options import TuneOptions
from onyxrank.tune.race import Standing, race
from onyxrank.tune.sample import sample_of, spread
from onyxrank.tune.tuning import tune_bundle
from provenance import result_folder, stamp, write_result

TIMES, FASTEST, REQUESTS = 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``tune.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--requests", type=Path, help="jsonl file of requests; else the bundle's sample")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for each tune")
    parser.add_argument("--sweep-budget", type=float, default=900.0, help="seconds for the exhaustive search")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, help="folder of the result; by default this machine's")
    options = parser.parse_args(arguments)
    record, bundle = stamp("tune"), open_bundle(options.bundle)
    chosen = []
    for number in range(TIMES):
        say(f"tune, {number + 1} of {TIMES}")
        chosen.append(tune_bundle(bundle, TuneOptions(requests=options.requests, budget_s=options.budget)))
    say("the exhaustive search")
    sweep = tune_bundle(
        bundle, TuneOptions(requests=options.requests, budget_s=options.sweep_budget, exhaustive=True)
    )
    fastest = [Setting.of(row) for row in sweep.report["table"][:FASTEST]]
    settings = dict.fromkeys([*(profile.setting for profile in chosen), *fastest])
    say(f"{len(settings)} settings take turns")
    standings = turns(bundle, options.requests, list(settings), options.rounds)
    content: dict[str, Any] = {
        "architecture": bundle.manifest.architecture,
        "budget_s": options.budget,
        "settings": len(sweep.report["table"]),
        "sweep_seconds": sweep.report["seconds"],
        "sweep_unmeasured": len(sweep.report["settings_unmeasured"]),
        "rounds": options.rounds,
        "chosen": [told(profile, sweep, standings) for profile in chosen],
        "best": {**asdict(standings[0].setting), "request_ms": request_ms(standings[0])},
    }
    path = result_folder(record, options.out) / "tune.json"
    write_result(record, content, path)
    for each in content["chosen"]:
        say(f"{each['setting']}: {each['times_best']:.3f} times the best, found in {each['seconds']:.0f} s")
    say(f"wrote {path}")


def turns(bundle: Bundle, requests: Path | None, settings: Sequence[Setting], rounds: int) -> list[Standing]:
    """Run settings in turn on the requests that `tune` races, drop none, and return the fastest first."""
    encoder = load_encoder(bundle)
    sample = [encoder.encode(each.history, each.items) for each in spread(sample_of(bundle, requests)[0], REQUESTS)]
    with closing(Contestants(bundle, sample, 1)) as contestants:
        return race(
            contestants.runs(settings), rounds=rounds, deadline=math.inf, margin=math.inf, enough=rounds
        ).standings


def told(profile: Profile, sweep: Profile, standings: Sequence[Standing]) -> dict[str, Any]:
    """Compare a choice with the best, in turns and in the exhaustive search's own table."""
    own = next(each for each in standings if each.setting == profile.setting)
    rows = {Setting.of(row): row["request_ms"] for row in sweep.report["table"]}
    return {
        "setting": str(profile.setting),
        "seconds": profile.report["seconds"],
        "request_ms": request_ms(own),
        "times_best": round(own.median_s / standings[0].median_s, 4),
        "times_best_in_sweep": round(rows[profile.setting] / min(rows.values()), 4)
        if profile.setting in rows
        else None,
    }


def request_ms(standing: Standing) -> float:
    """Return the milliseconds of a request, the mean of the median round."""
    return round(standing.median_s * 1000 / len(standing.rounds[0].requests_s), 3)


if __name__ == "__main__":
    main()
