"""What a session compares its results with: the committed baselines, or another tree measured in turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from operator import attrgetter
from typing import Protocol

from harness.amending import acceptable, as_said, confirmed, of_commit, of_tree, wanted_launches, with_home, with_time
from harness.baseline.accept import baseline_of, usual_prior
from harness.baseline.compare import as_comparable, compare_with_baseline
from harness.baseline.records import Baseline, machine_class
from harness.baseline.store import Store
from harness.errors import BaselineError
from harness.facts import UNIT, counts, moved
from harness.judge import Prior, fresh_launches
from harness.judge.against import DEFAULT_SPREAD, METRIC, _row, compare_against, more_launches, own_spread
from harness.judge.prior import Spread, fit_spread
from harness.judge.scope import changed_parts
from harness.measure.environment import UNTOLD
from harness.measure.tree import Tree
from harness.metrics import METRICS, TIMES, Metric
from harness.plan import Plan
from harness.records import Comparison, Environment, Launch, Outcome, Result, Scalar, Verdict
from harness.settings import Against
from harness.timed_test import TECHNIQUE

__all__ = ["Comparing", "Nothing", "WithBaselines", "WithTree", "not_in_turns", "software_changes"]

Metrics = Mapping[str, Metric]
DOUBTFUL = (Verdict.REGRESSED, Verdict.INCONCLUSIVE)
UTILIZATION = frozenset({"utilization.cpu", "utilization.gpu"})
"""What launches tell of the candidate alone."""
_OF_RESULT = attrgetter(*sorted({one.name for one in dataclasses.fields(Result)} - {"launches", "seconds", "warnings"}))
_OF_LAUNCH = attrgetter(*sorted({one.name for one in dataclasses.fields(Launch)} - {"samples"}))
"""All but what no verdict looks at, and what is added or thinned after a result was judged first."""


class Comparing(Protocol):
    """How results are judged in a session. `origins` says by `suite/case_id` what each was compared with."""

    origins: dict[str, dict[str, str]]

    def more(self, result: Result, metrics: Metrics) -> int:
        """How many fresh launches are worth making now."""

    def compare(self, result: Result, previous: Result | None, metrics: Metrics) -> tuple[Comparison, ...]:
        """Every comparison of a result; `previous` is the other tree's, where one was measured."""


class Nothing:
    """No verdicts: a smoke run, or `--baseline=off`."""

    def __init__(self) -> None:
        self.origins: dict[str, dict[str, str]] = {}

    def more(self, result: Result, metrics: Metrics) -> int:  # noqa: ARG002
        return 0

    def compare(self, result: Result, previous: Result | None, metrics: Metrics) -> tuple[Comparison, ...]:  # noqa: ARG002
        return ()


