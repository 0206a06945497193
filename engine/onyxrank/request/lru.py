"""A cache within a budget of bytes, which lets go of the least recently used values first (LRU).

The item cache and the caches of histories' states are built on it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """A cache of values by key, in memory only. Safe to share between threads.

    Args:
        max_bytes: most bytes of all values together; 0 keeps none. A value larger than that is not kept.

    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._bytes = self._hits = self._misses = 0

    def find(self, keys: Sequence[Key]) -> list[Value | None]:
        """Look keys up: each one's value, or None where there is none. What was found counts as used just now."""
        with self._lock:
            found = [self._kept.get(key) for key in keys]
            for key, entry in zip(keys, found, strict=True):
                if entry is not None:
                    self._kept.move_to_end(key)
            hits = len(keys) - found.count(None)
            self._hits += hits
            self._misses += len(keys) - hits
        return [None if entry is None else entry[0] for entry in found]

    def keep(self, entries: Iterable[tuple[Key, Value, int]]) -> None:
        """Put values in, and let go of the least recently used ones until all fit the budget.

        Args:
            entries: for each value its key, the value, and the number of bytes that it counts for.

        """
        with self._lock:
            for key, value, size in entries:
                if size > self._max_bytes:
                    continue
                replaced = self._kept.pop(key, None)
                self._kept[key] = (value, size)
                self._bytes += size - (replaced[1] if replaced else 0)
                while self._bytes > self._max_bytes:
                    self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Let go of all values; the counts of hits and misses stay."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def facts(self) -> dict[str, int]:
        """Report the number of entries, their bytes, the budget, hits and misses, as JSON values."""
        with self._lock:
            return {
                "entries": len(self._kept),
                "bytes": self._bytes,
                "max_bytes": self._max_bytes,
                "hits": self._hits,
                "misses": self._misses,
            }
