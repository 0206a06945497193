"""The options with which a ranker is loaded: one list, from which every interface makes its own.

The Python API takes the fields as keyword arguments, and the command line makes options of them.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, cast

from onyxrank.architectures.base import DEFAULT_CACHE_BYTES
from onyxrank.checks import check_count, is_path
from onyxrank.errors import InvalidInput
from onyxrank.loading.profile import AUTO_PROFILE
from onyxrank.loading.setting import check_most
from onyxrank.request.item_tokens import DEFAULT_ITEM_CACHE_BYTES
from onyxrank.scheduling.scheduler import DEFAULT_QUEUE_TOKENS
from onyxrank.sessions.providers import AUTO

Options = ParamSpec("Options")
Loaded = TypeVar("Loaded")
BundlePath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load a ranker. The values are checked when the options are made.

    Attributes:
        provider: name of an execution provider; ``auto`` takes the best that really runs, and `Ranker.info` says
            why.
        threads: CPU threads of one run; None takes the profile's number, or all CPUs that this process may use,
            shared among the sessions. If `threads` or `sessions` is given, the profile's number for the other one is
            not used either.
        profile: ``auto`` uses the setting that ``onyxrank tune`` found on a machine like this one, if it did, and
            `Ranker.info` says so. A path names a file that tune wrote, which must be of this machine. None uses no
            profile. What else is chosen here overrides the profile, and a provider or a variant that is named leaves
            it unused.
        variant: name of a graph variant; ``auto`` takes only one whose scores do not depend on the other items of the
            list.
        sessions: most micro-batches of a request that run at once, each on `threads` threads; None takes the
            profile's number, or 1.
        micro_batch_tokens: most tokens of one run, padding included; None takes the profile's number, or what is fast
            on most CPUs for the architecture.
        history_cache_bytes: most bytes of histories' states to keep for the same shoppers' next requests, in memory
            only (shared-history); 0 keeps none.
        item_cache_bytes: most bytes of items' texts and token ids to keep for the next request that has them, in
            memory only; 0 keeps none.
        queue_tokens: most tokens, padding included, of the requests that wait or run at once. A request that does not
            fit is refused with `Overloaded`. One request counts for at most half of this number.

    Raises:
        InvalidInput: if an option has a value that it cannot have; it names the option.

    """

    # The text beside a field is its help on the command line.
    provider: Annotated[str, "Execution provider."] = AUTO
    variant: Annotated[str, "Graph variant."] = AUTO
    threads: Annotated[int | None, "CPU threads of one run."] = None
    sessions: Annotated[int | None, "Most micro-batches of a request that run at once."] = None
    micro_batch_tokens: Annotated[int | None, "Most tokens of one run, padding included."] = None
    profile: Annotated[str | os.PathLike[str] | None, "'auto', 'none', or a file that tune wrote."] = AUTO_PROFILE
    queue_tokens: Annotated[int, "Most tokens of the requests that wait or run."] = DEFAULT_QUEUE_TOKENS
    history_cache_bytes: Annotated[int, "Most MiB of histories to keep in memory."] = DEFAULT_CACHE_BYTES
    item_cache_bytes: Annotated[int, "Most MiB of items' texts and token ids likewise."] = DEFAULT_ITEM_CACHE_BYTES

    def __post_init__(self) -> None:
        for name in ("provider", "variant"):
            if not isinstance(getattr(self, name), str):
                raise InvalidInput(f"{name} must be a name, not {type(getattr(self, name)).__name__}", field=name)
        for name in ("threads", "sessions", "micro_batch_tokens"):
            if getattr(self, name) is not None:
                self._check_count(name)
        for name in ("threads", "sessions"):
            check_most(getattr(self, name) or 0, name)
        for name in ("history_cache_bytes", "item_cache_bytes"):
            self._check_count(name, least=0)
        self._check_count("queue_tokens")
        if self.profile is not None and not is_path(self.profile):
            raise InvalidInput("profile must be 'auto', a file, or None", field="profile")

    def _check_count(self, name: str, least: int = 1) -> None:
        # A number of numpy becomes one of Python, since JSON and onnxruntime do not accept numpy's.
        object.__setattr__(self, name, check_count(getattr(self, name), name, least=least))


SERVER_OPTIONS = LoadOptions(queue_tokens=16_384)
"""The options that a server loads a bundle with by default.

Its queue is shorter, since people wait for it: with MiniLM-L6 it is about two seconds of work on two cores.
"""


def takes(
    options: Callable[Options, LoadOptions],
) -> Callable[
    [Callable[[type[Loaded], BundlePath, LoadOptions], Loaded]],
    Callable[Concatenate[type[Loaded], BundlePath, Options], Loaded],
]:
    """Make a decorator for a class method that takes `LoadOptions`.

    The decorated method takes each option as a keyword argument instead, and its signature shows them.
    """

    def decorate(
        load: Callable[[type[Loaded], BundlePath, LoadOptions], Loaded],
    ) -> Callable[Concatenate[type[Loaded], BundlePath, Options], Loaded]:
        def with_keywords(
            cls: type[Loaded], bundle: BundlePath, *args: Options.args, **chosen: Options.kwargs
        ) -> Loaded:
            return load(cls, bundle, options(*args, **chosen))

        functools.update_wrapper(with_keywords, load)
        own = list(inspect.signature(load).parameters.values())[:-1]
        shown: Any = with_keywords
        shown.__signature__ = inspect.signature(load).replace(
            parameters=[*own, *inspect.signature(options).parameters.values()]
        )
        return cast("Callable[Concatenate[type[Loaded], BundlePath, Options], Loaded]", with_keywords)

    return decorate
