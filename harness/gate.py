"""Whether a decided case makes its test red, and a run that ended its pytest; the text that says why and what helps."""

from __future__ import annotations

from collections.abc import Sequence

from harness.grid import Case
from harness.judge import advice
from harness.records import Comparison, Outcome, Result, Run, Verdict
from harness.settings import Settings
from harness.timed_test import TimedTest

__all__ = ["gate", "undone", "unmeasured", "verdict_of"]

DECIDED = {Verdict.UNCHANGED, Verdict.IMPROVED, Verdict.REGRESSED, Verdict.MISSING, Verdict.INVALID, Verdict.ERROR}

LOG_LINES = 15


def gate(settings: Settings, result: Result, comparisons: Sequence[Comparison]) -> tuple[bool, str]:
    """Whether the case fails, and its message ("" where it does not).

    A case that broke fails in every mode; verdicts on numbers fail where the mode compares with something.
    """
    strict = settings.mode == "strict"
    if settings.gates:
        failing = [one for one in comparisons if one.verdict.fails(strict=strict)]
    else:
        failing = [one for one in comparisons if one.verdict is Verdict.ERROR]
    broken = result.outcome not in (Outcome.COMPLETED, Outcome.UNAVAILABLE)
    if not failing and not broken:
        return False, ""
    worst = max((one.verdict for one in failing), key=lambda verdict: verdict.severity, default=None)
    lines = [f"{result.case_id}: {worst or verdict_of(result.outcome)}"]
    lines += [f"  {one.reason}" for one in failing] or [f"  {result.outcome}: {result.reason}"]
    if failing:
        lines += [f"  {line}" for line in dict.fromkeys(advice(one, result.nodeid) for one in failing)]
    if result.log:
        lines += ["  last output of the process:", *(f"    {line}" for line in result.log.splitlines()[-LOG_LINES:])]
    return True, "\n".join(lines)


def verdict_of(outcome: Outcome) -> Verdict:
    """The verdict of a case that was not compared with anything."""
    if outcome is Outcome.COMPLETED:
        return Verdict.NEW
    if outcome is Outcome.UNAVAILABLE:
        return Verdict.SKIPPED
    return Verdict.INVALID if outcome is Outcome.INVALID else Verdict.ERROR


def undone(settings: Settings, run: Run) -> str | None:
    """What makes a whole run fail although no single test did; None where nothing does."""
    if not run.complete:
        return None
    measured = sum(result.outcome is Outcome.COMPLETED for result in run.results)
    if run.expected and not measured:
        return "nothing was measured: every selected case was skipped or failed"
    if settings.gates and not any(comparison.verdict in DECIDED for comparison in run.comparisons):
        if settings.against:
            return f"nothing was decided: no selected case could be compared with {settings.against}"
        return (
            "nothing was decided: no selected case has a baseline that this machine can be compared with; "
            "make one with: pytest suites/ --baseline=update --reason 'first baseline'"
        )
    return None


def unmeasured(case: Case | TimedTest, suite: str, nodeid: str, reason: str) -> Result:
    """The result of a case that was not measured, with its reason."""
    return Result(suite, case.id, nodeid, *case.words, Outcome.UNAVAILABLE, reason)
