"""The run folder before its training has finished: whether a training may begin in it, or go on.

The module imports none of the libraries of training, so that a command can ask before it loads them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from onyxrank_export.training.config import TrainingConfig
from onyxrank_export.training.run import CHECKPOINTS, RUN_FILE, RUN_SCHEMA, RunError, write_json


def check_free(out: Path) -> None:
    """Make sure that a training may begin in a folder: it is new, empty, or of one that left no checkpoint.

    Raises:
        RunError: if the folder holds anything else.

    """
    if not out.exists():
        return
    held = {path.name for path in out.iterdir()} if out.is_dir() else None
    if held == set() or (held is not None and held <= {RUN_FILE, CHECKPOINTS} and not _checkpoints(out)):
        return
    hint = ", or go on with --resume" if held is not None and _checkpoints(out) else ""
    raise RunError(f"'{out}' exists and is not empty; choose another folder{hint}")


def check_begun(out: Path, config: TrainingConfig, data: dict[str, Any]) -> Path:
    """Make sure that what is being resumed is the same training, and give its last whole checkpoint.

    Raises:
        RunError: if there is no unfinished training, its settings or data were others, or it has no checkpoint.

    """
    marker = out / RUN_FILE
    if not marker.is_file():
        raise RunError(f"'{out}' holds no training to resume; start without --resume")
    try:
        begun = json.loads(marker.read_text(encoding="utf-8"))
        finished, settings, fingerprint = begun["finished"], begun["config"], begun["data"]["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{marker} is damaged ({type(error).__name__}); train again in another folder") from error
    if finished:
        raise RunError(f"the training in '{out}' is finished: there is nothing to resume")
    # Through JSON, so that both sides hold the same kinds of values.
    wanted = json.loads(json.dumps(config.to_json()))
    changed = sorted(key for key in wanted.keys() | settings.keys() if settings.get(key) != wanted.get(key))
    changed += ["data"] if fingerprint != data["fingerprint"] else []
    if changed:
        raise RunError(f"cannot resume '{out}': {', '.join(changed)} differ from when it began")
    found = _checkpoints(out)
    if not found:
        raise RunError(f"'{out}' has no checkpoint to resume from; start without --resume")
    return found[-1]


def claim(out: Path, config: TrainingConfig, data: dict[str, Any]) -> None:
    """Mark the run folder as begun, once everything that could refuse the training has been checked."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    content = {"schema_version": RUN_SCHEMA, "finished": False, "config": config.to_json(), "data": data}
    write_json(out / RUN_FILE, content)


def _checkpoints(out: Path) -> list[Path]:
    """Find the whole checkpoints, oldest first. The Trainer writes its state last: one without it was cut short."""
    found = [path.parent for path in (out / CHECKPOINTS).glob("checkpoint-*/trainer_state.json")]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))
