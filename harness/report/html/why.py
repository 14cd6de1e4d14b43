"""Why the run failed, case by case, and what else was found, as values that the templates only lay out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.records import Comparison, Run, Verdict
from harness.report.commands import (
    accept_command,
    acceptable,
    allow_command,
    of_revision,
    prune_command,
    reproduce_command,
)
from harness.report.fidelity import measured
from harness.report.html.cases import anchor
from harness.report.html.charts import dumbbell
from harness.report.overview import CaseView, Failing, Overview
from harness.report.ran import more_or_fewer, references
from harness.report.reasons import MAX_NAMED, brief, rules, said, without_name
from harness.report.weight import comparisons_by_weight

__all__ = ["MAX_CARDS", "not_decided", "why"]

MAX_CARDS = 40
"""Failing cases that get a card with pictures; what fails in further ones gets lines in a table."""
MAX_FINDINGS = 8
"""Metrics of a case in its card; a case has all of them in its own section."""
_LOG_LINES = 20


def why(seen: Overview) -> dict[str, Any]:
    """The cases that fail, worst first: cards with pictures, then lines."""
    failing = seen.failing
    shown = {_subject(one.view) for one in failing[:MAX_CARDS]}
    near_by = [view for view in seen.cases if _subject(view) in shown]
    beside = references(near_by)
    doubts = {(near.view.suite, near.view.id): near.doubt for near in measured(near_by)}
    cards = []
    for i, one in enumerate(failing[:MAX_CARDS], start=1):
        key = (one.view.suite, one.view.id)
        doubt = without_name(doubts.get(key, ""), one.view.label)
        ran = seen.run.baselines.get("/".join(key), {}).get("ran", "")
        # What ran before says more than what runs in the reference, where a baseline has kept it.
        beside_it = f"What ran is no longer the same: {ran}." if ran else more_or_fewer(one.view, beside.get(key))
        hints = (beside_it, f"{doubt[:1].upper()}{doubt[1:]}.")
        cards.append(_card(seen, f"why-{i}", one, [hint for hint in hints if hint.strip(".")]))
    rest = [comparison for one in failing[MAX_CARDS:] for comparison in one.comparisons]
    return {
        "named": cards[:MAX_NAMED],
        "unnamed": max(len(failing) - MAX_NAMED, 0),
        "cards": cards,
        "lines": [(c, said(c)) for c in rest],
        "total": len(failing),
        "drawn": any(finding["picture"] for card in cards for finding in card["findings"]),
    }


def _subject(view: CaseView) -> tuple[str, ...]:
    """What a case shares with the reference that it is held against."""
    return (view.suite, view.result.model, view.result.hardware) if view.result else ()


def _card(seen: Overview, key: str, one: Failing, hints: Sequence[str]) -> dict[str, Any]:
    view, result = one.view, one.view.result
    ended = result is not None and not view.completed
    return {
        "key": key,
        "view": view,
        "word": one.worst.verdict.value,
        "anchor": anchor(view.suite, view.id),
        "brief": brief(one.worst),
        "hints": hints,
        "findings": [
            {"c": c, "said": said(c), "picture": dumbbell(f"{key}-{i}", c)}
            for i, c in enumerate(one.comparisons[:MAX_FINDINGS], start=1)
        ],
        "dropped": max(len(one.comparisons) - MAX_FINDINGS, 0),
        "rules": rules(one.comparisons),
        "reproduce": reproduce_command(seen.run, result.nodeid) if result else "",
        "cure": _cure(seen.run, one),
        "outcome": result.outcome.value if result is not None and ended else "",
        "log": result.log if result is not None and ended else "",
        "log_lines": _LOG_LINES,
    }


def _cure(run: Run, one: Failing) -> tuple[str, str]:
    """What to do if what failed is right: what it is called, and the command; "" where there is none."""
    if one.worst.verdict is Verdict.MISSING and one.worst.metric == "case":
        # One that is still in the suites has a result that says why it was not measured, and prune leaves it alone.
        if one.view.result is None:
            return "If it was removed on purpose", "" if of_revision(run) else prune_command(run)
        return "If it can't run here", allow_command(run, one.view.result)
    return "Accept it", accept_command(run, one.view.name) if acceptable(run, one.view) else ""


def not_decided(seen: Overview) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
    """What fails nothing and should be known: what could not be decided, and what got better."""
    run, failing = seen.run, set(seen.failures)
    open_ones = (Verdict.INCONCLUSIVE, Verdict.INCOMPARABLE, Verdict.NEW)
    undecided = [c for c in run.comparisons if c.verdict in open_ones and c not in failing]
    better = [c for c in run.comparisons if c.verdict is Verdict.IMPROVED]
    return comparisons_by_weight(undecided), comparisons_by_weight(better)
