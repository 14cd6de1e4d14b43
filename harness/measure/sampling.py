"""Adding launches while a case is undecided, each as long as the spread calls for, and disturbed ones again."""

from __future__ import annotations

import dataclasses
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.disturbance import disturbances
from harness.hardware.base import Hardware
from harness.measure.launch import ArmSpec, launch
from harness.plan import LOTS, Plan
from harness.records import Launch

__all__ = ["Sampled", "best_seconds", "sample"]

LEAST_BETWEEN = 0.003
"""Standard deviation between launches assumed at least: three launches can't show that theirs is smaller."""

SHORTEST, LONGEST = 0.5, 3.0
"""Bounds of a fresh launch's sampling time, as multiples of `Plan.seconds`."""


@dataclass(frozen=True)
class Sampled:
    """The launches of a case. `cut_short` says that more were wanted when the time was over."""

    launches: tuple[Launch, ...]
    cut_short: bool


def sample(
    arms: Mapping[str, ArmSpec],
    *,
    hardware: Hardware,
    plan: Plan,
    rng: random.Random,
    logs: Path,
    more: Callable[[tuple[Launch, ...]], int],
    progress: Callable[[str], None] = lambda _: None,
    end: Callable[[], float] = lambda: math.inf,
) -> Sampled:
    """Make the screen launches of a case, then fresh ones for as long as more are wanted.

    `more` is told all launches so far and says how many fresh ones to make before it is asked again; 0 ends it. After
    `plan.budget` seconds no further launch is begun once there are as many fresh ones as may convict, and after the
    reading of `time.perf_counter()` that `end` gives once the screen is made, none at all. A disturbed launch is made
    again, at most `plan.repeats` times a case; what it showed is kept under the phase `repeated`. Raises
    `MeasurementError`.
    """
    launches: list[Launch] = []
    repeats = plan.repeats
    last, stop = time.perf_counter() + plan.budget, math.inf
    # With fewer fresh launches a slow model would convict nobody, and the slower it became the less.
    needed = min(LOTS[0], plan.confirm)
    total = plan.screen + plan.confirm

    def one(phase: str, seconds: float) -> None:
        nonlocal repeats
        while True:
            counted = sum(known.counts for known in launches)
            progress(f"launch {counted + 1} of at most {total}")
            made = launch(arms, hardware=hardware, plan=plan, rng=rng, logs=logs, phase=phase, seconds=seconds)
            again = repeats > 0 and time.perf_counter() < min(last, stop) and disturbances(made)
            launches.append(dataclasses.replace(made, phase="repeated") if again else made)
            if not again:
                return
            repeats -= 1

    def over() -> bool:
        now, fresh = time.perf_counter(), sum(known.phase == "confirm" for known in launches)
        return now >= stop or (now >= last and fresh >= needed)

    for _ in range(plan.screen):
        one("screen", plan.seconds)
    stop = end()
    while (lot := more(tuple(launches))) > 0:
        if over():
            return Sampled(tuple(launches), cut_short=True)
        seconds = best_seconds(launches, plan)
        for _ in range(lot):
            if not over():
                one("confirm", seconds)
    return Sampled(tuple(launches), cut_short=False)


def best_seconds(launches: Sequence[Launch], plan: Plan) -> float:
    """How long a launch should sample, so that the mean of launches is known best for the time spent.

    A launch that starts in c seconds and samples for t has the variance b^2 + w^2 / t, with b between launches and w
    within one of a second. The variance of the mean after a given time, (c + t)(b^2 + w^2 / t), is smallest at
    t = sqrt(c) w / b (Kalibera and Jones 2013, section 6; Cochran, Sampling Techniques, on two stages). Of several
    judged ratios the one that asks for most counts.
    """
    counted = [one for one in launches if one.counts]
    start = statistics.fmean(one.wall_seconds - one.seconds for one in counted)
    wanted = [
        math.sqrt(max(start, 0.0)) * within / between
        for name in counted[0].within
        if (found := _split(counted, name)) is not None
        for between, within in [found]
    ]
    return min(max([*wanted, SHORTEST * plan.seconds]), LONGEST * plan.seconds)


def _split(launches: Sequence[Launch], name: str) -> tuple[float, float] | None:
    """Standard deviation between launches of a ratio's logarithm, and within a launch of one second."""
    logs = [math.log(ratio) for one in launches if (ratio := getattr(one, name)) is not None]
    if len(logs) < 2:
        return None
    of_a_second = statistics.fmean(one.within[name] ** 2 * one.seconds for one in launches)
    sampling = statistics.fmean(one.within[name] ** 2 for one in launches)
    between = max(statistics.variance(logs) - sampling, LEAST_BETWEEN**2)
    return math.sqrt(between), math.sqrt(of_a_second)
