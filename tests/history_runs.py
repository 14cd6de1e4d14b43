"""Runs of one case over days, for the tests of the history."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from harness.records import Environment, Run
from tests.cli_runs import IDENTITY, a_case, a_run

__all__ = ["STEP", "a_day", "days", "steady"]


def steady(count: int, *, around: float = 1.0, noise: float = 0.01, seed: int = 1) -> list[float]:
    """Values of an unchanged case: log-normal, with this standard deviation."""
    rng = random.Random(seed)
    return [around * rng.lognormvariate(0, noise) for _ in range(count)]


STEP = [*steady(10, around=0.0012), *steady(8, around=0.0014, seed=2)]
"""Latencies that go from 1.2 to 1.4 ms at the eleventh run."""


def a_day(number: int, latency: float = 0.0012, *, name: str = "a", **changes: Any) -> Run:
    """The run of the day with this number, from 1 on, at the commit of that number."""
    day = f"2026-{1 + (number - 1) // 28:02}-{1 + (number - 1) % 28:02}"
    fields: dict[str, Any] = {
        "id": f"{day}_100000_{number}",
        "started": f"{day}T10:00:00+00:00",
        "finished": f"{day}T10:10:00+00:00",
        "environment": Environment({"cpu": IDENTITY}, {"python": "3.11.9"}, {}, commit=f"{number:040x}"),
    }
    return a_run([a_case(name, latency=latency)], **(fields | changes))


def days(latencies: Sequence[float], **changes: Any) -> list[Run]:
    """A run a day with these latencies."""
    return [a_day(number, latency, **changes) for number, latency in enumerate(latencies, start=1)]
