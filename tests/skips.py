"""What a run skipped and why, in five lines at most: pytest's own list has one for each place in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MOST_LINES = 5


def summary(reasons: Iterable[str], most: int = MOST_LINES) -> list[str]:
    """How many tests or modules were skipped for each reason, the most frequent first; the last line has the rest."""
    first_sentences = (reason.removeprefix("Skipped: ").partition(". ")[0] for reason in reasons)
    counts = Counter(first_sentences).most_common()
    alone = counts if len(counts) <= most else counts[: most - 1]
    lines = [f"{count} skipped: {reason}" for reason, count in alone]
    if rest := counts[len(alone) :]:
        told = "; ".join(reason for reason, _ in rest)
        lines.append(f"{sum(count for _, count in rest)} skipped for {len(rest)} other reasons: {told}")
    return lines
