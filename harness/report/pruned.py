"""What removing weights costs and buys: accuracy against the share removed, and whether anything became faster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import Evidence
from harness.report.gains import REFERENCE, SAME_RATIO, Subject
from harness.report.overview import CaseView
from harness.units import ratio

__all__ = ["Removal", "families", "removals", "verdict_on_speed"]


@dataclass(frozen=True)
class Removal:
    """A case whose techniques removed weights.

    removed    share of the reference's weights that are gone or zero
    factor     how many times as fast an item is as in the same pipeline without those techniques; None where that was
               not measured
    faster     whether the intervals show it to be faster
    unpruned   that pipeline
    """

    view: CaseView
    technique: str
    removed: float
    accuracy: float
    factor: float | None
    faster: bool
    unpruned: str


def removals(subject: Subject) -> tuple[Removal, ...]:
    """The cases of a model that promised zeros or fewer weights, by the share removed."""
    reference = subject.reference
    total = _weights(reference) if reference else 0.0
    if total <= 0:
        return ()
    found = []
    known = {v.result.technique: v for v in subject.cases if v.completed and v.result}
    for view in subject.cases:
        accuracy = view.estimate("accuracy")
        removing = {e.technique for e in view.result.evidence if _removes(e)} if view.result else set()
        if accuracy is None or view.result is None or not removing:
            continue
        steps = view.result.technique.split("+")
        unpruned = "+".join(step for step in steps if step not in removing) or REFERENCE
        factor, faster = _against(view, known.get(unpruned))
        removed = min(max(1 - _weights(view) / total, 0.0), 1.0)
        found.append(Removal(view, view.result.technique, removed, accuracy.point, factor, faster, unpruned))
    return tuple(sorted(found, key=lambda item: item.removed))


def families(found: Sequence[Removal]) -> tuple[tuple[Removal, ...], ...]:
    """Cases that differ in numbers alone, such as `pruned_weights:0.5` and `pruned_weights:0.8`: each is a curve."""
    curves: dict[str, list[Removal]] = {}
    for item in found:
        curves.setdefault(re.sub(r"\d+(\.\d+)?", "", item.technique), []).append(item)
    return tuple(tuple(curve) for curve in curves.values())


def verdict_on_speed(found: Sequence[Removal]) -> str:
    """The sentence whether anything that was removed made the model faster."""
    known = [item for item in found if item.factor is not None]
    faster = [item for item in known if item.faster]
    if not known:
        return "None was measured beside the same pipeline without the pruning, so nothing is known of its speed."
    if not faster:
        return (
            f"None of the {len(known)} is faster than the same pipeline without the pruning: what was removed brings "
            "no speed in these runtimes."
        )
    named = ", ".join(f"{item.technique} ({ratio(item.factor or 0.0)})" for item in faster)
    rest = ", ".join(f"{item.technique} ({ratio(item.factor or 0.0)})" for item in known if not item.faster)
    return f"Faster than the same pipeline without it: {named}." + (f" Not faster: {rest}." if rest else "")


def _removes(evidence: Evidence) -> bool:
    return evidence.kept and re.match(r"(sparsity|parameters)\b", evidence.promise) is not None


def _weights(view: CaseView) -> float:
    """Weights that are not zero."""
    facts = view.result.facts if view.result else {}
    numbers = [facts.get(name, 0) for name in ("parameters", "sparsity")]
    parameters, sparsity = (float(n) if isinstance(n, (int, float)) else 0.0 for n in numbers)
    return parameters * (1 - sparsity)


def _against(view: CaseView, unpruned: CaseView | None) -> tuple[float | None, bool]:
    """How many times as fast a case is as another one, both timed beside the reference; and whether that is shown."""
    own = view.estimate("speedup")
    if own is None or unpruned is None or unpruned.result is None:
        return None, False
    other = unpruned.estimate("speedup")
    if other is None:
        if unpruned.result.technique != REFERENCE:
            return None, False
        return own.point, own.low > 1 and own.point > 1 + SAME_RATIO
    if not other.point > 0:
        return None, False
    return own.point / other.point, own.low > other.high and own.point > other.point * (1 + SAME_RATIO)
