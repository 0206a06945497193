"""The latency report as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from figures import (
    BATCHES,
    BF16,
    CellFigures,
    Figures,
    WayFigures,
    faster_than_engine,
    fastest_engine,
    find,
    label,
    median_ms,
)
from provenance import origin

_MARK = "\\*"
_NEEDED = {"p95_ms": 20, "p99_ms": 100}
_COLUMNS = ("items", "way", "p50 ms", "p95 ms", "p99 ms", "items/s", "× (b)", "outside the model", "batch", "repeats")

_HOW_TO_READ = """\
**× (b)** is how many times faster than eager PyTorch in fp32, sorted batches, at its best batch size, measured in
the same rounds: the ways of one block of a table take turns. A percentile in brackets has too few repeats behind it
(p95 needs 20, p99 needs 100) and says no more than the slowest repeat. **Outside the model** is the share of the
engine's time that is not spent in ONNX Runtime. **Batch** is the rows of a batch in PyTorch, and the token budget of
a micro-batch in the engine. Items are real texts of the demo shop; their mean length in tokens is given per block.
"""


def render(figures: Figures) -> str:
    """Write the whole page."""
    parts = [_head(figures), *_warning(figures)]
    parts += [_history(figures, history) for history in figures.histories()]
    parts += [_bfloat16(figures), _sides(figures), "![latency by items, and speed-up](latency.png)\n"]
    return "\n".join(parts)


def _head(figures: Figures) -> str:
    content = figures.content
    record, bundle, limits = content["record"], content["bundle"], content["bundle"]["limits"]
    machine = record["machine"]
    memory = machine.get("memory_total_bytes")
    facts = {
        "measured": f"{origin(record)}; it took {sum(cell['seconds'] for cell in figures.cells) / 60:.1f} minutes",
        "machine": ", ".join(
            [
                machine["cpu_model"],
                f"{machine['cpus_usable']} usable CPUs",
                f"family {machine['machine_family']}",
                *([f"{memory / 2**30:.0f} GiB"] if memory else []),
                machine["os"],
            ]
        ),
        "threads": f"{content['threads']}, of the engine and of PyTorch alike",
        "model": (
            f"{bundle['architecture']} from base {bundle['base'] or 'unknown'}; up to {limits['history_tokens']} "
            f"tokens of history and {limits['item_tokens']} of an item"
        ),
        "versions": ", ".join(
            f"{name} {version}" for name, version in {"Python": machine["python"], **content["versions"]}.items()
        ),
    }
    return f"""# Latency

One request, from texts to a sorted ranking, tokenization included. Written by `benchmarks/report.py`; not edited.

{chr(10).join(f"- {name}: {fact}" for name, fact in facts.items())}

{_HOW_TO_READ}"""


def _warning(figures: Figures) -> list[str]:
    crowded = figures.crowded()
    if not crowded:
        return []
    most = max(cell["other_cpus"] for cell in crowded)
    return [
        f"> **Not valid.** Other processes kept up to {most:.1f} CPUs busy while {len(crowded)} of "
        f"{len(figures.cells)} cells were measured: {_places(crowded)}. That slows PyTorch far more than the engine, "
        "so the ratios are too high. Measure again on an idle machine.\n"
    ]


def _history(figures: Figures, history: int) -> str:
    lines = [f"## History of {history} tokens", "", *_table_head(_COLUMNS, left=(1, 8))]
    notes: dict[str, None] = {}
    for cell in figures.of_history(history):
        size = cell["size"]
        first = f"{cell['items']:,} ({size['item_tokens_mean']:.0f} tokens)"
        for name in figures.names():
            way = find(cell, name)
            if way is not None:
                lines.append(_row([first, *_way_cells(way, notes)]))
                first = ""
    lines += ["", *(_MARK * number + f" {note}." for number, note in enumerate(notes, start=1))]
    return "\n".join(lines).rstrip() + "\n"


def _way_cells(way: WayFigures, notes: dict[str, None]) -> list[str]:
    latency, settings, shares = way["latency"], way["settings"], way["shares"]
    mark = ""
    if way["note"]:
        notes.setdefault(way["note"])
        mark = " " + _MARK * (list(notes).index(way["note"]) + 1)
    batch = (
        f"{settings['rows']} row{'s' if settings['rows'] > 1 else ''}"
        if "rows" in settings
        else f"{settings['micro_batch_tokens']:,} tokens"
    )
    return [
        label(way["name"]) + mark,
        _number(latency["p50_ms"]),
        *(
            _number(latency[name]) if latency["repeats"] >= needed else f"({_number(latency[name])})"
            for name, needed in _NEEDED.items()
        ),
        f"{latency['items_per_s']:,.0f}",
        "–" if way["speedup"] is None else f"{way['speedup']:.2f}",
        "" if shares is None else f"{shares['overhead']:.1%}",
        batch,
        str(latency["repeats"]),
    ]


def _bfloat16(figures: Figures) -> str:
    """Say in which cells bf16 PyTorch beats which of the engine's variants."""
    lines = ["## Where (c), PyTorch in bfloat16, is faster than the engine", ""]
    compared = [cell for cell in figures.cells if find(cell, BF16)]
    if not compared:
        return "\n".join([*lines, "(c) was not measured: this CPU has no bf16.", ""])
    beaten = [cell for cell in compared if median_ms(find(cell, BF16) or {}) < median_ms(fastest_engine(cell))]
    lines += [
        f"(c) is faster than every variant of the engine in {len(beaten)} of {len(compared)} cells"
        f"{': ' + _places(beaten) if beaten else ''}.",
        "",
        *_table_head(
            ("history", "items", "(c) ms", "fastest of the engine", "ms", "(c) is faster than"), left=(3, 5)
        ),
    ]
    for cell in compared:
        other, best = find(cell, BF16), fastest_engine(cell)
        if other is not None:
            losers = ", ".join(way["name"] for way in faster_than_engine(cell, BF16)) or "none"
            row = [str(cell["history_tokens"]), f"{cell['items']:,}", _number(median_ms(other))]
            lines.append(_row([*row, best["name"], _number(median_ms(best)), losers]))
    return "\n".join(lines) + "\n"


def _sides(figures: Figures) -> str:
    lines = ["## Settings of each side", "", *_table_head(("way", "settings", "score difference"), left=(0, 1))]
    differences = figures.content["score_differences"]
    for name in figures.names():
        way = next(found for cell in figures.cells if (found := find(cell, name)))
        shown = {key: value for key, value in way["settings"].items() if key not in ("bundle", "variant", "rows")}
        text = "; ".join(f"{key} {value}" for key, value in shown.items())
        lines.append(_row([label(name), text, f"{differences[name]:.1e}" if differences[name] else "0"]))
    lines += [
        "",
        "The score difference is the largest change of a probability from fp32 over 8 items, which every way ranked "
        f"before the measurement. {label(BATCHES)} tried batches of 4, 8, 16, 32, 64 and all items in every cell of "
        "up to 100 items and took the fastest, and so did (c); 1,000 items take what was best for 100.",
    ]
    return "\n".join(lines) + "\n"


def _places(cells: Iterable[CellFigures]) -> str:
    return ", ".join(
        f"{cell['items']:,} item{'s' if cell['items'] > 1 else ''} with a history of {cell['history_tokens']}"
        for cell in cells
    )


def _number(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def _table_head(columns: Sequence[str], left: Sequence[int]) -> list[str]:
    return [_row(columns), _row("---" if index in left else "---:" for index in range(len(columns)))]


def _row(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"
