"""`harness calibrate`: what this machine can tell of these suites, from runs in which nothing changed.

Exit codes: 0 every tolerance that was looked at can be held, and notes name the limits that were not; 1 one is smaller
than what the plan can tell, and is refused, or a verdict on time was a false alarm; 2 a case failed, so that not
everything was calibrated, or an error.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.baseline.records import machine_class
from harness.baseline.store import Store
from harness.cli.output import say, show
from harness.cli.running import LOG, SUITES, add_sampling_options, measured, plan_options
from harness.codec import decode, dumps
from harness.errors import BaselineError, SuiteError
from harness.judge import Prior, fit_prior
from harness.judge.alarms import Alarms
from harness.judge.calibration import Calibration, CaseCalibration, Quantity
from harness.judge.calibration import calibrate as read_runs
from harness.judge.design import MOST_LAUNCHES
from harness.judge.prior import DEFAULT_BLOCK, MIN_CASES, series
from harness.judge.times import ANCHORED, SPEEDUP, sampled
from harness.metrics import Metric
from harness.plan import Plan
from harness.records import Outcome, Run
from harness.report.record import metrics_of
from harness.report.text import shorten
from harness.settings import WORKING_TREE, Against
from harness.units import duration, percent, plural

__all__ = ["add", "calibrate"]

HELD, REFUSED, FAILED = range(3)
ENERGY = "energy.per_call"
_NAMES = {"against": "against another tree", "anchored": "latency.p50 / anchor", "speedup": "speedup"}
_COLUMNS = ("launches", "rounds", "runs", "tells", "limit", "advised")


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "calibrate",
        help="how small a change can be told on this machine, by runs in which nothing changed",
        description="Run the suites several times against themselves and several times alone, and say how often an "
        "alarm was false, how much launches and runs differ, and the smallest change that can be told for each case. "
        "Exit code: 0 every tolerance that was looked at can be held, 1 one is too small and refused, with the plan "
        "that would hold it, or a verdict on time was a false alarm, 2 a case failed or an error.",
        allow_abbrev=False,
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"what pytest shall run (default: {SUITES})")
    parser.add_argument("-k", default="", dest="expression", metavar="EXPRESSION", help="only the cases that match")
    parser.add_argument(
        "--runs", type=int, default=3, metavar="N", help="runs of each of the two kinds (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument(
        "--reports", type=Path, default=Path("reports/calibrate"), metavar="DIR",
        help="folder for the reports of the runs (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--baselines", type=Path, default=Path("baselines"), metavar="DIR",
        help="committed baselines, from which the usual spreads are learnt (default: %(default)s)",
    )  # fmt: skip
    add_sampling_options(parser)
    parser.set_defaults(run=calibrate, wrong=parser.error)


def calibrate(arguments: argparse.Namespace) -> int:
    """Make the runs, read them, and print what they show."""
    if arguments.runs < 1:
        arguments.wrong("--runs: at least one of each kind is needed")
    tolerance = Against.tolerance if arguments.tolerance is None else arguments.tolerance
    paired, alone = _runs(arguments, tolerance)
    last = alone[-1]
    plan = _plan(last)
    suites = {result.suite for run in [*paired, *alone] for result in run.results}
    metrics = {suite: metrics_of(last, suite) for suite in suites}
    committed, notes = _committed(arguments.baselines, last)
    found = read_runs(paired, alone, plan, metrics, tolerance=tolerance, committed=committed)
    notes += _not_looked_at(alone, metrics)
    usual = {(one.suite, one.case_id): committed.get(one.hardware) for one in last.results}
    refused = list(_refusals(found, usual))
    code = FAILED if found.failed else REFUSED if refused or found.times.false else HELD
    if arguments.json:
        show(dumps({"exit": code, "refused": refused, "notes": notes, "calibration": found}, indent=2))
    else:
        # Where the baselines are what is lacking, a note says so, and more cases would not help.
        few = found.guessed and not any(_guesses(prior, ANCHORED) for prior in committed.values())
        say(_text(found, few=few))
        say([*notes, *refused])
    return code


def _runs(arguments: argparse.Namespace, tolerance: float) -> tuple[list[Run], list[Run]]:
    """The runs against itself and those alone, by turns, so that both see the same hours."""
    kinds: dict[str, list[Run]] = {"against itself": [], "alone": []}
    options = {
        "against itself": Against(WORKING_TREE, tolerance=tolerance).options,
        "alone": ("--baseline=off",),
    }
    chosen = ["-k", arguments.expression] if arguments.expression else []
    total = 2 * arguments.runs
    for number in range(total):
        kind = list(kinds)[number % 2]
        began = time.monotonic()
        words = [*(arguments.suites or [SUITES]), *options[kind], *chosen, *plan_options(arguments)]
        run = measured(words, arguments.reports.resolve())
        if run is None or not run.complete:
            raise SuiteError(f"a run {kind} did not come to its end; what pytest said is in {arguments.reports / LOG}")
        cases = sum(result.outcome is Outcome.COMPLETED for result in run.results)
        if not cases:
            why = "; ".join(sorted({result.reason for result in run.results})) or "none was selected"
            raise SuiteError(f"a run {kind} measured no case: {shorten(why, 300)}; see {arguments.reports / LOG}")
        _plan(run)
        kinds[kind].append(run)
        spent = duration(time.monotonic() - began)
        print(f"run {number + 1} of {total}, {kind}: {plural(cases, 'case')} in {spent}", file=sys.stderr, flush=True)
    return kinds["against itself"], kinds["alone"]


def _plan(run: Run) -> Plan:
    """The plan of a run. Raises `SuiteError` where it can convict nothing, so that nothing can be calibrated."""
    plan: Plan = decode(Plan, dict(run.plan), f"run {run.id}: plan")
    if not plan.confirm:
        raise SuiteError("a plan without fresh launches convicts nothing in turns; give --plan confirm=N above 0")
    return plan


def _committed(folder: Path, run: Run) -> tuple[dict[str, Prior], list[str]]:
    """The usual spreads by hardware, where enough baselines of this class of machines are there to learn them.

    Gives also a sentence for each hardware of which one is damaged, since that must not cost the runs, which have been
    made; and for each whose baselines do not tell how runs differ, since too few of them have two blocks.
    """
    store, found, notes = Store(folder), {}, []
    for hardware, identity in run.environment.hardware.items():
        try:
            times = list(store.times_of(machine_class(identity)))
        except BaselineError as error:
            notes.append(
                f"What is usual on {hardware} is learnt from these runs alone, since a baseline is bad: {error}"
            )
            continue
        if len(times) < MIN_CASES:
            continue
        found[hardware] = fit_prior(times)
        if _guesses(found[hardware], ANCHORED):
            several = sum(sum(bool(series(block, ANCHORED)) for block in one.blocks) > 1 for one in times)
            notes.append(
                f"{len(times)} committed baselines of {hardware} are there, {several} of them with two blocks or more, "
                f"where {MIN_CASES} tell how runs differ: until then the judge starts from a spread of {_default()} "
                "between runs; add another block at another hour with pytest --baseline=update"
            )
    return found, notes


def _guesses(prior: Prior | None, metric: str) -> bool:
    """Whether committed baselines are what is known, and do not tell how runs differ in a metric."""
    return prior is not None and prior.blocks(metric) == DEFAULT_BLOCK


def _default() -> str:
    return _percent(math.sqrt(DEFAULT_BLOCK.variance))


def _not_looked_at(alone: Sequence[Run], metrics: Mapping[str, Mapping[str, Metric]]) -> Iterator[str]:
    """A sentence for each metric with a limit that does not repeat exactly, and of which calibration reads nothing."""
    suites: dict[str, set[str]] = {}
    for result in (result for run in alone for result in run.results):
        for one in result.measurements:
            metric = metrics[result.suite].get(one.metric)
            varies = metric and (sampled(metric, one) or one.metric == ENERGY)
            if metric and metric.gates and varies and one.metric not in (ANCHORED, SPEEDUP):
                suites.setdefault(one.metric, set()).add(result.suite)
    for name in sorted(suites):
        # What is measured once a run has no interval, and is never inconclusive.
        cure = "red" if name == ENERGY else "inconclusive do what it says, or"
        yield (
            f"limits on {name} were not looked at (in {', '.join(sorted(suites[name]))}), since only time in turns, "
            f"{ANCHORED} and {SPEEDUP} are: accept a baseline, run the suites again without a change, and where a "
            f"verdict is {cure} give a wider limit"
        )


def _text(found: Calibration, *, few: bool) -> Iterator[str]:
    """What was found; `few` says that there were too few cases to learn from how runs differ."""
    yield from _alarms(f"{plural(found.runs, 'run')} against itself, verdicts on time", found.times, bounded=True)
    # Most of these repeat exactly, so that they are no trials of which a rate could be told.
    yield from _alarms("verdicts on everything else", found.others, bounded=False)
    wide = max(len(_named(case)) for case in found.cases)
    wide = max(wide, 4 + max(map(len, _NAMES.values())))
    yield ""
    yield f"{'standard deviations; what is told; limits':{wide}}" + "".join(f"{title:>10}" for title in _COLUMNS)
    for case in found.cases:
        yield _named(case)
        for one in case.quantities:
            values = (one.launches, one.within, one.runs, one.detectable, one.tolerance, one.recommended)
            cells = "".join(f"{_percent(value):>10}" for value in values)
            yield f"  {_NAMES[one.ratio]:{wide - 2}}{cells}{'  refused' if one.refused else ''}"
        if case.memory is not None:
            yield f"  memory.peak repeats within {_percent(case.memory)}"
    yield ""
    yield from (f"not measured: {sentence}" for sentence in found.failed)
    if few:
        yield (
            f"With fewer than {MIN_CASES} baselines, and fewer than {MIN_CASES} cases of two runs, to learn from, the "
            f"judge starts from a spread of {_default()} between runs: calibrate the whole suite, with --runs 2 or "
            "more, to know better."
        )
    yield (
        "Every run had one and the same artefact of a case, in both arms. For another commit, or after an edit, it is "
        "made apart: where a technique makes another network each time, alarms are more and spreads larger than this."
    )


def _alarms(what: str, alarms: Alarms, *, bounded: bool) -> Iterator[str]:
    if alarms.bound is None:
        yield f"{what}: none"
        return
    rate = f" (a rate of at most {_percent(alarms.bound)}, with 95 % confidence)" if bounded else ""
    yield (
        f"{what}: {alarms.verdicts}, of which {plural(len(alarms.false), 'false alarm')}{rate}, "
        f"{alarms.unchanged} unchanged, {alarms.improved} improved, {alarms.inconclusive} inconclusive"
    )
    yield from (f"  {sentence}" for sentence in alarms.false)


def _refusals(found: Calibration, usual: Mapping[tuple[str, str], Prior | None]) -> Iterator[str]:
    """A sentence for each tolerance that is smaller than what can be told.

    `usual` is what committed baselines say is usual, by suite and case id.
    """
    for case in found.cases:
        for one in case.quantities:
            if one.refused and one.tolerance is not None:
                yield (
                    f"refused: {_named(case)}: {_NAMES[one.ratio]}: a tolerance of {_percent(one.tolerance)} is less "
                    f"than the {_percent(one.detectable)} that this plan can tell; "
                    f"{_cure(one, usual.get((case.suite, case.case_id)))}"
                )


def _cure(one: Quantity, usual: Prior | None) -> str:
    if one.plan:
        return "it needs " + " ".join(f"--plan {name}={value:g}" for name, value in one.plan.items())
    advised = f"; the next that holds is {_percent(one.recommended)}" if one.recommended else ""
    if one.judged_runs is not None:
        young = " as long as too few baselines have two blocks" if _guesses(usual, one.metric) else ""
        return f"no plan holds it, since runs are taken to differ by {_percent(one.judged_runs)}{young}{advised}"
    return f"no plan of up to {MOST_LAUNCHES} launches holds it, since they differ by {_percent(one.judged)}{advised}"


def _named(case: CaseCalibration) -> str:
    return f"{case.suite}/{case.case_id}"


def _percent(value: float | None) -> str:
    return "-" if value is None else percent(value, sign=False)
