"""What a caller may choose about a ranker, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from onyxrank.architectures.batching import BatchLimits
from onyxrank.architectures.history_cache import DEFAULT_CACHE_BYTES
from onyxrank.checks import check_count
from onyxrank.errors import InvalidInput
from onyxrank.loading.profile import AUTO_PROFILE
from onyxrank.request.item_tokens import DEFAULT_ITEM_CACHE_BYTES
from onyxrank.scheduling.scheduler import DEFAULT_QUEUE_TOKENS
from onyxrank.sessions.providers import AUTO

MOST_THREADS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What the caller may choose about a ranker.

    Attributes:
        provider: public name of an execution provider, or ``auto``.
        threads: CPU threads of one run; None for the profile's, or all that this process may use.
        profile: ``auto`` for this machine's, a file, or None for none.
        variant: name of a variant in the bundle, or ``auto``.
        sessions: most micro-batches of a request at once; None for the profile's, or 1.
        micro_batch_tokens: most tokens of one run, padding included; None for the profile's, or the architecture's.
        history_cache_bytes: most bytes of histories to keep between requests; 0 for none.
        item_cache_bytes: most bytes of items' texts and token ids to keep between requests; 0 for none.
        queue_tokens: most tokens, padding included, of the requests that wait or run.

    """

    provider: str = AUTO
    threads: int | None = None
    profile: str | os.PathLike[str] | None = AUTO_PROFILE
    variant: str = AUTO
    sessions: int | None = None
    micro_batch_tokens: int | None = None
    history_cache_bytes: int = DEFAULT_CACHE_BYTES
    item_cache_bytes: int = DEFAULT_ITEM_CACHE_BYTES
    queue_tokens: int = DEFAULT_QUEUE_TOKENS

    def __post_init__(self) -> None:
        for name in ("provider", "variant"):
            if not isinstance(getattr(self, name), str):
                raise InvalidInput(f"{name} must be a name, not {type(getattr(self, name)).__name__}", field=name)
        for name in ("threads", "sessions"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_count(getattr(self, name), name))
                if getattr(self, name) > MOST_THREADS:
                    raise InvalidInput(
                        f"{name} must be at most {MOST_THREADS}, not {getattr(self, name)}", field=name
                    )
        if self.micro_batch_tokens is not None:
            BatchLimits(micro_batch_tokens=self.micro_batch_tokens)
        for name in ("history_cache_bytes", "item_cache_bytes"):
            object.__setattr__(self, name, check_count(getattr(self, name), name, least=0))
        object.__setattr__(self, "queue_tokens", check_count(self.queue_tokens, "queue_tokens"))
        if not (self.profile is None or isinstance(self.profile, str | os.PathLike)):
            raise InvalidInput("profile must be 'auto', a file, or None", field="profile")

    def batch_limits(self, architecture: str) -> BatchLimits:
        """Limits of the micro-batches without a profile."""
        if self.micro_batch_tokens is None:
            return BatchLimits.of(architecture)
        return BatchLimits(micro_batch_tokens=self.micro_batch_tokens)
