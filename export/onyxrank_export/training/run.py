"""The run folder: what training leaves for export.

RUN/model.safetensors  config.json  tokenizer.json ...   the best checkpoint, in Hugging Face format
RUN/metrics.json                                         the figures of every evaluation
RUN/curves.png                                           the same as a picture
RUN/run.json                                             how it was made; holds no text of the data
RUN/checkpoints/                                         only while training: what `--resume` goes on from
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onyxrank.errors import OnyxrankError
from onyxrank.request.truncation import Limits

RUN_FILE = "run.json"
METRICS_FILE = "metrics.json"
CURVES_FILE = "curves.png"
CHECKPOINTS = "checkpoints"
RUN_SCHEMA = 1


class RunError(OnyxrankError):
    """A run folder is missing, unfinished, or in the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run, or a fine-tuned model folder taken as one.

    Attributes:
        folder: the folder with the model and its tokenizer.
        architecture: name of the architecture that was trained.
        limits: tokens of history and item that the model was trained with.
        data_path: where the data was; None for a model from elsewhere.
        data_fingerprint: fingerprint of that data, to notice when it has changed since; None likewise.
        facts: everything else worth keeping in a bundle's manifest; no text of the data.

    """

    folder: Path
    architecture: str
    limits: Limits
    data_path: Path | None
    data_fingerprint: str | None
    facts: Mapping[str, Any]


SHARED_HISTORY_MODEL = "SharedHistoryForSequenceClassification"
"""Name of the class of shared-history's models, as their ``config.json`` has it."""


def read_run(folder: str | Path) -> Run:
    """Read a run folder, or take a plain model folder (with ``config.json``) as a run without data.

    Raises:
        RunError: if it is neither, the training did not finish, or a shared-history model's run is missing.

    """
    folder = Path(folder)
    run_file = folder / RUN_FILE
    if not run_file.is_file():
        if (folder / "config.json").is_file():
            if SHARED_HISTORY_MODEL.encode() in (folder / "config.json").read_bytes():
                raise RunError(
                    f"'{folder}' is a shared-history model without {RUN_FILE}, which says its token limits; "
                    "name the run that it was trained in"
                )
            return Run(
                folder=folder,
                architecture="cross",
                limits=Limits(),
                data_path=None,
                data_fingerprint=None,
                facts={},
            )
        raise RunError(
            f"'{folder}' is not a run or model folder (neither {RUN_FILE} nor config.json in it); "
            "make one with: onyxrank train --data DATA --out RUN"
        )
    try:
        content = json.loads(run_file.read_text(encoding="utf-8"))
        if content["schema_version"] > RUN_SCHEMA:
            raise RunError(f"{run_file} was written by a newer onyxrank; upgrade to read it")
        if not content["finished"]:
            raise RunError(f"the training in '{folder}' did not finish; go on with: onyxrank train ... --resume")
        return Run(
            folder=folder,
            architecture=content["config"]["arch"],
            limits=Limits(**content["config"]["limits"]),
            data_path=Path(content["data"]["path"]),
            data_fingerprint=content["data"]["fingerprint"],
            facts={key: content[key] for key in ("config", "training", "versions") if key in content}
            | {"data": {key: value for key, value in content["data"].items() if key != "path"}},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run_file} is damaged ({type(error).__name__}: {error}); train again") from error


def split_of(facts: Mapping[str, Any]) -> str | None:
    """The split of the data that a run was trained on, by its facts; None if it was trained elsewhere.

    Versions that wrote no split held out a user's last two items.
    """
    if "config" not in facts:
        return None
    return str(facts["config"].get("split", "last-item"))


def write_json(target: Path, content: object) -> None:
    """Write a JSON file whole or not at all; NaN and infinities, which JSON does not have, become null."""
    temporary = target.with_name(f".{target.name}.tmp")
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, target)


def share_mode(file: Path) -> None:
    """Give all files in and below a file's folder that file's permissions.

    safetensors writes its files readable for their owner alone.
    """
    mode = file.stat().st_mode
    for path in file.parent.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _finite(content: object) -> object:
    """The same content with None for every number that is not finite."""
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
