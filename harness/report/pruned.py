"""What removing weights costs and buys: accuracy against the share removed, and whether anything became faster."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import Estimate, Evidence
from harness.report.gains import REFERENCE, SAME_RATIO, Subject, alone
from harness.report.overview import CaseView
from harness.units import ratio

__all__ = ["Removal", "families", "removals", "verdict_on_speed"]


@dataclass(frozen=True)
class Removal:
    """A case whose techniques removed weights.

    removed    share of the weights that are gone or zero: of the same pipeline's without those techniques, or of the
               reference's where that was not measured
    factor     how many times as fast an item is as in the same pipeline without those techniques; None where that was
               not measured
    most       what that may be at most, by the intervals; infinite where one launch, which has none, was all
    faster     whether the intervals show it to be faster
    unpruned   that pipeline
    """

    view: CaseView
    technique: str
    removed: float
    accuracy: float
    factor: float | None
    most: float
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
        without = known.get(unpruned)
        factor, most, faster = _against(view, without)
        # A runtime's file may hold more than the network does: a table once for each of its readers.
        held = (_weights(without) if without else 0.0) or total
        removed = min(max(1 - _weights(view) / held, 0.0), 1.0)
        found.append(Removal(view, view.result.technique, removed, accuracy.point, factor, most, faster, unpruned))
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
    single = " One launch has no interval." if any(math.isinf(item.most) for item in known) else ""
    if not faster:
        said = f"None of the {len(known)} is shown to be faster than the same pipeline without the pruning"
        if all(item.most <= 1 + SAME_RATIO for item in known):
            said += ": what was removed brings no speed in these runtimes"
        return f"{said}.{single}"
    named = ", ".join(f"{item.technique} ({ratio(item.factor or 0.0)})" for item in faster)
    rest = ", ".join(f"{item.technique} ({ratio(item.factor or 0.0)})" for item in known if not item.faster)
    others = f" Not shown to be faster: {rest}." if rest else ""
    return f"Faster than the same pipeline without it: {named}.{others}{single}"


def _removes(evidence: Evidence) -> bool:
    return evidence.kept and re.match(r"(sparsity|parameters)\b", evidence.promise) is not None


def _weights(view: CaseView) -> float:
    """Weights that are not zero."""
    facts = view.result.facts if view.result else {}
    numbers = [facts.get(name, 0) for name in ("parameters", "sparsity")]
    parameters, sparsity = (float(n) if isinstance(n, (int, float)) else 0.0 for n in numbers)
    return parameters * (1 - sparsity)


def _against(view: CaseView, unpruned: CaseView | None) -> tuple[float | None, float, bool]:
    """How many times as fast a case is as another one, both timed beside the reference: the point and at most; and
    whether it is shown to be faster.
    """
    own = view.estimate("speedup")
    if own is None or unpruned is None or unpruned.result is None:
        return None, math.inf, False
    plain = unpruned.result.technique == REFERENCE
    other = unpruned.estimate("speedup") or (Estimate.exact(1.0) if plain else None)
    if other is None or not other.point > 0:
        return None, math.inf, False
    factor = own.point / other.point
    if alone(own) or alone(other) or not other.low > 0:
        return factor, math.inf, False
    return factor, own.high / other.low, own.low > other.high and factor > 1 + SAME_RATIO
