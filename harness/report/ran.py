"""What ran in a case, beside what ran in its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.facts import counts
from harness.records import Scalar
from harness.report.gains import subjects
from harness.report.overview import CaseView
from harness.units import count

__all__ = ["Fact", "facts_beside", "more_or_fewer", "references"]

MAX_SAID = 3


@dataclass(frozen=True)
class Fact:
    """One fact of a case. `reference` is its reference's, "" where that has none; `differs` is about nothing else."""

    name: str
    value: str
    reference: str
    differs: bool


def references(views: Sequence[CaseView]) -> dict[tuple[str, str], CaseView]:
    """By suite and id of a case, the case that is the same model on the same hardware as it is."""
    found: dict[tuple[str, str], CaseView] = {}
    for subject in subjects(views):
        if subject.reference:
            others = (view for view in subject.cases if view is not subject.reference)
            found |= {(view.suite, view.id): subject.reference for view in others}
    return found


def facts_beside(view: CaseView, reference: CaseView | None) -> tuple[Fact, ...]:
    """The facts of a case, then those that only its reference has."""
    own, other = _facts(view), _facts(reference)
    names = [*own, *(name for name in other if name not in own)] if own else []
    return tuple(
        Fact(name, _text(own, name), _text(other, name), bool(other) and own.get(name) != other.get(name))
        for name in names
    )


def more_or_fewer(view: CaseView, reference: CaseView | None) -> str:
    """A sentence with the counts that differ from the reference's and may explain a change; "" where none does.

    Another runtime counts other things, so that nothing is said of a case that has one.
    """
    own, other = _facts(view), _facts(reference)
    if not own or own.get("runtime") != other.get("runtime"):
        return ""
    before = counts(other)
    differing = [(name, value, before[name]) for name, value in counts(own).items() if before.get(name, value) != value]
    if not differing:
        return ""
    here = ", ".join(f"{count(value)} {_noun(name)}" for name, value, _ in differing[:MAX_SAID])
    there = ", ".join(count(value) for _, _, value in differing[:MAX_SAID])
    return f"Ran with {here}; its reference with {there}."


def _facts(view: CaseView | None) -> Mapping[str, Scalar]:
    return view.result.facts if view and view.result else {}


def _text(facts: Mapping[str, Scalar], name: str) -> str:
    return str(facts[name]) if name in facts else ""


def _noun(name: str) -> str:
    kind, dot, of = name.partition(".")
    return f"{kind} ({of})" if dot else kind