class WithBaselines:
    """The committed baselines, and how much runs usually differ on this class of machine.

    `plan` says how many fresh launches an undecided case gets at most, and in what time; `fixed`, that the baselines
    are those of a commit, into which nothing can be accepted.
    """

    def __init__(self, store: Store, environment: Environment, plan: Plan, *, fixed: bool = False) -> None:
        self.origins: dict[str, dict[str, str]] = {}
        self._plan = plan
        self._fixed = fixed
        self._store = store
        self._environment = environment
        self._priors: dict[str, Prior] = {}
        self._latest: tuple[tuple[str, str, str], Baseline] | None = None
        self._last: tuple[tuple[object, ...], Baseline, tuple[Comparison, ...]] | None = None

    def baseline(self, suite: str, case_id: str, hardware: str) -> Baseline:
        """What is committed for a case. Raises `BaselineError` where it is damaged."""
        key = (suite, case_id, hardware)
        if self._latest is None or self._latest[0] != key:  # asked after the screen, and again for the verdict
            identity = self._environment.hardware.get(hardware, {})
            self._latest = (key, self._store.read(suite, case_id, identity))
        return self._latest[1]

    def prior(self, hardware: str) -> Prior:
        """The usual spreads on this class of machine, learnt before anything was accepted."""
        if hardware not in self._priors:
            self._priors[hardware] = usual_prior(self._store, machine_class(self._environment.hardware[hardware]))
        return self._priors[hardware]

    def more(self, result: Result, metrics: Metrics) -> int:
        try:
            baseline = self.baseline(result.suite, result.case_id, result.hardware)
        except BaselineError:
            return 0
        # Most cases are decided by their screen; then these comparisons are the verdict, and are not made again.
        rows = self._judged(result, baseline, metrics)
        if not any(row.detectable is not None and row.verdict in DOUBTFUL for row in rows):
            return 0
        return fresh_launches(result, baseline, metrics, self.prior(result.hardware), self._plan.confirm)

    def compare(self, result: Result, previous: Result | None, metrics: Metrics) -> tuple[Comparison, ...]:  # noqa: ARG002
        try:
            baseline = self.baseline(result.suite, result.case_id, result.hardware)
        except BaselineError as error:
            return (Comparison(result.suite, result.case_id, "case", Verdict.ERROR, str(error)),)
        self.note_origin(result.suite, result.case_id, baseline, result.facts)
        identity = self._environment.hardware[result.hardware]
        rows = list(self._judged(result, baseline, metrics))
        if self._fixed:
            rows = [of_commit(row) for row in rows]
        else:
            rows = [acceptable(with_home(row, rows, result, baseline, metrics, identity), result) for row in rows]
        wanted = wanted_launches(result, baseline, metrics, self.prior(result.hardware), self._plan.confirm)
        return tuple(as_said(row, result, self._plan, wanted) for row in rows)

    def _judged(self, result: Result, baseline: Baseline, metrics: Metrics) -> tuple[Comparison, ...]:
        judged = _judged_parts(result)
        if self._last is None or self._last[:2] != (judged, baseline):
            identity = self._environment.hardware[result.hardware]
            rows = compare_with_baseline(result, baseline, metrics, self.prior(result.hardware), identity)
            self._last = (judged, baseline, rows)
        return self._last[2]

    def note_origin(
        self, suite: str, case_id: str, baseline: Baseline, facts: Mapping[str, Scalar] | None = None
    ) -> None:
        """Remember at which commit, when and why the baseline of a case was accepted, the last time that anything of it
        was changed, and what differs from it: software, and by the `facts` of its result what ran. A class without
        times is compared with the software of another one, and in what both have: extras differ from place to place.
        """
        parts = [part.accepted for part in (baseline.times, baseline.portable) if part is not None]
        if not parts:
            return
        accepted = max(parts, key=lambda one: one.when)
        origin = {"commit": accepted.commit, "when": accepted.when, "reason": accepted.reason}
        here = self._environment.software
        if baseline.times:
            origin["differs"] = software_changes(baseline.times.software, here)
            origin["times"] = baseline.times.accepted.commit
            if ran := moved(baseline.times.ran, facts or {}):
                origin["ran"] = ran
        elif baseline.software.keys() & here.keys():
            origin["differs"] = _changes_in_both(baseline.software, here)
        self.origins[f"{suite}/{case_id}"] = origin


