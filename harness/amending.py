"""What a run says otherwise than the judge, where it knows more of a case than a comparison of numbers does."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

from harness.baseline.make import told
from harness.baseline.portable import home_of, one_differs
from harness.baseline.records import Baseline, machine_class
from harness.judge import Prior, fresh_launches
from harness.judge.compare import LEAST_FRESH
from harness.judge.words import quoted
from harness.metrics import Metric, calls_needed
from harness.plan import Plan
from harness.records import Comparison, Result, Scalar, Verdict

__all__ = [
    "acceptable",
    "as_said",
    "confirmed",
    "gone_of_commit",
    "of_commit",
    "of_tree",
    "told_wanted",
    "wanted_launches",
    "with_home",
    "with_launches",
    "with_time",
]

_OF_BASELINES = {
    "changed since the baseline was made": "changed between the two trees",
    "the baseline has no such value yet": "no such value was measured of the other tree",
    "the baseline has a value, and this run measured none": "the other tree has a value, and this one has none",
    "has no baseline yet": "has nothing in the other tree to be compared with",
    "can't be paired with the baseline's": "can't be paired with the other tree's",
    " in the baseline.": " in the other tree.",
    "and the baseline's is in": "and the other tree's is in",
}
"""What the judge says of a baseline, and what is so where another tree stands for it."""
_TIME_OVER = re.compile(r"[Ii]ts time was over after \d+ of (\d+) fresh launches")


def of_commit(row: Comparison) -> Comparison:
    """A comparison with a commit's baselines, which stay as they are: nothing is advised that would change them."""
    said = _unaccepted(row).reason.partition(" The baseline has ")[0].removesuffix(" Accept this run to have one.")
    return dataclasses.replace(row, reason=said)


def gone_of_commit(row: Comparison) -> Comparison:
    """The same of a case that is gone: it advises to delete no baseline, since one in a commit stays."""
    return dataclasses.replace(row, reason=row.reason.partition(" If it was removed on purpose")[0])


def of_tree(row: Comparison) -> Comparison:
    """A comparison that the judge made with another tree, which is no baseline, and has nothing to accept."""
    reason = _unaccepted(row).reason
    for of_baseline, otherwise in _OF_BASELINES.items():
        reason = reason.replace(of_baseline, otherwise)
    return dataclasses.replace(row, reason=reason)


def confirmed(row: Comparison, result: Result, wanted: int) -> Comparison:
    """A comparison, undecided where fewer fresh launches convict than `wanted`, and than convict at all: so few of them
    speak too early (`harness.plan.LOTS`), and only the end of the run's time leaves so few.
    """
    least = min(LEAST_FRESH, wanted)
    if row.verdict is not Verdict.REGRESSED or row.detectable is None or not 0 < (made := _fresh(result)) < least:
        return row
    reason = (
        f"{row.reason} It could not be confirmed, since its time was over after {made} of {least} fresh launches; "
        "a longer --budget gives it more."
    )
    return dataclasses.replace(row, verdict=Verdict.INCONCLUSIVE, reason=reason)


def as_said(row: Comparison, result: Result, plan: Plan, wanted: int) -> Comparison:
    """A comparison as a run with this plan says it of a case whose screen `wanted` so many fresh launches."""
    timed = with_time(row, result, plan, wanted)
    return confirmed(with_launches(timed, result, plan, wanted), result, plan.confirm)


def wanted_launches(result: Result, baseline: Baseline, metrics: Mapping[str, Metric], prior: Prior, most: int) -> int:
    """How many fresh launches, at most `most`, the screen of a result asked for; 0 where none were made.

    Asked of the launches and not remembered: a result may come from a run that was interrupted.
    """
    first = next((i for i, launch in enumerate(result.launches) if launch.phase == "confirm"), 0)
    if not first:
        return 0
    # What has one value for all launches keeps it.
    measurements = tuple(
        dataclasses.replace(one, values=one.values[:first], relative=one.relative[:first])
        for one in result.measurements
    )
    screen = dataclasses.replace(result, launches=result.launches[:first], measurements=measurements)
    return fresh_launches(screen, baseline, metrics, prior, most)


def told_wanted(rows: Iterable[Comparison]) -> dict[tuple[str, str], int]:
    """How many fresh launches a run's comparisons say were wanted, by suite and case id, of each case whose time was
    over before it had them. The baselines may have changed since, and would ask for another number today.
    """
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        if over := _TIME_OVER.search(row.reason):
            key = (row.suite, row.case_id)
            found[key] = max(int(over.group(1)), found.get(key, 0))
    return found


