"""The metrics of a suite: the built-in ones, which keep their meaning, and its own."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from harness import Metric, SuiteError, grid
from harness.hardware import cpu
from harness.metrics import METRICS, resolve
from harness.techniques import reference
from harness.testing import tiny_torch_model

BUILT_IN = {metric.name: metric for metric in METRICS}


def test_a_suite_changes_limits_and_adds_metrics() -> None:
    wide = BUILT_IN["latency.p50"].with_tolerance(0.15)
    errors = Metric("error_rate", "share", "lower", slack=0.002, portable=True)
    assert resolve([wide, errors]) == {**BUILT_IN, wide.name: wide, errors.name: errors}


@pytest.mark.parametrize(
    ("own", "changed"),
    [
        (Metric("accuracy", "share", "lower", slack=0.002, portable=True), "better"),
        (Metric("accuracy", "share", "higher", slack=0.002), "portable"),
        (Metric("accuracy", "points", "lower", slack=0.2, portable=True), "unit and better"),
        (Metric("throughput", "items/s", "higher", derive=lambda row: row["speedup"]), "derive"),
    ],
)
def test_a_built_in_metric_keeps_its_meaning(own: Metric, changed: str) -> None:
    """The judge of accuracy knows which way is better: an error rate that rises would be an improvement."""
    with pytest.raises(SuiteError, match=f"{own.name} is built in, and its {changed} can't be changed") as caught:
        resolve([own])
    assert "a name of its own" in str(caught.value)


def test_the_time_of_preparing_has_no_limit_since_most_runs_lack_it() -> None:
    prepare = BUILT_IN["time.prepare"]
    for limited in (prepare.with_tolerance(0.5), dataclasses.replace(prepare, slack=1.0)):
        with pytest.raises(SuiteError, match=r"time\.prepare can't have a limit: .* --cold"):
            resolve([limited])
    assert resolve([prepare]) == BUILT_IN


def test_a_metric_is_given_once() -> None:
    with pytest.raises(SuiteError, match="size is given twice"):
        resolve([BUILT_IN["size"], BUILT_IN["size"].with_tolerance(0.1)])


def test_a_grid_says_so_when_it_is_collected() -> None:
    lower = Metric("accuracy", "share", "lower", slack=0.002, portable=True)
    with pytest.raises(SuiteError, match="accuracy is built in"):
        grid(model=[tiny_torch_model()], technique=[reference], hardware=[cpu], metrics=[lower])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Cost"}, "use lower case words joined by dots"),
        ({"better": "less"}, "better must be 'lower' or 'higher', not 'less'"),
        *(
            ({field: value}, f"{field} must be a finite number >= 0")
            for field in ("tolerance", "slack")
            for value in (math.inf, math.nan, -0.1)
        ),
        ({"tolerance": 5}, "tolerance=5 would accept nearly any change, since it is a share; write 0.1 for 10 %"),
        (
            {"unit": "share", "better": "higher", "slack": 1.0},
            "slack=1.0 would accept nearly any change, .* write 0.01 for one point",
        ),
        ({"unit": "share", "slack": 1}, "slack=1 would accept nearly any change, .* write 0.01 for one point"),
    ],
)
def test_a_metric_that_could_not_gate_is_refused(changes: dict[str, Any], words: str) -> None:
    """With another word than these a rise would be called an improvement; with an infinite limit nothing is worse, and
    hardly anything with per cent or points that were given as they are.
    """
    with pytest.raises(SuiteError, match=words):
        resolve([dataclasses.replace(Metric("cost", "USD", "lower", tolerance=0.1), **changes)])


def test_the_load_of_a_processor_may_rise_by_a_whole_core() -> None:
    """It is a share of one core, and there may be several."""
    busy = BUILT_IN["utilization.cpu"].with_tolerance(slack=1.0)
    assert resolve([busy]) == {**BUILT_IN, busy.name: busy}
