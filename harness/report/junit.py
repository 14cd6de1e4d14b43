"""Properties of a case for JUnit files: what pytest's own `--junitxml` writes beside a test."""

from __future__ import annotations

from collections.abc import Iterable

from harness.records import Comparison, Outcome, Result
from harness.report.overview import CaseView
from harness.report.text import visible

__all__ = ["properties"]


def properties(result: Result, comparisons: Iterable[Comparison]) -> list[tuple[str, str]]:
    """(name, value) pairs for a test's `user_properties`: outcome, verdict, metrics in base units, and what was judged.

    Names start with `harness.`; values are plain numbers or words, which other tools can read. pytest escapes them for
    XML; what XML can't hold at all is written out.
    """
    view = CaseView(result.suite, result.case_id, result, tuple(comparisons))
    pairs = [
        ("harness.case", result.case_id),
        ("harness.suite", result.suite),
        ("harness.outcome", result.outcome.value),
        ("harness.verdict", view.word),
    ]
    if result.outcome is Outcome.COMPLETED:
        pairs += [(f"harness.{m.metric}", repr(m.estimate.point)) for m in result.measurements]
    elif result.reason:
        pairs.append(("harness.reason", result.reason))
    for comparison in view.comparisons:
        key = f"harness.{comparison.metric}"
        pairs.append((f"{key}.verdict", comparison.verdict.value))
        if comparison.change is not None:
            pairs.append((f"{key}.change", repr(comparison.change.point)))
    return [(visible(name), visible(value)) for name, value in pairs]
