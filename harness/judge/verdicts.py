"""From comparisons to the verdict of a case, and cases that are not there."""

from __future__ import annotations

from collections.abc import Iterable

from harness.baseline.records import Portable
from harness.records import Comparison, Verdict

__all__ = ["case_verdict", "missing"]


def case_verdict(comparisons: Iterable[Comparison]) -> Verdict:
    """The worst verdict of a case's comparisons; INVALID where there are none, since nothing was shown then."""
    return max((one.verdict for one in comparisons), key=lambda verdict: verdict.severity, default=Verdict.INVALID)


def missing(expected: Iterable[Portable], present: set[tuple[str, str]]) -> tuple[Comparison, ...]:
    """A MISSING for each baseline whose (suite, case id) is not among the `present`, in the given order."""
    return tuple(
        Comparison(portable.suite, portable.case_id, "case", Verdict.MISSING, _reason(portable))
        for portable in expected
        if (portable.suite, portable.case_id) not in present
    )


def _reason(portable: Portable) -> str:
    accepted = portable.accepted
    return (
        f"{portable.case_id} has a baseline (accepted {accepted.when}: {accepted.reason}) and no result in this run. "
        f"If it was removed on purpose, delete its baseline with harness prune."
    )