def with_time(row: Comparison, result: Result, plan: Plan, wanted: int) -> Comparison:
    """A comparison of a case whose time was over before it had the fresh launches that were `wanted`: where it is
    undecided, it says what gives it more.
    """
    if row.verdict is not Verdict.INCONCLUSIVE or row.detectable is None or (made := _fresh(result)) >= wanted:
        return row
    taken, cure = [launch.wall_seconds for launch in result.launches], "a longer --budget"
    # A case's own time leaves it what may convict; before that only the run's is over. It is counted from the first of
    # these launches: what sampling took may hold others, made before an arm was found too large for its hardware.
    if made >= min(LEAST_FRESH, plan.confirm) and sum(taken) >= plan.budget:
        seconds = max(taken) * (len(taken) + wanted - made)
        cure = f"--plan budget={math.ceil(seconds / 60) * 60}"
    reason = f"{row.reason} Its time was over after {made} of {wanted} fresh launches; {cure} gives it more."
    return dataclasses.replace(row, reason=reason)


def with_launches(row: Comparison, result: Result, plan: Plan, wanted: int) -> Comparison:
    """A comparison of a case that had all fresh launches that were `wanted`, fewer than its plan allows: it does not
    advise to allow more, since another run would want as many.
    """
    said, advice, _ = row.reason.partition(" More launches settle it: ")
    if not (advice and 0 < wanted <= _fresh(result) and wanted < plan.confirm):
        return row
    reason = (
        f"{said} It had the {wanted} fresh launches that it asked for, and they differ more than its screen showed: "
        f"measure it again: pytest {quoted(result.nodeid)}"
    )
    return dataclasses.replace(row, reason=reason)


def acceptable(row: Comparison, result: Result) -> Comparison:
    """A comparison that does not advise to accept a percentile of too few calls, which enters no baseline."""
    if row.verdict is not Verdict.NEW or told(result, row.metric):
        return row
    needed, least = calls_needed(row.metric), min(launch.calls for launch in result.launches if launch.calls)
    reason = (
        f"{row.metric}: the baseline has no such value yet, and this run can't give it one, since a launch had "
        f"{least} of the {needed} calls that tell it; accept a run whose launches (--plan seconds) are "
        f"{math.ceil(needed / least)} times as long."
    )
    return dataclasses.replace(row, reason=reason)


def with_home(
    row: Comparison,
    rows: Iterable[Comparison],
    result: Result,
    baseline: Baseline,
    metrics: Mapping[str, Metric],
    identity: Mapping[str, Scalar],
) -> Comparison:
    """A comparison that waits for the machine class that made the portable values, where that is another one than this
    machine's: an accuracy that only that class can decide, or a new fidelity, which no run that is accepted here keeps
    while the other values agree. It says what helps there, and what helps where no such machine will. `rows` are all
    comparisons of the result.
    """
    portable = baseline.portable
    undecided = row.metric == "accuracy" and row.verdict is Verdict.INCONCLUSIVE
    new = row.metric.startswith("fidelity.") and row.verdict is Verdict.NEW
    # The class is a digest, and asked of few rows.
    if portable is None or not (undecided or new) or portable.made_on == machine_class(identity):
        return row
    there = f"{row.reason} On a machine of"
    if new:
        if one_differs(result, metrics, rows, portable):
            return row
        if home_of(result, identity, metrics, baseline, portable) != portable.made_on:
            return row
        there = (
            f"{row.metric}: the baseline has no such value yet, and takes one only from the class of machine that made "
            "the others, whose limit is the strict one. Accept a run of"
        )
    reason = (
        f"{there} {portable.made_on}: pytest {quoted(result.nodeid)}; where that class is no longer in use, or is not "
        "the one that shall gate: delete this case's folder in baselines/ and accept a run of this class."
    )
    return dataclasses.replace(row, reason=reason)


def _fresh(result: Result) -> int:
    return sum(launch.phase == "confirm" for launch in result.launches)


def _unaccepted(row: Comparison) -> Comparison:
    """A comparison that does not advise to accept anything."""
    said, command, _ = row.reason.partition(": harness accept ")
    return dataclasses.replace(row, reason=f"{said.rpartition('; ')[0]}.") if command else row
