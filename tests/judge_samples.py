"""Results and baselines of one small case, for the tests of judging and of baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.baseline.records import BASELINE_SCHEMA, Accepted, Baseline, Block, Portable, Times, machine_class
from harness.baseline.store import Store
from harness.judge import estimate
from harness.metrics import resolve
from harness.records import Environment, Launch, Measurement, Outcome, Result, Scores

METRICS = resolve()
IDENTITY = {"kind": "cpu", "model": "Test CPU", "cores": 2, "threads": 1}
ELSEWHERE = {"kind": "cpu", "model": "Another CPU", "cores": 8, "threads": 1}
ENVIRONMENT = Environment({"cpu": IDENTITY}, {"python": "3.11.9", "numpy": "2.4.0"}, {}, commit="abc1234")
CASE = "digits/onnxruntime/cpu"
NODEID = f"suites/test_digits.py::test_inference[{CASE}]"
WORKLOAD = {"batch": "1", "inputs": "1111", "evaluation": "2222", "metric": "top-1 accuracy"}
ACCEPTED = Accepted("abc1234", "2026-01-01T00:00:00+00:00", "first baseline")

Numbers = Mapping[str, Sequence[float]]


def bits(right: Sequence[int] | str) -> str:
    """The packed form of right (1) and wrong (0) answers."""
    text = "".join(str(one) for one in right)
    padded = text + "0" * (-len(text) % 8)
    return "".join(f"{int(padded[i : i + 8], 2):02x}" for i in range(0, len(padded), 8))


def scores(right: Sequence[int] | str) -> Scores:
    """Scores of answers that are right (1) or wrong (0)."""
    answers = [int(one) for one in right]
    return Scores("top-1 accuracy", sum(answers) / len(answers), len(answers), bits(answers))


def a_launch(phase: str = "screen") -> Launch:
    return Launch(phase, 10, 1.0, 2.0, {"candidate": (0.01,)}, 1.0, 0.1, 1.0)


def a_result(
    values: Numbers, relative: Numbers | None = None, *, screen: int = 3, confirm: int = 0, **changes: Any
) -> Result:
    """A completed result with these values a launch (or one value) by metric."""
    relative = relative or {}
    measurements = tuple(
        Measurement(name, estimate(numbers), tuple(numbers), tuple(relative.get(name, ())))
        for name, numbers in values.items()
    )
    launches = tuple(a_launch("screen") for _ in range(screen)) + tuple(a_launch("confirm") for _ in range(confirm))
    fields: dict[str, Any] = {
        "suite": "digits",
        "case_id": CASE,
        "nodeid": NODEID,
        "model": "digits",
        "technique": "onnxruntime",
        "hardware": "cpu",
        "outcome": Outcome.COMPLETED,
        "measurements": measurements,
        "launches": launches,
        "workload": WORKLOAD,
        "weights": "aaaa",
    }
    return Result(**(fields | changes))


def a_block(values: Numbers, relative: Numbers | None = None) -> Block:
    return Block(
        ACCEPTED.when,
        ACCEPTED.commit,
        {name: tuple(numbers) for name, numbers in values.items()},
        {name: tuple(numbers) for name, numbers in (relative or {}).items()},
    )


def some_times(blocks: Sequence[Block], **changes: Any) -> Times:
    fields: dict[str, Any] = {
        "schema": BASELINE_SCHEMA,
        "suite": "digits",
        "case_id": CASE,
        "workload": {"batch": "1", "inputs": "1111"},
        "identity": IDENTITY,
        "software": ENVIRONMENT.software,
        "blocks": tuple(blocks),
        "accepted": ACCEPTED,
    }
    return Times(**(fields | changes))


def a_portable(values: Mapping[str, float], **changes: Any) -> Portable:
    fields: dict[str, Any] = {
        "schema": BASELINE_SCHEMA,
        "suite": "digits",
        "case_id": CASE,
        "nodeid": NODEID,
        "workload": {"evaluation": "2222", "metric": "top-1 accuracy"},
        "made_on": machine_class(IDENTITY),
        "weights": "aaaa",
        "values": values,
        "scores": None,
        "accepted": ACCEPTED,
    }
    return Portable(**(fields | changes))


def portables(store: Store) -> list[Portable]:
    """The portable part of every baseline, of which none is damaged."""
    found = [one for _, one in store.each()]
    assert all(isinstance(one, Portable) for one in found), found
    return found


def a_baseline(portable: Portable | None = None, times: Times | None = None, *others: Mapping[str, Any]) -> Baseline:
    return Baseline(portable, times, tuple(others))
