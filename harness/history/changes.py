"""Where a series moved to another level: information for the reader, never a verdict.

The segments come from ruptures (PELT with the cost of the mean; Killick, Fearnhead and Eckley 2012), and are found in
logarithms, in units of the noise from run to run. A change is told only if the medians of both sides differ, and most
runs of each side lie at its own, so that one odd run is none.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.report.past import Change, Series
from harness.runtimes.packages import missing

__all__ = ["CURE", "FEWEST", "changes", "levels", "with_changes"]

FEWEST = 8
"""Points of a series below which nothing is looked for: noise and level could not be told apart."""
SHORTEST = 3
"""Runs that a level must have held."""
PENALTY = 4.0
"""Times the logarithm of the number of points: what another segment must explain, in units of the noise."""
APART = 4.5
"""Standard errors by which the medians of two neighbouring levels must differ. Like the penalty it was chosen by
simulation (benchmarks/change_points.py), where false changes on machines that wander weigh more than missed ones."""
FARTHEST = 5
"""Runs that lie so far apart are still compared to learn the noise, in series that are ten times as long."""
HELD = 0.75
"""The share of a level's runs that must lie nearer to it than to its neighbour."""
STEADY = 1e-4
"""The least noise that is assumed, relative: counted values have none, and rounding is no change."""
CURE = "change points need ruptures; pip install 'inference-harness[history]'"


def with_changes(series: Series) -> Series:
    """The series with its changes, or with a note that says why none could be looked for."""
    if len(series.points) < FEWEST:
        return dataclasses.replace(series, note=f"{FEWEST} runs are needed to look for changes")
    if missing("history", "ruptures"):
        return dataclasses.replace(series, note=CURE)
    return dataclasses.replace(series, changes=changes(series))


def changes(series: Series) -> tuple[Change, ...]:
    """The changes of a series with enough points. Looks at the ratios to the anchor where every run has one."""
    values = [point.value for point in series.points]
    ratios = [point.relative for point in series.points if point.relative is not None]
    by_anchor = len(ratios) == len(values)
    looked_at = ratios if by_anchor else values
    starts = levels(looked_at)
    found = []
    for first, at, end in _triples([0, *starts, len(values)]):
        before, after = (statistics.median(part) for part in (values[first:at], values[at:end]))
        old, new = (statistics.median(part) for part in (looked_at[first:at], looked_at[at:end]))
        share = (new - old) / (abs(old) or 1.0)
        found.append(Change(at, before, after, share, by_anchor))
    return tuple(found)


def levels(values: Sequence[float]) -> list[int]:
    """The positions at which another level begins, ascending; none where there are too few values."""
    if len(values) < FEWEST:
        return []
    signal = _scaled(values)
    from ruptures import KernelCPD  # here: what needs no change points must not wait for it

    search = KernelCPD(kernel="linear", min_size=SHORTEST).fit(signal.reshape(-1, 1))
    starts = [int(end) for end in search.predict(pen=PENALTY * math.log(len(signal)))[:-1]]
    while starts:
        # Levels that are alike are one, and the least different pair goes first: what is left has longer sides then.
        weights = [_apart(signal[a:b], signal[b:c]) for a, b, c in _triples([0, *starts, len(signal)])]
        weakest = min(range(len(starts)), key=weights.__getitem__)
        if weights[weakest] >= APART:
            break
        del starts[weakest]
    return starts


def _scaled(values: Sequence[float]) -> NDArray[np.float64]:
    """The values (positive ones as logarithms) in units of their noise, which runs near each other show."""
    raw = np.asarray(values, float)
    scale = np.log(raw) if raw.min() > 0 else raw / (np.abs(raw).max() or 1.0)
    # The median step, so that the few across a change of level do not count as noise. Runs further apart are compared
    # too, as far as that holds: where a machine wanders, neighbours are more alike than chance would have them.
    farthest = max(1, min(len(scale) // 10, FARTHEST))
    steps = [np.abs(scale[gap:] - scale[:-gap]) for gap in range(1, farthest + 1)]
    noise = max(float(np.median(one)) for one in steps) / (0.6745 * math.sqrt(2))
    if noise <= STEADY:
        # Most runs have the same value, and their median step is none however many have another, as with what is
        # counted. The step that one in seven exceeds tells. Not of other series, whose levels may have moved as often.
        # Of neighbours alone: across a larger gap each change of level counts several times.
        noise = float(np.quantile(steps[0], 6 / 7)) / (1.4652 * math.sqrt(2))
    centred: NDArray[np.float64] = (scale - np.median(scale)) / max(noise, STEADY)
    return centred


def _apart(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """How many standard errors the medians of two levels lie apart; that of a median is 1.25 times a mean's.

    Zero where more than a quarter of one side's runs lie nearer to the other's level: then no level was held.
    """
    old, new = float(np.median(before)), float(np.median(after))
    for own, other, side in ((old, new, before), (new, old, after)):
        if np.mean(np.abs(side - own) < np.abs(side - other)) < HELD:
            return 0.0
    return abs(new - old) / (1.2533 * math.sqrt(1 / len(before) + 1 / len(after)))


def _triples(ends: Sequence[int]) -> list[tuple[int, int, int]]:
    return list(zip(ends, ends[1:], ends[2:], strict=False))
