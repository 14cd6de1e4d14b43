"""What it costs to time a call: the harness's loop and pytest-benchmark's against a bare one, in one process."""

from __future__ import annotations

import gc
import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, perf_counter_ns
from types import SimpleNamespace
from typing import Any

from scipy.stats import binom

from harness.hardware import cpu

__all__ = ["WORKS", "Cost", "call_costs", "median_interval"]

Call = Callable[[Any], Any]
PROBED = 100
"""Calls from which it is known how long one takes."""
Timed = tuple[float, float]
"""Seconds a call that the loop took as a whole, and the median of the times that it gave."""


@dataclass(frozen=True)
class Cost:
    """Microseconds a call above the bare loop: of the whole loop, and of the median time that it gives.

    Medians over paired repetitions, with their 95 % intervals.
    """

    loop: tuple[float, float, float]
    given: tuple[float, float, float]
    alone: float
    """Microseconds a call that the bare loop takes."""


def nothing(value: Any) -> None:
    """An empty function."""


def short(_: Any) -> int:
    """About 20 microseconds of interpreted Python."""
    total = 0
    for number in range(650):
        total += number & 7
    return total


WORKS: dict[str, Call] = {"an empty function": nothing, "a function of 20 µs": short}


def bare(call: Call, count: int) -> Timed:
    """The loop that anyone would write."""
    inputs, times = [0] * count, []
    began = perf_counter()
    for value in inputs:
        start = perf_counter_ns()
        call(value)
        times.append(perf_counter_ns() - start)
    return (perf_counter() - began) / count, statistics.median(times) / 1e9


def ours(call: Call, count: int) -> Timed:
    """The loop of an arm's turn."""
    inputs = [0] * count
    began = perf_counter()
    times, _ = cpu.time_calls(call, inputs)
    return (perf_counter() - began) / count, statistics.median(times) / 1e9


def pedantic(call: Call, count: int) -> Timed:
    """pytest-benchmark with one iteration a round, as the harness times calls: one by one."""
    fixture = _fixture()
    began = perf_counter()
    fixture.pedantic(call, args=(0,), rounds=count, iterations=1)
    return (perf_counter() - began) / count, statistics.median(fixture.stats.stats.data)


def automatic(call: Call, count: int) -> Timed:
    """pytest-benchmark left to itself: it calibrates how many iterations make a round, and gives means of rounds.

    It has the time that the bare loop takes for `count` calls, so that what it pays once weighs as in the others.
    """
    fixture = _fixture(max_time=count * bare(call, PROBED)[0])
    began = perf_counter()
    fixture(call, 0)
    stats = fixture.stats
    calls = stats.iterations * len(stats.stats.data)
    return (perf_counter() - began) / calls, statistics.median(stats.stats.data) / stats.iterations


LOOPS: dict[str, Callable[[Call, int], Timed]] = {
    "harness": ours,
    "pytest-benchmark, pedantic": pedantic,
    "pytest-benchmark, automatic": automatic,
}


def _fixture(max_time: float = 1.0) -> Any:
    """pytest-benchmark's own fixture with its default options, outside of pytest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytest_benchmark.fixture import BenchmarkFixture
        from pytest_benchmark.logger import Logger
        from pytest_benchmark.utils import NameWrapper

    return BenchmarkFixture(
        SimpleNamespace(name="case", nodeid="case"),
        disable_gc=False,
        timer=NameWrapper(time.perf_counter),
        min_rounds=5,
        min_time=5e-6,
        max_time=max_time,
        precision=None,
        confidence=0.99,
        warmup=False,
        warmup_iterations=100_000,
        calibration_precision=10,
        add_stats=lambda stats: None,  # noqa: ARG005
        logger=Logger(),
        warner=None,
        disabled=False,
        cprofile=None,
        cprofile_loops=None,
        cprofile_dump=None,
    )


def call_costs(call: Call, repetitions: int = 40, seconds: float = 0.02) -> dict[str, Cost]:
    """The cost of each loop on a function, from repetitions in which they and the bare one come in random order."""
    count = max(100, round(seconds / max(bare(call, PROBED)[0], 1e-7)))
    loops = {"bare": bare, **LOOPS}
    rows: dict[str, list[Timed]] = {name: [] for name in loops}
    order, shuffle = list(loops), random.Random(0).shuffle
    for _ in range(repetitions):
        shuffle(order)
        for name in order:
            gc.collect()
            rows[name].append(loops[name](call, count))
    alone = 1e6 * statistics.median(row[0] for row in rows["bare"])
    return {name: Cost(*(_above(rows[name], rows["bare"], which) for which in (0, 1)), alone) for name in LOOPS}


def _above(rows: Sequence[Timed], base: Sequence[Timed], which: int) -> tuple[float, float, float]:
    return median_interval([1e6 * (row[which] - other[which]) for row, other in zip(rows, base, strict=True)])


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """A median with its distribution-free interval of at least 95 %: two order statistics, by the binomial."""
    ordered = sorted(values)
    out = int(binom.ppf(0.025, len(ordered), 0.5))
    low = max(out - 1, 0)
    return statistics.median(ordered), ordered[low], ordered[len(ordered) - 1 - low]
