"""A model that does not fit into what its hardware allows it, told from one that fails for another reason.

A process that gets no more memory ends in many ways: an exception of any library, an import that fails, an exit code,
an abort, a kill. None of them is a proof. So what failed is done once more without the limit: where that works, the
limit was the cause.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

from harness.errors import MeasurementError
from harness.grid import Case
from harness.records import Evidence, Outcome
from harness.worker.protocol import MemoryMeasured

__all__ = ["evidence_of", "need_of", "or_alone", "or_without", "too_large", "unlimited"]

Arm = TypeVar("Arm")
T = TypeVar("T")
BESIDE = frozenset({"reference", "previous"})
"""Arms without which a case can be timed."""


def unlimited(case: Case) -> Case | None:
    """The case on its hardware without the limits; None where the hardware sets none."""
    lifted = getattr(case.hardware, "unlimited", None)
    return dataclasses.replace(case, hardware=lifted()) if lifted else None


def or_without(case: Case, attempt: Callable[[Case], T]) -> tuple[T, MeasurementError | None]:
    """What `attempt(case)` gives; where it fails, and works without limits, what it gives then, and the failure.

    Raises `MeasurementError` where it fails both ways, or there is no limit.
    """
    try:
        return attempt(case), None
    except MeasurementError as error:
        free = unlimited(case)
        if free is None or error.outcome == Outcome.INVALID:  # what it gave is wrong, or it had no limit
            raise
        try:
            return attempt(free), error
        except MeasurementError:
            raise error from None  # it fails everywhere, and not for the limit


def or_alone(
    case: Case, arms: Mapping[str, Arm], attempt: Callable[[Case, Mapping[str, Arm]], T]
) -> tuple[T, MeasurementError | None]:
    """What `attempt(case, arms)` gives; where the limits are too little for the arm beside the candidate, and not for
    the candidate, what it gives without that arm, and the failure.

    Raises `MeasurementError`, with outcome `oom` where they are too little for the candidate. That the candidate's own
    process failed beside the arm is enough: where it then ran alone, the arm would be blamed.
    """
    found, failure = or_without(case, lambda where: attempt(where, arms))
    if failure is None:
        return found, None
    error = too_large(case, failure)
    alone = {role: arm for role, arm in arms.items() if role not in BESIDE}
    if len(alone) == len(arms) or str(failure).startswith("candidate arm: "):
        raise error
    try:
        return attempt(case, alone), failure
    except MeasurementError as again:
        raise (again if again.outcome == Outcome.INVALID else error) from None


def too_large(case: Case, failure: MeasurementError, needed: str = "it fits until it is timed") -> MeasurementError:
    """The error for a case that fails under the limits of its hardware alone; `needed` is words on its need."""
    how = str(failure).rstrip(": ")  # the text of many a MemoryError is empty
    return MeasurementError(
        f"{case.id}: needs more than {case.hardware.name} allows: {needed}. Under the limit it ended with: {how} "
        "(allow it more, or make the model smaller)",
        outcome=Outcome.OOM,
        log=failure.log,
    )


def need_of(memory: MemoryMeasured) -> str:
    """What a memory pass without limits says of the need."""
    touched, asked = memory.values["memory.peak"] / 1e6, memory.asked / 1e6
    return f"without it, the process held {touched:.0f} MB of its own at most, and asked for {asked:.0f} MB at its end"


def evidence_of(case: Case, memory: MemoryMeasured) -> tuple[Evidence, ...]:
    """The limits under which memory was measured, as promises of the hardware that were kept."""
    return tuple(Evidence(case.hardware.name, promise, found, kept=True) for promise, found in memory.limits.items())
