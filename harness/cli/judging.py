"""One run judged as if another were its baseline."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.amending import confirmed, of_tree
from harness.baseline.accept import baseline_of
from harness.baseline.compare import compare_with_baseline
from harness.baseline.records import Baseline, Portable, Times
from harness.comparing import software_changes
from harness.judge import Prior, fit_prior, missing
from harness.judge.times import ANCHORED
from harness.measured import UNMEASURED_IN_TURNS
from harness.metrics import Metric
from harness.names import within
from harness.records import Comparison, Environment, Outcome, Result, Run, Verdict
from harness.report.commands import in_turns, of_search
from harness.report.record import failed_tests, metrics_of

__all__ = ["compare_runs"]

_OF_TREES = {
    " Accept this run to have one.": "",
    "the other tree": "the old run",
    "the two trees": "the two runs",
    "the baseline": "the old run",
}
"""What is said of another tree or a baseline, and what is so where another run stands for it."""
_WITHOUT_RATIO = " holds its ratio to the anchor, and this run measured none."
"""What the judge says of latencies of which the baseline alone has ratios."""


def compare_runs(old: Run, new: Run) -> tuple[Comparison, ...]:
    """Every comparison of `new` with `old`, in the order of the new run.

    A case that the old run measured and the new one did not is MISSING, unless its hardware is not there, the new run
    left it to the full selection or was not given its folder, or was filtered or cut short and so does not claim to be
    whole. A metric that had no limit and that the new suite no longer has is not missed: no committed baseline has it.
    A case of the new run whose own test failed is an ERROR, as it was there. Latencies of which one run has no ratios
    to the anchor are INCOMPARABLE, and so is what the new run did not measure since it took turns with another tree,
    what outputs of another length have no value of, as it was there, and what the two declare in different units; what
    too few fresh launches convicted is INCONCLUSIVE, as there. Raises `RecordError` for a run that does not hold
    together.
    """
    measured = [result for result in old.results if result.outcome is Outcome.COMPLETED]
    declared = {result.suite: (metrics_of(old, result.suite), metrics_of(new, result.suite)) for result in measured}
    baselines = {
        (result.suite, result.case_id): _as_baseline(result, old.environment, *declared[result.suite])
        for result in measured
    }
    priors = _priors(measured, baselines)
    here = new.environment.hardware
    failed, turns = failed_tests(new), in_turns(new)
    found: list[Comparison] = []
    for result in new.results:
        baseline = baselines.get((result.suite, result.case_id), Baseline(None, None))
        absent = _absent(result, baseline, here)
        prior, identity = priors.get(result.hardware, Prior()), here.get(result.hardware, {})
        judged = compare_with_baseline(result, baseline, metrics_of(new, result.suite), prior, identity)
        test = _test_of(result, new)
        wanted = int(new.plan.get("confirm", 0))
        rows = [confirmed(_of_one_hour(row, result, test), result, wanted) for row in judged]
        found += [absent] if absent else [_of_runs(row, old, new, test, turns=turns) for row in rows]
        found += [row] if (row := failed.get((result.suite, result.case_id))) else []
    if new.complete and not new.filtered:
        present = {(result.suite, result.case_id) for result in new.results}
        gone = missing(_asked_for(_expected(baselines.values(), here), new), present)
        why = "the old run measured it, and this one has no result of it."
        found += [replace(row, reason=f"{row.case_id}: {why}") for row in gone]
    return tuple(found)


def _as_baseline(
    result: Result, environment: Environment, before: Mapping[str, Metric], now: Mapping[str, Metric]
) -> Baseline:
    """An old result as a baseline for a suite with the metrics `now`, which had those `before`: without what had no
    limit then and is no metric now.
    """
    dropped = {name for name, metric in before.items() if name not in now and not metric.gates}
    kept = tuple(one for one in result.measurements if one.metric not in dropped)
    return baseline_of(replace(result, measurements=kept), environment, before.values())


def _test_of(result: Result, run: Run) -> str:
    """The test of a case, quoted for a shell; of what a search tried, which is none, the suite file."""
    return shlex.quote(result.nodeid.partition("::")[0] if of_search(run) else result.nodeid)


def _priors(results: Iterable[Result], baselines: Mapping[tuple[str, str], Baseline]) -> dict[str, Prior]:
    """The usual spreads on each hardware of a run, by its name."""
    times: dict[str, list[Times]] = defaultdict(list)
    for result in results:
        found = baselines[result.suite, result.case_id].times
        times[result.hardware] += [found] if found else []
    return {hardware: fit_prior(found) for hardware, found in times.items()}


def _absent(result: Result, baseline: Baseline, hardware: Mapping[str, object]) -> Comparison | None:
    """The MISSING of a case that was measured before and could not be now, on hardware that is here; None otherwise."""
    if result.outcome is not Outcome.UNAVAILABLE or baseline.portable is None or result.hardware not in hardware:
        return None
    text = f"{result.case_id}: {result.reason}; the old run measured it, and this one did not"
    return Comparison(result.suite, result.case_id, "case", Verdict.MISSING, text)


def _expected(baselines: Iterable[Baseline], hardware: Mapping[str, object]) -> list[Portable]:
    """What must be in a whole run on a machine with this hardware."""
    portables = [baseline.portable for baseline in baselines if baseline.portable]
    return [portable for portable in portables if portable.case_id.rpartition("/")[2] in hardware]


def _of_one_hour(row: Comparison, result: Result, test: str) -> Comparison:
    """The comparison, INCOMPARABLE where it held seconds of one hour against those of another, or had no others."""
    measured = result.measurement(ANCHORED)
    if row.metric != ANCHORED or measured is None or measured.relative:
        return row
    if row.change is not None:
        who = "neither run took turns with the anchor"
    elif _WITHOUT_RATIO in row.reason:
        who = "the old run took turns with the anchor, and this one did not"
    else:
        return row
    why = (
        f"{ANCHORED}: {who}, so that a change of the machine can't be told from that of a case; measure both with "
        f"pytest and without --against, or in turns: harness compare --against REV {test}"
    )
    return replace(row, verdict=Verdict.INCOMPARABLE, reason=why, change=None, detectable=None)


def _of_runs(row: Comparison, old: Run, new: Run, test: str, *, turns: bool) -> Comparison:
    """A comparison that the judge made with another run, which is no baseline: nothing can be accepted over it, and no
    block added to it. What turns with another tree do not measure is not missed in a run that took them, nor is what a
    suite derives, as of such ones.
    """
    if turns and row.verdict is Verdict.MISSING and _is_unmeasured(row, new):
        why = f"{row.metric}: not measured in turns with another tree, as this run was; measure it without --against."
        return replace(row, verdict=Verdict.INCOMPARABLE, reason=why)
    said, blocks, _ = of_tree(row).reason.partition(" The baseline has ")
    for of_tree_or_baseline, otherwise in _OF_TREES.items():
        said = said.replace(of_tree_or_baseline, otherwise)
    if blocks:
        said += f" One run is one block of launches; in turns it can be decided: {_command_in_turns(old, new)} {test}"
    return replace(row, reason=said)


def _is_unmeasured(row: Comparison, new: Run) -> bool:
    """Whether turns with another tree leave out a metric, or what a suite derives."""
    derived = {str(one["name"]) for one in new.metrics if one.get("suite") == row.suite and one.get("derived")}
    return row.metric.startswith(UNMEASURED_IN_TURNS) or row.metric in derived


def _command_in_turns(old: Run, new: Run) -> str:
    """The command that compares in turns what two runs measured, as far as they tell it, without a test."""
    before, now = old.environment, new.environment
    against = "REV" if before.dirty else before.commit[:12] or "REV"
    if before.commit and before.commit == now.commit and not (before.dirty or now.dirty):
        # Against the commit that is measured, both arms would be the same.
        against = ". --with 'NAME==OLD'" if software_changes(before.software, now.software) else "."
    return f"harness compare --against {against}"


def _asked_for(portables: Iterable[Portable], run: Run) -> list[Portable]:
    """Those that a whole run should have: of a suite that it has anything of, or in a folder that it was given.

    A record that does not say what it was given is asked for all.
    """
    selected = str(run.environment.state.get("selected", ".")).splitlines()
    reserved, suites = set(run.reserved), {result.suite for result in run.results}
    return [
        one
        for one in portables
        if f"{one.suite}/{one.case_id}" not in reserved
        and (one.suite in suites or any(within(one.nodeid, folder) for folder in selected))
    ]
