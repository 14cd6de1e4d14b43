"""Accepting results of one run into a store, each judged against the baselines as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.amending import acceptable, as_said, told_wanted, with_home
from harness.baseline import accept as acceptance
from harness.baseline.compare import compare_with_baseline
from harness.baseline.records import Portable, Times, machine_class, written
from harness.baseline.store import Store
from harness.errors import BaselineError
from harness.judge import Prior
from harness.judge.words import quoted
from harness.names import timestamp
from harness.plan import Plan
from harness.records import Comparison, Result, Run, Scalar
from harness.report.record import failed_tests, metrics_of

__all__ = ["Acceptor", "Judged"]


@dataclass(frozen=True)
class Judged:
    """A result against the baselines of this minute. `refused` says why it may not be accepted, "" where it may."""

    comparisons: tuple[Comparison, ...]
    refused: str


class Acceptor:
    """Accepts results of one run. The usual spreads of a machine class are learnt before anything is accepted."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run
        confirm, budget = int(run.plan.get("confirm", 0)), float(run.plan.get("budget", Plan.budget))
        self._plan = Plan(confirm=confirm, budget=budget)
        self._when = timestamp()
        self._priors: dict[str, Prior] = {}
        self._failed = failed_tests(run)
        self._wanted = told_wanted(run.comparisons)

    def judged(self, result: Result) -> Judged:
        """Judge a result against the baseline that its case has now. Raises `BaselineError` for damaged files."""
        run = self._run
        identity = self._identity(result)
        baseline = self._store.read(result.suite, result.case_id, identity)
        metrics = metrics_of(run, result.suite)
        rows = compare_with_baseline(result, baseline, metrics, self._prior(result), identity)
        made = sum(launch.phase == "confirm" for launch in result.launches)
        wanted = self._wanted.get((result.suite, result.case_id), made)
        said = (as_said(row, result, self._plan, wanted) for row in rows)
        homes = (with_home(row, rows, result, baseline, metrics, identity) for row in said)
        comparisons = tuple(acceptable(row, result) for row in homes)
        quick = run.mode == "quick"
        refused = acceptance.refusal(result, comparisons, baseline, run_complete=run.complete, quick=quick)
        return Judged(comparisons, refused or self._test_failed(result))

    def hindrance(self, result: Result) -> str:
        """Why an acceptable result can't be written, which shows only where its files are made; "" where it can."""
        try:
            self._records(result, "(your reason)")
        except BaselineError as error:
            return str(error).removeprefix(f"{result.case_id}: not accepted into the baseline: ")
        return ""

    def newer(self, result: Result, when: str) -> bool:
        """Whether something was accepted into the baseline of a result's case after that time."""
        try:
            found = self._store.read(result.suite, result.case_id, self._identity(result))
        except BaselineError:
            return False  # a damaged one is no newer, and is told elsewhere
        return any(part is not None and written(part) > when for part in (found.portable, found.times))

    def accept(self, result: Result, reason: str) -> list[Path]:
        """Accept one result and give the files that were written. Raises `BaselineError` where it is refused."""
        return [self._store.write(record) for record in self._proposed(result, reason)]

    def preview(self, result: Result, reason: str) -> list[tuple[str, str, str]]:
        """What `accept` would write, as `Store.preview` tells it. Raises `BaselineError` where it would be refused."""
        return [self._store.preview(record) for record in self._proposed(result, reason)]

    def _proposed(self, result: Result, reason: str) -> list[Portable | Times]:
        refused = self.judged(result).refused
        if refused:
            raise BaselineError(f"{result.case_id}: not accepted into the baseline: {refused}")
        return self._records(result, reason)

    def _records(self, result: Result, reason: str) -> list[Portable | Times]:
        metrics, prior = metrics_of(self._run, result.suite), self._prior(result)
        where = self._run.environment
        return acceptance.proposed(self._store, result, where, reason, self._when, metrics=metrics, prior=prior)

    def _test_failed(self, result: Result) -> str:
        """Why numbers are no baseline although they are valid: the test itself said in the run that they are wrong."""
        row = self._failed.get((result.suite, result.case_id))
        if row is None:
            return ""
        said = row.reason.removeprefix(f"{result.case_id}: ")
        return f"{said}; once it passes, accept what it measures then: pytest {quoted(result.nodeid)}"

    def _identity(self, result: Result) -> Mapping[str, Scalar]:
        """What the machine of the run is for the hardware of a result."""
        return self._run.environment.hardware.get(result.hardware, {})

    def _prior(self, result: Result) -> Prior:
        machine = machine_class(self._identity(result))
        if machine not in self._priors:
            self._priors[machine] = acceptance.usual_prior(self._store, machine)
        return self._priors[machine]
