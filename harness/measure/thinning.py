"""How many timed calls a run keeps: enough of each launch for a picture, few enough of them all for the memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.records import Launch, Result

__all__ = ["SAMPLES_OF_A_RUN", "evenly", "thinned"]

SAMPLES_OF_A_RUN = 4_000_000
"""Samples that all cases of a run may keep together, 32 bytes each in memory and 11 in `run.json`.

A launch keeps at most 400 calls of each arm, so only runs of more than a thousand cases come to this. Nothing is judged
by samples: the percentiles of a launch are taken from all its calls before.
"""
LEAST_SAMPLES = 20
"""Of a launch's arm: fewer show no distribution."""


def thinned(result: Result, cases: int) -> Result:
    """A result with its part of the samples of a run of so many cases, evenly over time."""
    lists = sum(len(launch.samples) for launch in result.launches)
    most = max(LEAST_SAMPLES, SAMPLES_OF_A_RUN // max(1, cases * lists))
    if all(len(values) <= most for launch in result.launches for values in launch.samples.values()):
        return result
    return dataclasses.replace(result, launches=tuple(_thin(launch, most) for launch in result.launches))


def evenly(values: Sequence[float], most: int) -> tuple[float, ...]:
    """At most so many of the values, evenly over time."""
    kept = min(most, len(values))
    return tuple(values[number * len(values) // kept] for number in range(kept))


def _thin(launch: Launch, most: int) -> Launch:
    return dataclasses.replace(launch, samples={arm: evenly(v, most) for arm, v in launch.samples.items()})
