"""Settings: a setting says how a bundle is run on a machine. It is a default, a caller's choice, or measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onyxrank.checks import check_count, shown
from onyxrank.errors import InvalidInput

MOST_THREADS = 1024
"""Most threads, and most sessions, that are accepted, and most threads of all sessions together. A larger number is
taken to be a mistake: to start so many takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything about a ranker that changes its speed and not what it ranks.

    Attributes:
        variant: name of the bundle's variant.
        provider: onyxrank's name of the execution provider, such as ``cpu``.
        threads: number of CPU threads of one run.
        sessions: most micro-batches that run at the same time.
        micro_batch_tokens: most tokens of one run, padding included.

    """

    variant: str
    provider: str
    threads: int
    sessions: int
    micro_batch_tokens: int

    def __post_init__(self) -> None:
        for name in ("threads", "sessions", "micro_batch_tokens"):
            # A number of numpy becomes one of Python, since JSON and onnxruntime do not accept numpy's.
            object.__setattr__(self, name, check_count(getattr(self, name), name))
        for name in ("threads", "sessions"):
            check_most(getattr(self, name), name)
        if self.threads * self.sessions > MOST_THREADS:
            raise InvalidInput(
                f"{self.sessions} sessions of {self.threads} threads are more than {MOST_THREADS} threads",
                field="threads",
            )

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Setting:
        """Make a setting of a mapping that has its fields among others, such as a row of a profile's report."""
        return cls(**{name: row[name] for name in cls.__slots__})

    def __str__(self) -> str:
        """Describe the setting in one line for people."""
        sessions = f"{self.sessions} sessions of " if self.sessions > 1 else ""
        threads = f"{sessions}{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.variant} on {self.provider}, {threads}, runs of {self.micro_batch_tokens} tokens"


def check_most(count: int, field: str) -> None:
    """Check a number of threads or sessions.

    Raises:
        InvalidInput: if it is above `MOST_THREADS`; it names the field.

    """
    if count > MOST_THREADS:
        raise InvalidInput(f"{field} must be at most {MOST_THREADS}, not {shown(count)}", field=field)
