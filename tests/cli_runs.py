"""Small runs on disk, for the tests of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.judge import estimate
from harness.metrics import METRICS
from harness.plan import Plan
from harness.records import (
    RUN_SCHEMA,
    Comparison,
    Environment,
    Launch,
    Measurement,
    Outcome,
    Result,
    Run,
    Scores,
    Verdict,
)
from harness.report.record import write_run

IDENTITY = {"kind": "cpu", "model": "Test CPU", "cores": 2, "threads": 1, "protocol": 1, "anchor": 1}
SPREAD = (0.996, 1.004, 0.999, 1.001, 1.0)
"""Launches of a steady machine, around one."""


def a_case(name: str, *, latency: float = 0.010, size: float = 1e6, right: str = "f" * 50, **changes: Any) -> Result:
    """A completed case `name/reference/cpu`: launches around `latency`, 200 examples of which `right` (hex) were."""
    bits = bin(int(right, 16)).count("1")
    score = bits / (4 * len(right))
    values = {
        "latency.p50": [latency * factor for factor in SPREAD],
        "size": [size],
        "accuracy": [score],
    }
    relative = {"latency.p50": tuple(latency * 100 * factor for factor in SPREAD)}
    fields: dict[str, Any] = {
        "suite": "toys",
        "case_id": f"{name}/reference/cpu",
        "nodeid": f"suites/test_toys.py::test_toys[{name}/reference/cpu]",
        "model": name,
        "technique": "reference",
        "hardware": "cpu",
        "outcome": Outcome.COMPLETED,
        "measurements": tuple(
            Measurement(metric, estimate(numbers), tuple(numbers), relative.get(metric, ()))
            for metric, numbers in values.items()
        ),
        "launches": tuple(Launch("screen", 10, 1.0, None, {"candidate": (latency,)}, 1.0, 0.1, 1.0) for _ in SPREAD),
        "scores": Scores("top-1 accuracy", score, 4 * len(right), right),
        "workload": {"batch": "1", "inputs": "11", "evaluation": "22", "metric": "top-1 accuracy"},
        "weights": "aa",
    }
    return Result(**(fields | changes))


def without_numbers(name: str, outcome: Outcome, reason: str) -> Result:
    """A case that gave no numbers."""
    return a_case(name, outcome=outcome, reason=reason, measurements=(), launches=(), scores=None)


def a_run(results: Sequence[Result], **changes: Any) -> Run:
    """A complete run of whole suites on the test machine."""
    fields: dict[str, Any] = {
        "schema": RUN_SCHEMA,
        "id": "2026-01-01_000000_1",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:10:00+00:00",
        "complete": True,
        "filtered": False,
        "mode": "compare",
        "command": "pytest suites/",
        "plan": Plan().record(),
        "environment": Environment({"cpu": IDENTITY}, {"python": "3.11.9"}, {}, commit="abc1234"),
        "metrics": tuple(metric.record() for metric in METRICS),
        "results": tuple(results),
        "comparisons": (),
        "expected": len(results),
    }
    return Run(**(fields | changes))


def on_disk(folder: Path, name: str, results: Sequence[Result], **changes: Any) -> str:
    """Write a run into `folder/name` and give that folder."""
    write_run(a_run(results, id=name, **changes), folder / name)
    return str(folder / name)


def of_another_length(name: str) -> list[Result]:
    """A case as it was, and with outputs of another length than its reference's, which have no error."""
    case = a_case(name)
    before = (*case.measurements, Measurement("fidelity.error", estimate([0.01]), (0.01,)))
    told = "not measured of outputs, since output 0 holds 3 elements, and the reference's 4"
    return [replace(case, measurements=before), replace(case, facts={**case.facts, "fidelity": told})]


def of_test(result: Result, reason: str) -> Comparison:
    """What a run says of a case that was measured, and whose test is red all the same."""
    return Comparison(result.suite, result.case_id, "case", Verdict.ERROR, f"{result.case_id}: {reason}")
