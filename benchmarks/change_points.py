"""What the change points of the history find, and how often they are wrong, on simulated series.

    python benchmarks/change_points.py [--series 2000]

Steady series give the share with a false change; series with one step the share in which it alone is found, within one
run of its place. The noise from run to run is log-normal; `odd runs` makes one run in twenty 30 % slower,
`drift` adds a machine that wanders (an autoregression, 0.7) with the same standard deviation, and `two values` has no
noise, but another value in one run in five, as what is counted has. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.history.changes import levels

NOISE = 0.02
Series = Callable[[random.Random, int], list[float]]


def plain(rng: random.Random, count: int) -> list[float]:
    """Independent noise."""
    return [rng.gauss(0, NOISE) for _ in range(count)]


def odd(rng: random.Random, count: int) -> list[float]:
    """The same, with odd runs."""
    return [value + (math.log(1.3) if rng.random() < 0.05 else 0.0) for value in plain(rng, count)]


def drifting(rng: random.Random, count: int) -> list[float]:
    """Noise that remembers, as hours of a shared machine do."""
    found, state = [], 0.0
    for _ in range(count):
        state = 0.7 * state + rng.gauss(0, NOISE * math.sqrt(1 - 0.7**2))
        found.append(state)
    return found


def two_values(rng: random.Random, count: int) -> list[float]:
    """What is counted: one value, and in one run in five another."""
    return [NOISE if rng.random() < 0.2 else 0.0 for _ in range(count)]


def false_alarms(make: Series, count: int, series: int) -> float:
    """The share of steady series in which a change is told."""
    rng = random.Random(count)
    return sum(bool(levels(_exp(make(rng, count)))) for _ in range(series)) / series


def found(make: Series, count: int, step: float, series: int) -> float:
    """The share of series with one step in which that step alone is told."""
    rng = random.Random(f"{count}{step}")
    right = 0
    for _ in range(series):
        at = rng.randrange(count // 4, count - count // 4)
        values = [value + (math.log1p(step) if i >= at else 0.0) for i, value in enumerate(make(rng, count))]
        starts = levels(_exp(values))
        right += len(starts) == 1 and abs(starts[0] - at) <= 1
    return right / series


def _exp(logs: list[float]) -> list[float]:
    return [math.exp(value) for value in logs]


def rows(series: int) -> Iterator[str]:
    """The table, a line each."""
    yield f"| noise of {NOISE:.0%} between runs | runs | false change | step of 5 % found | 10 % | 20 % |"
    yield "|---|---|---|---|---|---|"
    kinds = {
        "independent": plain,
        "odd runs": odd,
        "drift": drifting,
        "two values, one run in five the other": two_values,
    }
    for name, make in kinds.items():
        for count in (10, 30, 100):
            shares = [false_alarms(make, count, series)]
            shares += [found(make, count, step, series) for step in (0.05, 0.10, 0.20)]
            yield f"| {name} | {count} | " + " | ".join(f"{share * 100:.1f} %" for share in shares) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=2000, help="series a number (default: %(default)s)")
    for row in rows(parser.parse_args().series):
        print(row, flush=True)
