"""Whether calls have come to a steady time: warm-up is detected, not assumed.

A fixed number of discarded calls is too few for a runtime that compiles or tunes while it runs, and some workloads
never settle at all (Barrett et al., OOPSLA 2017). So the medians of consecutive windows of calls are watched: the calls
are steady when four windows in a row agree. What does not come to that within the limit is served all the same, and
said to be unsteady.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Steady", "settle"]

WINDOW_SECONDS = 0.015
WINDOW_CALLS = 200
WINDOWS = 4
AGREE = 0.04
"""Largest relative difference between the windows of a steady state: on shared machines 15 ms differ by 1 to 3 %."""
LIMIT_SECONDS = 1.0
LIMIT_WINDOWS = 6
"""Windows that a slow workload gets even where they take longer than the limit."""


@dataclass(frozen=True)
class Steady:
    """`call_seconds` is the median of the last window, `calls` how many were made until then."""

    call_seconds: float
    calls: int
    steady: bool


def settle(call: Callable[[int], float]) -> Steady:
    """Make calls until they are steady. `call` makes the one with the given number and gives its seconds."""
    spent = call(0)
    # The first call may be anything; from the second on, the latest ones tell how many make a window.
    latest = call(1)
    spent, calls = spent + latest, 2
    medians: list[float] = []
    while True:
        size = min(WINDOW_CALLS, max(1, math.ceil(WINDOW_SECONDS / max(latest, 1e-7))))
        window = [call(calls + number) for number in range(size)]
        calls, spent = calls + size, spent + sum(window)
        latest = statistics.median(window)
        medians.append(latest)
        last = medians[-WINDOWS:]
        if len(last) == WINDOWS and max(last) <= (1 + AGREE) * min(last):
            return Steady(latest, calls, steady=True)
        if spent > LIMIT_SECONDS and len(medians) >= LIMIT_WINDOWS:
            return Steady(statistics.median(medians[-LIMIT_WINDOWS:]), calls, steady=False)
