"""One run of suites: measure a case, judge it, keep it. Knows no pytest, so that other edges can drive it too."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping

from harness.baseline.accept import accept, refusal
from harness.baseline.records import Baseline, Portable, machine_class
from harness.baseline.store import Store
from harness.errors import BaselineError
from harness.grid import Address, Case
from harness.hardware.base import Hardware
from harness.judge import Prior, case_verdict, compare, fit_prior, needs_confirmation
from harness.judge import missing as missing_comparisons
from harness.measure.artefacts import ArtefactCache
from harness.measure.case import Measurer
from harness.measure.environment import environment, library_versions
from harness.metrics import METRICS, Metric, resolve
from harness.records import RUN_SCHEMA, Comparison, Outcome, Result, Run, Verdict
from harness.report.files import point_latest
from harness.report.journal import Journal
from harness.report.write import write_reports
from harness.resume import unfinished
from harness.settings import Decision, Settings

__all__ = ["Session"]

DECIDED = {Verdict.UNCHANGED, Verdict.IMPROVED, Verdict.REGRESSED, Verdict.MISSING, Verdict.INVALID, Verdict.ERROR}


class Session:
    """A run in progress.

    hardware  every hardware on the grids that were selected
    expected  how many cases were selected
    """

    def __init__(
        self,
        settings: Settings,
        hardware: Iterable[Hardware],
        expected: int,
        progress: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self._hardware = {item.name: item for item in hardware}
        self.absent = {name: reason for name, item in self._hardware.items() if (reason := item.available())}
        self.store = (
            Store.at_revision(settings.baselines, settings.revision) if settings.revision else Store(settings.baselines)
        )
        self._began = time.monotonic()
        self._environment = environment(settings.root, self._hardware.values())
        self._priors: dict[str, Prior] = {}
        self._own: dict[str, tuple[Metric, ...]] = {}
        self._decisions: dict[tuple[str, str], Decision] = {}
        self._loose: list[Comparison] = []
        self._origins: dict[str, dict[str, str]] = {}
        cache = ArtefactCache(
            settings.root, settings.cache / "artefacts", library_versions(), settings.plan, cold=settings.cold
        )
        self._cache = cache
        self._head = self._start(expected, cache.sources)
        self.folder = settings.reports / self._head.id
        self.journal = Journal(self.folder)
        self.journal.start(self._head)
        self._earlier, self.notice = (
            unfinished(settings.reports / "latest", self._head) if settings.resume else ({}, "")
        )
        point_latest(self.folder)
        self._measurer = Measurer(settings.root, cache, settings.plan, self.folder / "logs", self._undecided, progress)

    def decided(self, suite: str, case_id: str) -> Decision | None:
        """The decision on a case of this session; a second measurement can't improve it."""
        return self._decisions.get((suite, case_id))

    def measure(self, case: Case, address: Address, suite: str, nodeid: str, own: tuple[Metric, ...]) -> Decision:
        """Measure and judge a case, or say why it is not measured."""
        known = self.decided(suite, case.id)
        if known:
            return known
        metrics = resolve(own)
        self._own[suite] = own
        absent = case.inapplicable() or self.absent.get(case.hardware.name) or case.unavailable()
        if absent:
            return self.leave_out(case, suite, nodeid, absent)
        result = self._earlier.get((suite, case.id)) or self._measurer.measure(case, address, suite, nodeid, metrics)
        if result.outcome is Outcome.UNAVAILABLE:
            return self.leave_out(case, suite, nodeid, result.reason)
        comparisons = self._compare(result, metrics)
        if self.settings.mode == "update":
            comparisons = self._update(result, comparisons, metrics)
        return self._keep(result, comparisons)

    def leave_out(self, case: Case, suite: str, nodeid: str, reason: str) -> Decision:
        """Record that a case was not measured. One that has a baseline is missing, unless that was allowed."""
        result = Result(
            suite, case.id, nodeid, case.model.name, case.technique.id, case.hardware.name, Outcome.UNAVAILABLE, reason
        )
        portable = self._baseline(suite, case.id, case.hardware.name).portable if self.settings.gates else None
        if portable and not self._excused(case.id, case.hardware.name):
            (comparison,) = missing_comparisons([portable], set())
            text = f"{comparison.reason} It was not measured because: {reason}"
            return self._keep(result, (dataclasses.replace(comparison, reason=text),))
        return self._keep(result, (Comparison(suite, case.id, "case", Verdict.SKIPPED, f"{case.id}: {reason}"),))

    def require(self, case: Case) -> str | None:
        """Why a case of required hardware can't be measured; None where it can or needn't."""
        name = case.hardware.name
        return self.absent.get(name) if name in self.settings.required else None

    def missing(self, nodeids: set[str], selected: set[tuple[str, str]]) -> list[tuple[Portable, Comparison]]:
        """The baselines, for hardware that is here, of cases that no longer exist in the suites that were run whole.

        `nodeids` are the files and folders that were selected, `selected` the (suite, case id) pairs found in them.
        """
        gone = [
            portable
            for portable in self.store.all()
            if (portable.suite, portable.case_id) not in selected
            and any(_within(portable.nodeid, nodeid) for nodeid in nodeids)
            and not self._excused(portable.case_id, portable.case_id.rsplit("/", 1)[-1])
        ]
        return list(zip(gone, missing_comparisons(gone, selected), strict=True))

    def add_missing(self, portable: Portable, comparison: Comparison) -> None:
        """Record a missing case."""
        self._loose.append(comparison)
        self.journal.append(None, (comparison,))
        self._origin(portable.suite, portable.case_id, Baseline(portable, None))

    def finish(self, *, complete: bool) -> tuple[Run, str | None]:
        """End the run, write its reports, and say what makes it fail although no single test did."""
        seconds = round(time.monotonic() - self._began, 1)
        finished = _now()
        self.journal.end(finished=finished, seconds=seconds, complete=complete)
        run = dataclasses.replace(
            self._head,
            finished=finished,
            complete=complete,
            metrics=self._head.metrics
            + tuple({**metric.record(), "suite": suite} for suite, own in self._own.items() for metric in own),
            results=tuple(decision.result for decision in self._decisions.values()),
            comparisons=self.comparisons(),
            baselines=self._origins,
            seconds=seconds,
        )
        write_reports(run, self.folder)
        self._cache.trim()
        return run, self._undone(run)

    def comparisons(self) -> tuple[Comparison, ...]:
        """Everything decided so far."""
        of_cases = [one for decision in self._decisions.values() for one in decision.comparisons]
        return (*of_cases, *self._loose)

    def _undone(self, run: Run) -> str | None:
        if not self.settings.gates or not run.complete:
            return None
        measured = sum(result.outcome is Outcome.COMPLETED for result in run.results)
        if run.results and not measured:
            return "nothing was measured: every selected case was skipped or failed"
        if measured and not any(comparison.verdict in DECIDED for comparison in run.comparisons):
            return (
                "nothing was decided: no selected case has a baseline that this machine can be compared with; "
                "make one with: pytest suites/ --baseline=update --reason 'first baseline'"
            )
        return None

    def _start(self, expected: int, sources: str) -> Run:
        settings = self.settings
        state = {**self._environment.state, "sources": sources[:16]}
        return Run(
            schema=RUN_SCHEMA,
            id=f"{datetime.datetime.now():%Y-%m-%d_%H%M%S}_{os.getpid()}",
            started=_now(),
            finished="",
            complete=False,
            filtered=settings.filtered,
            mode=settings.mode,
            command=settings.command,
            plan=settings.plan.record(),
            environment=dataclasses.replace(self._environment, state=state),
            metrics=tuple(metric.record() for metric in METRICS),
            results=(),
            comparisons=(),
            expected=expected,
        )

    def _undecided(self, result: Result, metrics: Mapping[str, Metric]) -> bool:
        if not self.settings.judges:
            return False
        baseline = self._baseline(result.suite, result.case_id, result.hardware)
        return needs_confirmation(result, baseline, metrics, self._prior(result.hardware))

    def _compare(self, result: Result, metrics: Mapping[str, Metric]) -> tuple[Comparison, ...]:
        if not self.settings.judges:
            return ()
        try:
            baseline = self._baseline(result.suite, result.case_id, result.hardware)
        except BaselineError as error:
            return (Comparison(result.suite, result.case_id, "case", Verdict.ERROR, str(error)),)
        self._origin(result.suite, result.case_id, baseline)
        identity = self._environment.hardware[result.hardware]
        return compare(result, baseline, metrics, self._prior(result.hardware), identity)

    def _update(
        self, result: Result, comparisons: tuple[Comparison, ...], metrics: Mapping[str, Metric]
    ) -> tuple[Comparison, ...]:
        baseline = self._baseline(result.suite, result.case_id, result.hardware)
        refused = refusal(result, comparisons, baseline, updating=True)
        if refused:
            text = f"{result.case_id}: not accepted into the baseline: {refused}"
            return (*comparisons, Comparison(result.suite, result.case_id, "case", Verdict.ERROR, text))
        prior = self._prior(result.hardware)
        accept(self.store, result, self._head.environment, self.settings.reason, _now(), metrics=metrics, prior=prior)
        return comparisons

    def _keep(self, result: Result, comparisons: tuple[Comparison, ...]) -> Decision:
        verdict = case_verdict(comparisons) if comparisons else _verdict_of(result.outcome)
        fails, message = self._gate(result, comparisons, verdict)
        decision = Decision(result, comparisons, verdict, fails, message)
        self._decisions[result.suite, result.case_id] = decision
        self.journal.append(result, comparisons)
        return decision

    def _gate(self, result: Result, comparisons: tuple[Comparison, ...], verdict: Verdict) -> tuple[bool, str]:
        broken = result.outcome not in (Outcome.COMPLETED, Outcome.UNAVAILABLE)
        strict = self.settings.mode == "strict"
        if self.settings.gates:
            failing = [one for one in comparisons if one.verdict.fails(strict=strict)]
        else:
            failing = [one for one in comparisons if one.verdict is Verdict.ERROR]
        if not failing and not broken:
            return False, ""
        lines = [f"{result.case_id}: {verdict.value}"]
        lines += [f"  {one.reason}" for one in failing] or [f"  {result.outcome.value}: {result.reason}"]
        lines.append(f"  reproduce: pytest '{result.nodeid}'")
        if result.outcome is Outcome.COMPLETED and self.settings.gates:
            lines.append(f"  accept:    harness accept --case '{result.case_id}' --reason \"why this is right\"")
        if result.log:
            lines += ["  last output of the process:", *(f"    {line}" for line in result.log.splitlines()[-15:])]
        return True, "\n".join(lines)

    def _excused(self, case_id: str, hardware: str) -> bool:
        """Whether a case with a baseline may be without a result: other hardware, or allowed by the user."""
        if hardware not in self._hardware or hardware in self.absent:
            return True
        return any(word in self.settings.allowed for word in [case_id, *re.split(r"[/+:]", case_id)])

    def _baseline(self, suite: str, case_id: str, hardware: str) -> Baseline:
        return self.store.read(suite, case_id, self._environment.hardware.get(hardware, {}))

    def _prior(self, hardware: str) -> Prior:
        if hardware not in self._priors:
            word = machine_class(self._environment.hardware[hardware])
            self._priors[hardware] = fit_prior(self.store.times_of(word))
        return self._priors[hardware]

    def _origin(self, suite: str, case_id: str, baseline: Baseline) -> None:
        source = baseline.times or baseline.portable
        if source is None:
            return
        accepted = source.accepted
        origin = {"commit": accepted.commit, "when": accepted.when, "reason": accepted.reason}
        if baseline.times:
            origin["differs"] = _changed(baseline.times.software, self._environment.software)
        self._origins[f"{suite}/{case_id}"] = origin


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which software differs, in words: the suspected causes of a change, never a reason not to compare."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name, 'absent')} -> {now.get(name, 'absent')}" for name in names)


def _verdict_of(outcome: Outcome) -> Verdict:
    """The verdict of a case that was not compared with anything."""
    if outcome is Outcome.COMPLETED:
        return Verdict.NEW
    if outcome is Outcome.UNAVAILABLE:
        return Verdict.SKIPPED
    return Verdict.INVALID if outcome is Outcome.INVALID else Verdict.ERROR


def _within(nodeid: str, selected: str) -> bool:
    file = nodeid.split("::", 1)[0]
    return file == selected or selected in ("", ".") or file.startswith(f"{selected.rstrip('/')}/")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
