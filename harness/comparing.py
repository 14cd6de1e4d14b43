"""What a session compares its results with: the committed baselines, or another tree measured in turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from harness.baseline.accept import baseline_of
from harness.baseline.records import Baseline, machine_class
from harness.baseline.store import Store
from harness.errors import BaselineError
from harness.facts import counts, moved
from harness.judge import Prior, compare, fit_prior, fresh_launches
from harness.judge.against import _row, compare_against, more_launches, spread_of
from harness.measure.tree import Tree
from harness.metrics import Metric
from harness.plan import Plan
from harness.records import Comparison, Environment, Outcome, Result, Scalar, Verdict
from harness.settings import Against
from harness.timed_test import TECHNIQUE

__all__ = ["Comparing", "Nothing", "WithBaselines", "WithTree"]

Metrics = Mapping[str, Metric]
DOUBTFUL = (Verdict.REGRESSED, Verdict.INCONCLUSIVE)


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

    `most` is how many fresh launches an undecided case gets at most.
    """

    def __init__(self, store: Store, environment: Environment, most: int) -> None:
        self.origins: dict[str, dict[str, str]] = {}
        self._most = most
        self._store = store
        self._environment = environment
        self._priors: dict[str, Prior] = {}
        self._latest: tuple[tuple[str, str, str], Baseline] | None = None
        self._last: tuple[Result, Baseline, tuple[Comparison, ...]] | None = None

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
            word = machine_class(self._environment.hardware[hardware])
            try:
                self._priors[hardware] = fit_prior(self._store.times_of(word))
            except BaselineError:
                # The damaged case says so itself; the others are judged with the default spreads.
                self._priors[hardware] = Prior()
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
        return fresh_launches(result, baseline, metrics, self.prior(result.hardware), self._most)

    def compare(self, result: Result, previous: Result | None, metrics: Metrics) -> tuple[Comparison, ...]:  # noqa: ARG002
        try:
            baseline = self.baseline(result.suite, result.case_id, result.hardware)
        except BaselineError as error:
            return (Comparison(result.suite, result.case_id, "case", Verdict.ERROR, str(error)),)
        self.note_origin(result.suite, result.case_id, baseline, result.facts)
        return self._judged(result, baseline, metrics)

    def _judged(self, result: Result, baseline: Baseline, metrics: Metrics) -> tuple[Comparison, ...]:
        judged = _judged_parts(result)
        if self._last is None or self._last[:2] != (judged, baseline):
            identity = self._environment.hardware[result.hardware]
            rows = compare(result, baseline, metrics, self.prior(result.hardware), identity)
            self._last = (judged, baseline, rows)
        return self._last[2]

    def note_origin(
        self, suite: str, case_id: str, baseline: Baseline, facts: Mapping[str, Scalar] | None = None
    ) -> None:
        """Remember who accepted the baseline of a case, when and why, and what changed since: software, and by the
        `facts` of its result what ran.
        """
        source = baseline.times or baseline.portable
        if source is None:
            return
        accepted = source.accepted
        origin = {"commit": accepted.commit, "when": accepted.when, "reason": accepted.reason}
        if baseline.times:
            origin["differs"] = _changed(baseline.times.software, self._environment.software)
            if ran := moved(baseline.times.ran, facts or {}):
                origin["ran"] = ran
        self.origins[f"{suite}/{case_id}"] = origin


class WithTree:
    """The same cases of another tree, which took turns with the working tree's.

    `versions` are the distributions that the other arm's interpreter finds.
    """

    def __init__(
        self, against: Against, tree: Tree, versions: Mapping[str, str], environment: Environment, plan: Plan
    ) -> None:
        self.origins: dict[str, dict[str, str]] = {}
        self._plan = plan
        self._against = against
        self._tree = tree
        self._environment = environment
        software = environment.software
        self._differs = _changed({name: versions[name] for name in software if name in versions}, {
            name: version for name, version in software.items() if name in versions
        })  # fmt: skip
        self._results: list[Result] = []

    def more(self, result: Result, metrics: Metrics) -> int:  # noqa: ARG002
        if not all(launch.against is not None for launch in result.launches):
            return 0
        return more_launches(result.launches, self._against.tolerance, spread_of(self._results), self._plan.lots)

    def compare(self, result: Result, previous: Result | None, metrics: Metrics) -> tuple[Comparison, ...]:
        spread = spread_of(self._results)
        self._results.append(result)
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
            text = f"{result.case_id} can't be compared: at {self._against} it is {previous.outcome}: {previous.reason}"
            return (Comparison(result.suite, result.case_id, "case", Verdict.INCOMPARABLE, text),)
        if result.technique == TECHNIQUE and result.outcome is Outcome.COMPLETED and previous is not None:
            # There is nothing but its time to compare, which for a case of a grid would be too little.
            return (_row(result, previous, spread, self._against),)
        return compare_against(
            result,
            previous,
            baseline_of(previous, self._environment) if previous else Baseline(None, None),
            metrics,
            self._environment.hardware[result.hardware],
            spread=spread,
            against=self._against,
        )


def _judged_parts(result: Result) -> Result:
    """A result without what no verdict looks at, and what is added or thinned after it was judged first."""
    launches = tuple(dataclasses.replace(launch, samples={}) for launch in result.launches)
    return dataclasses.replace(result, launches=launches, seconds={}, warnings=())


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which software differs, in words: the suspected causes of a change, never a reason not to compare."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name, 'absent')} -> {now.get(name, 'absent')}" for name in names)
