"""The tables of `benchmarks/anchors.py`, from its rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.spread import best_weights, fit, held_out, spread

__all__ = ["DISTURBED", "print_tables"]

DISTURBED = 0.05
"""Share of the time in which some task waited for a processor, above which an idle launch was not one."""

Row = Mapping[str, Any]
LOADS = {
    "idle": "idle, without the disturbed launches",
    "disturbed": "meant to be idle, and disturbed by others",
    "one": "a neighbour on the other core",
    "all": "a neighbour on every core",
    "any": "all launches together",
}


def load_of(row: Row) -> str:
    """`idle`, `disturbed`, `one` or `all`."""
    if row["load"] == "idle" and (row["pressure"] or 0) > DISTURBED:
        return "disturbed"
    return str(row["load"])


def group(rows: Iterable[Row], case: str, anchors: Sequence[str]) -> tuple[Any, Any]:
    """Logarithms of a case's times and of the anchors' as its rounds saw them, over the launches that have them all."""
    here = [row for row in rows if case in row["ratios"] and set(anchors) <= set(row["ratios"][case])]
    times = np.array([math.log(row["microseconds"][case]) for row in here])
    ratios = np.array([[row["ratios"][case][name] for name in anchors] for row in here])
    return times, times[:, None] - ratios.reshape(len(here), len(anchors))


def print_tables(rows: Sequence[Row]) -> None:
    """Print what each anchor leaves of each case's spread, by load and over the parts."""
    cases = sorted({case for row in rows for case in row["ratios"]})
    anchors = sorted({name for row in rows for found in row["ratios"].values() for name in found})
    if not rows:
        print("no launches yet")
        return
    counts = {load: sum(load_of(row) == load for row in rows) for load in ("idle", "disturbed", "one", "all")}
    parts = sorted({row["part"] for row in rows})
    print(f"{len(rows)} launches in {len(parts)} parts: " + ", ".join(f"{n} {load}" for load, n in counts.items()))
    for load, title in LOADS.items():
        chosen = [row for row in rows if load in (load_of(row), "any")]
        if chosen:
            _by_anchor(f"\n{title}: {len(chosen)} launches", chosen, cases, anchors)
            _mixes(chosen, cases, anchors)
    _shifts(rows, cases, anchors)
    if len(parts) > 2:
        _over_parts(rows, parts, cases, anchors)


def _by_anchor(title: str, rows: Sequence[Row], cases: Sequence[str], anchors: Sequence[str]) -> None:
    """A cell: spread of case / anchor; of case - b * anchor, launches left out one at a time; b. Best anchor first."""
    print(f"{title}\nstandard deviation between launches in %: of case / anchor, with the fitted b, and that b")
    _line("", [*cases, "left"], 20)
    alone = [100 * spread(group(rows, case, [])[0]) for case in cases]
    _line("alone", [*(f"{value:.2f}            " for value in alone), "1.00"], 20)
    processor = [100 * spread(_processor(rows, case)) for case in cases]
    _line("its CPU time", [*(f"{value:.2f}            " for value in processor), f"{_left(processor, alone):.2f}"], 20)
    lines = []
    for name in anchors:
        cells, ratios = [], []
        for case in cases:
            times, logs = group(rows, case, [name])
            found = fit(times, logs[:, 0])
            ratios.append(100 * spread(times - logs[:, 0]))
            cells.append(f"{ratios[-1]:.2f} {100 * found.ahead:5.2f} {found.slope:5.2f}")
        lines.append((_left(ratios, alone), name, cells))
    for left, name, cells in sorted(lines):
        _line(name, [*cells, f"{left:.2f}"], 20)


def _mixes(rows: Sequence[Row], cases: Sequence[str], anchors: Sequence[str]) -> None:
    """The best two anchors by the mean of their logarithms, and the best weights of them all."""
    alone = [spread(group(rows, case, [])[0]) for case in cases]
    pairs = []
    for pair in itertools.combinations(anchors, 2):
        groups = [group(rows, case, pair) for case in cases]
        pairs.append((_left([spread(times - logs.mean(axis=1)) for times, logs in groups], alone), pair))
    best = sorted(pairs)[:5]
    print("two together, left: " + ", ".join(f"{' + '.join(pair)} {left:.2f}" for left, pair in best))
    common = [name for name in anchors if all(name in found for row in rows for found in row["ratios"].values())]
    groups = [group(rows, case, common) for case in cases]
    if min(len(times) for times, _ in groups) >= 4:
        weights = sorted(zip(best_weights(groups), common, strict=True), reverse=True)
        named = ", ".join(f"{name} {weight:.2f}" for weight, name in weights if weight >= 0.01)
        print(f"best weights, left of what was held out {_left(held_out(groups), alone):.2f}: {named}")


def _shifts(rows: Sequence[Row], cases: Sequence[str], anchors: Sequence[str]) -> None:
    """By how much a neighbour moves each case, and its ratio to each anchor."""
    for load in ("one", "all"):
        print(f"\nmean shift in % from idle to {LOADS[load]}")
        _shifted(*([row for row in rows if load_of(row) == kind] for kind in ("idle", load)), cases, anchors)


def _shifted(before: Sequence[Row], after: Sequence[Row], cases: Sequence[str], anchors: Sequence[str]) -> None:
    _line("", [*cases, "rms"], 20)
    for name in ("", *anchors):
        moved = []
        for case in cases:
            means = [_mean(_value(chosen, case, name)) for chosen in (before, after)]
            moved.append(100 * math.expm1(means[1] - means[0]))
        _line(name or "alone", [*(f"{value:+.1f}" for value in moved), f"{_rms(moved):.1f}"], 20)


def _over_parts(rows: Sequence[Row], parts: Sequence[str], cases: Sequence[str], anchors: Sequence[str]) -> None:
    """Standard deviation of the parts' idle means: what stays between hours."""
    print("\nstandard deviation in % between the parts' means, idle launches")
    _line("", [*cases, "rms"], 20)
    idle = [row for row in rows if load_of(row) == "idle"]
    lines = []
    for name in ("", *anchors):
        spreads = []
        for case in cases:
            values = [_value([row for row in idle if row["part"] == part], case, name) for part in parts]
            spreads.append(100 * spread([_mean(found) for found in values if len(found)]))
        lines.append((_rms(spreads) if name else -1.0, name or "alone", spreads))
    for _, name, spreads in sorted(lines):
        _line(name, [*(f"{value:.2f}" for value in spreads), f"{_rms(spreads):.2f}"], 20)


def _value(rows: Sequence[Row], case: str, name: str) -> Any:
    """Logarithms of the case's times, or of their ratios to an anchor."""
    times, logs = group(rows, case, [name] if name else [])
    return times - logs[:, 0] if name else times


def _processor(rows: Sequence[Row], case: str) -> list[float]:
    """Logarithms of the processor time of a case's calls, where rows have it."""
    return [math.log(row["cpu"][case]) for row in rows if case in row.get("cpu", {})]


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _left(spreads: Sequence[float], alone: Sequence[float]) -> float:
    """What is left of the cases' spreads, as a share of what they have alone: the geometric mean over the cases."""
    logs = [math.log(left / own) for left, own in zip(spreads, alone, strict=True) if left > 0 and own > 0]
    return math.exp(_mean(logs))


def _rms(values: Iterable[float]) -> float:
    """Root mean square of those that are numbers: a case with too few launches has none."""
    squares = [value**2 for value in values if not math.isnan(value)]
    return math.sqrt(_mean(squares))


def _line(name: str, cells: Iterable[str], width: int) -> None:
    print(f"{name:13}" + "".join(f"{cell:>{width}}" for cell in cells))
