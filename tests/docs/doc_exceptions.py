"""Where the tests do something other than a reader would, and why: nothing else is left out or changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

SUBSTITUTIONS: dict[str, tuple[str, str]] = {
    r"--base (minilm|bert-base-uncased)": ("--base tiny", "no hub here, and a minute for a second"),
    r"^(onyxrank train )(?!.*--help)": (
        r"\1--history-tokens 12 --item-tokens 6 --validation-lists 10 --max-steps 4 --contrastive-steps 2 ",
        "a small model is enough to see that the command works",
    ),
    r"--contrastive-steps \d+": ("--contrastive-steps 2", "250 steps take ten minutes"),
    r"^(onyxrank export \S+ --out \S+)$": (r"\1 --precision fp32", "the gate judges nothing learnt in a second"),
    r"^(onyxrank export .*)": (r"\1 --gate-lists 8", "as many as show that it works"),
    r"^(onyxrank evaluate .*)": (r"\1 --lists 8", "as many as show that it works"),
    r"^(onyxrank tune \S+)(.*?)( --budget \S+)?$": (r"\1\2 --budget 3s", "minutes of measuring"),
    r"^(onyxrank bench \S+).*": (r"\1 --items 4 --repeats 1 --budget 1 --no-eager", "a minute of measuring"),
}
"""Pattern in a command: what stands for it in the test, and why."""

COVERED: dict[str, str] = {
    "python3 -m venv venv": "tests/test_packaging.py makes an environment and installs into it",
    ". venv/bin/activate": "the same",
    "onyxrank train --data interactions.csv --base minilm --arch cross --out run-long --evaluations 4 --resume": (
        "tests/export/test_resuming.py interrupts a training and resumes it"
    ),
}
"""Lines that are run elsewhere."""

ELSEWHERE: dict[str, str] = {
    f"onyxrank.integrations.{name} ": "tests/integrations/test_documented.py runs it where the library is"
    for name in ("langchain", "llama_index", "haystack")
}
"""What a Python block imports: where it is run."""

UNRUN: dict[tuple[str, str], str] = {
    ("docs/serve.md", "nginx"): "nginx is no dependency of the tests",
    ("docs/deploy.md", "dockerfile"): "there is no Docker in the tests",
    ("docs/bundle.md", "text"): "the tree of a folder; test_docs_blocks compares it with bundles",
}
"""Blocks that nothing runs, by page and language."""


def _fork(names: dict[str, Any]) -> None:
    """What gunicorn does in a new worker."""
    names["post_fork"](None, None)
    sys.modules.pop("app").ranker.close()


HOOKS: dict[str, Callable[[dict[str, Any]], None]] = {"gunicorn.conf.py": _fork}
"""Files that another program would call, and what stands for it."""