class WithTree:
    """The same cases of another tree, which took turns with the working tree's.

    `versions` are those of the other arm's Python and of the distributions that it finds.
    """

    def __init__(
        self, against: Against, tree: Tree, versions: Mapping[str, str], environment: Environment, plan: Plan
    ) -> None:
        self.origins: dict[str, dict[str, str]] = {}
        self._plan = plan
        self._against = against.told
        self._tree = tree
        self._environment = environment
        self._differs = _changes_in_both(versions, environment.software)
        self._spreads: list[Spread] = []
        self._usual = DEFAULT_SPREAD

    def more(self, result: Result, metrics: Metrics) -> int:  # noqa: ARG002
        if not all(launch.against is not None for launch in result.launches):
            return 0
        return more_launches(result.launches, self._against.tolerance, self._usual, self._plan.lots)

    def compare(self, result: Result, previous: Result | None, metrics: Metrics) -> tuple[Comparison, ...]:
        # Their rows would be new in every run.
        metrics = {name: one for name, one in metrics.items() if name not in UTILIZATION}
        spread = self._usual
        self._learn(result)
        origin = {
            "commit": self._tree.revision,
            "when": "",
            "reason": f"measured in turns, at {self._against}",
            "differs": self._differs,
        }
        if previous is not None and (ran := moved(counts(previous.facts), result.facts)):
            origin["ran"] = ran
        self.origins[f"{result.suite}/{result.case_id}"] = origin
        if previous is not None and previous.outcome is not Outcome.COMPLETED and result.outcome is Outcome.COMPLETED:
            return (self._failed(result, previous),)
        both = previous is not None and result.outcome is Outcome.COMPLETED
        if previous is not None and both and result.technique == TECHNIQUE:
            # There is nothing but its time to compare, which for a case of a grid would be too little.
            return (self._timed(result, previous, spread, metrics),)
        baseline = Baseline(None, None)
        if previous is not None:
            units = {name: str(previous.facts.get(f"{UNIT}{name}", one.unit)) for name, one in metrics.items()}
            there = [dataclasses.replace(one, unit=units[name]) for name, one in metrics.items()]
            baseline = baseline_of(previous, self._environment, there)
        judged = compare_against(
            result,
            previous,
            baseline,
            metrics,
            self._environment.hardware[result.hardware],
            spread=spread,
            against=self._against,
        )
        rows = tuple(of_tree(as_comparable(row, result, baseline, metrics)) for row in judged)
        rest = [row for row in rows if row.metric != METRIC]
        if previous is None or not both or any(row.verdict is Verdict.INVALID for row in rest if row.metric == "case"):
            return rows
        # That nothing else has a limit makes no time incomparable.
        rest = [row for row in rest if row.metric != "case"]
        return (self._timed(result, previous, spread, metrics), *rest)

    def _learn(self, result: Result) -> None:
        """Take a case into the usual spread, as `judge.against.spread_of` all cases so far: each is looked at once."""
        if own := own_spread(result.launches):
            self._spreads.append(own)
            self._usual = fit_spread(self._spreads, DEFAULT_SPREAD)

    def _failed(self, result: Result, previous: Result) -> Comparison:
        """Of a case that the other tree can't give. Where an environment was made for that arm, it is what failed."""
        environment = bool(self._against.packages or self._against.python) and previous.outcome is not Outcome.ABSENT
        verdict = Verdict.ERROR if environment else Verdict.INCOMPARABLE
        text = f"{result.case_id} can't be compared: at {self._against} it is {previous.outcome}: {previous.reason}"
        if self._tree.revision and self._tree.revision in previous.reason:
            lacking = "nothing that git ignores, no submodules, and nothing that a hook fetches, as of dvc or git-annex"
            text += f" (where it lacks data: a checkout has {lacking}; read it from the folder HARNESS_DATA)"
        return Comparison(result.suite, result.case_id, "case", verdict, text)

    def _timed(self, result: Result, previous: Result, spread: Spread, metrics: Metrics) -> Comparison:
        """The verdict on time, in turns: none where the two do different work."""
        row = _row(result, previous, spread, self._against)
        parts = changed_parts(metrics[METRIC], result.workload, previous.workload)
        if parts:
            named = " and ".join(parts)
            reason = f"{METRIC}: {named} differ from those at {self._against}, so that these are times of other work."
            return dataclasses.replace(row, verdict=Verdict.INCOMPARABLE, reason=reason, change=None, detectable=None)
        if result.cut_short:
            row = with_time(row, result, self._plan, self._plan.confirm)
        return confirmed(row, result, next(iter(self._plan.lots), 0))


def not_in_turns(result: Result, metrics: Metrics) -> tuple[str, ...]:
    """A warning where the suite has set a limit of its own to what turns do not judge: other times than p50,
    utilization, and what is derived.

    A verdict would say that a case that was compared could not be, and make it red under `--baseline=strict` for ever.
    """
    usual = {metric.name: metric for metric in METRICS}
    # What is derived from something that turns do not measure has no value, and a limit all the same.
    derives = result.outcome is Outcome.COMPLETED and result.technique != TECHNIQUE
    names = [
        name
        for name, metric in metrics.items()
        if name in TIMES or name in UTILIZATION or metric.derive
        if name != METRIC
        if metric.gates and metric != usual.get(name) and (result.measurement(name) or (metric.derive and derives))
    ]
    found = (
        f"the suite's own limits on {', '.join(names)} hold against baselines alone, and were not looked at in turns"
    )
    return (found,) if names else ()


def _judged_parts(result: Result) -> tuple[object, ...]:
    """What verdicts may look at: results in which it is equal are judged alike."""
    return _OF_RESULT(result), tuple(map(_OF_LAUNCH, result.launches))


def software_changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which software differs, in words: the suspected causes of a change, never a reason not to compare."""
    names = [
        name
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and (name in before or name not in UNTOLD)
    ]
    return ", ".join(f"{name} {before.get(name, 'absent')} -> {now.get(name, 'absent')}" for name in names)


def _changes_in_both(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The same of what both sides have."""
    both = before.keys() & now.keys()
    return software_changes({name: before[name] for name in both}, {name: now[name] for name in both})
