"""Whether a case answers as its reference does, number by number, and what that says of how it computes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.fidelity import alteration
from harness.report.gains import Subject, subjects
from harness.report.overview import CaseView
from harness.units import quantity

__all__ = ["FULL_PRECISION", "Nearness", "measured", "nearnesses"]

FULL_PRECISION = 70.0
"""Decibels below which a float32 network has computed something in fewer bits.

It lies between what was measured of the bundled models (see docs/metrics.md): float32 with sums in another order left
79 dB and more, weights in float16 left 63 and less. bfloat16 leaves about 43.
"""

FEWEST_BITS = 18.0
"""Decibels below which fewer bits explain nothing any more: what INT8 left at its worst (see docs/metrics.md)."""


@dataclass(frozen=True)
class Nearness:
    """How near the outputs of a case are to its reference's.

    precision  types in which its products compute, by what was read; empty where the runtime can't tell
    sqnr       in dB; infinite where every output is equal, None where the outputs can't be compared so
    cosine, agreement, identical  as the metrics, None where a case has none
    doubt      a sentence where that does not fit what was read from the network, else empty
    held       whether there was something to fit: the reference ran too, and the types were read
    """

    view: CaseView
    technique: str
    precision: str
    sqnr: float | None
    cosine: float | None
    agreement: float | None
    identical: float | None
    doubt: str
    held: bool


def nearnesses(subject: Subject) -> tuple[Nearness, ...]:
    """The cases of a model that were compared with its reference."""
    found = []
    reference = subject.reference
    for view in subject.cases:
        if view is reference or not view.completed or view.result is None:
            continue
        names = ("sqnr", "cosine", "agreement", "identical", "error")
        values = {name: e.point for name in names if (e := view.estimate(f"fidelity.{name}"))}
        if not values:
            continue
        sqnr = values.get("sqnr", math.inf if values.get("error") == 0 else None)
        precision, doubt = str(view.result.facts.get("precision", "")), _doubt(view, reference, sqnr)
        found.append(
            Nearness(
                view,
                view.result.technique,
                precision,
                sqnr,
                values.get("cosine"),
                values.get("agreement"),
                values.get("identical"),
                doubt,
                bool(doubt) or (reference is not None and bool(precision)),
            )
        )
    return tuple(found)


def measured(views: Iterable[CaseView]) -> tuple[Nearness, ...]:
    """Those of every model of a run."""
    return tuple(near for subject in subjects(views) for near in nearnesses(subject))


def _doubt(view: CaseView, reference: CaseView | None, sqnr: float | None) -> str:
    if view.result is None or reference is None or reference.result is None or sqnr is None:
        return ""
    facts, before = view.result.facts, reference.result.facts
    altered = alteration(facts, before)
    if altered and math.isinf(sqnr):
        return (
            f"{view.label} has {altered}, and its outputs equal the reference's to the last bit (infinite SQNR): "
            "either nothing of it reaches the outputs, or it is not what ran"
        )
    # What was trained anew gives other numbers in the same precision.
    trained = any(name.startswith("teacher.") for name in facts)
    if altered or trained or facts.get("precision") != "float32" or sqnr >= FULL_PRECISION:
        return ""
    found = f"{view.label} is float32 by all that was read, and only {quantity(sqnr, 'dB')} from the reference: "
    if sqnr < FEWEST_BITS:
        return (
            f"{found}that is less than even INT8 leaves ({FEWEST_BITS:.0f} dB and more), so fewer bits can't explain "
            "it. It computes something else: look for wrong values, such as other weights or another order of outputs"
        )
    return f"{found}somewhere it computes in fewer bits (bfloat16 leaves about 43 dB, float16 and TF32 about 65)"
