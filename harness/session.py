"""One run of suites: measure a case, judge it, keep it. Knows no pytest, so that other edges can drive it too."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set

from harness.baseline.records import Baseline, Portable
from harness.baseline.store import Store
from harness.comparing import Comparing, Nothing, WithBaselines, WithTree, not_in_turns
from harness.errors import BaselineError
from harness.files import point_latest
from harness.gate import gate, lacking, left_out, shared_suite, undone, unmeasured, verdict_of, without_case
from harness.grid import Address, Case
from harness.hardware.base import Hardware
from harness.history.publish import publish
from harness.judge import case_verdict
from harness.measure.ahead import Wanted, make_ahead, needed
from harness.measure.artefacts import ArtefactCache
from harness.measure.availability import Availability
from harness.measure.budget import Budget
from harness.measure.case import Measurer, Measuring, More
from harness.measure.case_passes import CasePasses, Coming
from harness.measure.data import data_state
from harness.measure.environment import environment, versions_of
from harness.measure.thinning import thinned
from harness.measure.timed_test import TestMeasurer
from harness.measure.tree import Tree
from harness.metrics import METRICS, Metric, resolve
from harness.names import run_id, timestamp
from harness.records import RUN_SCHEMA, Comparison, Outcome, Result, Run, Verdict
from harness.report.journal import Journal
from harness.report.trust import tree_note
from harness.resume import of_sources, resumed, unfinished
from harness.settings import Decision, Settings
from harness.timed_test import TimedTest
from harness.trees import candidate_tree, other_tree, with_known_commits, with_trees
from harness.updating import Updating

__all__ = ["Session"]


class Session:
    """A run in progress.

    hardware  every hardware on the grids that were selected
    expected  how many cases were selected, and `measurable` those of them, by suite and id, that can be measured here
    own       the metrics that each suite changes or adds
    cases     those that were selected
    measuring makes what measures cases from what it is to ask for more launches; None for measuring for real
    """

    def __init__(
        self,
        settings: Settings,
        hardware: Iterable[Hardware],
        expected: int,
        own: Mapping[str, Sequence[Metric]],
        progress: Callable[[str], None],
        *,
        measurable: Set[tuple[str, str]] = frozenset(),
        cases: Iterable[Case] = (),
        measuring: Callable[[More], Measuring] | None = None,
    ) -> None:
        self.settings = settings
        self._metrics = {suite: resolve(metrics) for suite, metrics in own.items()}
        self._hardware = {item.name: item for item in hardware}
        self.absent = {name: reason for name, item in self._hardware.items() if (reason := item.available())}
        folder, revision = settings.baselines, settings.revision
        self.store = Store.at_revision(folder, revision) if revision else Store(folder)
        self._lacks, self._began = Availability().lacks, time.monotonic()
        tree = candidate_tree(settings)
        here = environment(settings.root, self._hardware.values(), settings.baselines, settings.paths)
        # Before sources are looked at, since making an environment for other packages may build them in the project.
        beside = other_tree(settings, settings.against) if settings.against else None
        self.environment = with_trees(here, settings, tree, beside)
        self._decisions: dict[tuple[str, str], Decision] = {}
        self._loose: dict[Comparison, None] = {}
        # What extends a baseline is a block of screen launches; there is no verdict to confirm.
        plan = dataclasses.replace(settings.plan, confirm=0) if settings.mode == "update" else settings.plan
        self._baselines = WithBaselines(self.store, self.environment, plan, fixed=bool(revision))
        self._updating = Updating(self.store, self._baselines, settings.reason)
        self._cache = self._cache_of(tree, versions_of(tree))
        self._other, self._comparing = self._compared_with(beside)
        self._head = self._start(expected, own, data_state(cases))
        self.folder = settings.reports / self._head.id
        self.journal = Journal(self.folder)
        self.journal.start(self._head)
        self._earlier, self.notice = (
            unfinished(settings.reports / "latest", self._head) if settings.resume else ({}, tree_note(self._head))
        )
        point_latest(self.folder)
        budget = Budget(settings.budget, len(measurable - self._earlier.keys()))
        plan, logs, other, more = settings.plan, self.folder / "logs", self._other, self._comparing.more
        self._passes = CasePasses(self._cache, plan, logs, other, settings.jobs)
        for_real = Measurer(self._cache, self._passes, plan, logs, more, progress, other, budget)
        self._measurer: Measuring = measuring(more) if measuring else for_real
        self._test_measurer = TestMeasurer(self._cache, beside, plan, logs, more, progress, budget)

    def drop(self) -> None:
        """One of the selected cases is not run after all, so the run is one of a part of the suites."""
        self._head = dataclasses.replace(self._head, filtered=True, expected=self._head.expected - 1)

    def decided(self, suite: str, case_id: str) -> Decision | None:
        """The decision on a case of this session; a second measurement can't improve it."""
        return self._decisions.get((suite, case_id))

    def make_ahead(self, wanted: Iterable[tuple[Case, Address, str]], told: Callable[[int, int], None]) -> None:
        """Make the artefacts of these cases, given with their suites, before anything is timed.

        `told` gets how many are ready, and of how many. Those that need the GPU are left: their cases are made one by
        one, since they share its memory. An interrupt gets out, and leaves what is finished in the cache.
        """
        begun, coming, found = time.monotonic(), [], dict[tuple[str, str, str], Wanted]()
        for cache in {self._cache, self._other or self._cache}:
            cache.look_again()
        self._head, self._earlier, self.notice = of_sources(self._head, self._earlier, self._cache.sources[:16])
        self.journal.amend(self._head)
        for case, address, suite in wanted:
            there = not self._why_not(case) and (suite, case.id) not in self._earlier
            if there and self.environment.hardware[case.hardware.name]["kind"] != "cuda":
                found |= needed(case, address, suite, self.folder / "logs", self._cache, self._other)
                coming.append(Coming(case, dataclasses.replace(address, root=str(self._cache.tree.root)), suite))
        if len(found) > 1 and self.settings.jobs > 1:
            make_ahead(list(found.values()), self.settings.jobs, lambda ready: told(ready, len(found)))
        self._passes.expect(coming, time.monotonic() - begun)

    def measure(self, case: Case, address: Address, suite: str, nodeid: str) -> Decision:
        """Measure and judge a case, or say why it is not measured."""
        address = dataclasses.replace(address, root=str(self._cache.tree.root))
        return self._decide(
            case, suite, nodeid, lambda metrics: self._measurer.measure(case, address, suite, nodeid, metrics)
        )

    def measure_test(self, test: TimedTest, suite: str) -> Decision:
        """The same of a test that was written for pytest-benchmark."""
        return self._decide(test, suite, test.nodeid, lambda metrics: self._test_measurer.measure(test, suite, metrics))

    def _decide(
        self,
        case: Case | TimedTest,
        suite: str,
        nodeid: str,
        measure: Callable[[Mapping[str, Metric]], tuple[Result, Result | None]],
    ) -> Decision:
        known = self.decided(suite, case.id)
        if known:
            return known
        metrics = self._metrics[suite]
        own = unmeasured(case, suite, nodeid, "")
        if reason := self._why_not(case) or shared_suite(self._comparing, self.settings.root, own):
            return self.leave_out(case, suite, nodeid, reason)
        earlier = self._earlier.get((suite, case.id))
        result, previous = (earlier, None) if earlier else measure(metrics)
        if result.outcome is Outcome.UNAVAILABLE:
            return self.leave_out(case, suite, nodeid, result.reason, previous)
        result = thinned(result, self._head.expected)
        if self.settings.against:
            result = dataclasses.replace(result, warnings=(*result.warnings, *not_in_turns(result, metrics)))
        comparisons = self._comparing.compare(result, previous, metrics)
        if self.settings.mode == "update":
            comparisons = self._updating.take(result, comparisons)
        return self._keep(result, comparisons)

    def _why_not(self, case: Case | TimedTest) -> str | None:
        """Why a case can't be measured here; None where it can."""
        return case.inapplicable() or self.absent.get(case.hardware.name) or self._lacks(case, time.monotonic())

    def leave_out(
        self, case: Case | TimedTest, suite: str, nodeid: str, reason: str, previous: Result | None = None
    ) -> Decision:
        """Record that a case was not measured. One that has a baseline, or that was measured in the other tree, is
        missing, unless that was allowed; one whose required hardware is absent, perhaps by now, is an error, whatever
        left it out, and so is one whose baseline is another file's.
        """
        result, name = unmeasured(case, suite, nodeid, reason), case.hardware.name
        required = name in self.settings.required and not case.inapplicable()
        if required and (gone := self.absent.get(name) or case.hardware.available()):
            text = f"{case.id}: {lacking(name, {name: gone})}"
            return self._keep(result, (Comparison(suite, case.id, "case", Verdict.ERROR, text),))
        if shared := shared_suite(self._comparing, self.settings.root, result):
            return self._keep(result, (Comparison(suite, case.id, "case", Verdict.ERROR, shared),))
        gated = self.settings.gates and not (name in self.absent or self.settings.allows(case.id))
        try:
            portable = self._baselines.baseline(suite, case.id, name).portable if gated else None
        except BaselineError as error:
            return self._keep(result, (Comparison(suite, case.id, "case", Verdict.ERROR, str(error)),))
        return self._keep(result, (left_out(result, portable, previous if gated else None),))

    def object_to(self, suite: str, case_id: str, reason: str) -> None:
        """Record that a test failed for a reason of its own: a promise in its body, or nothing was called."""
        decision = self._decisions[suite, case_id]
        row = Comparison(suite, case_id, "case", Verdict.ERROR, f"{case_id}: {reason}")
        self._decisions[suite, case_id] = dataclasses.replace(
            decision, comparisons=(*decision.comparisons, row), verdict=Verdict.ERROR, fails=True, message=row.reason
        )
        self.journal.append(None, (row,))

    def missing(self, nodeids: set[str], selected: set[tuple[str, str]]) -> list[tuple[Comparison, Portable | None]]:
        """The baselines, for hardware that is here, whose case is gone, and those that are damaged (`without_case`)."""
        return list(without_case(self.settings, self.store, self.absent, nodeids, selected))

    def add_missing(self, comparison: Comparison, portable: Portable | None) -> None:
        """Record what `missing` gave, unless the case has said it itself, or its test is run again."""
        known = self.decided(comparison.suite, comparison.case_id)
        if comparison in self._loose or (known and comparison in known.comparisons):
            return
        self._loose[comparison] = None
        self.journal.append(None, (comparison,))
        if portable:
            self._baselines.note_origin(portable.suite, portable.case_id, Baseline(portable, None))

    def finish(self, *, complete: bool, xfailed: Collection[str] = ()) -> tuple[Run, str | None]:
        """End the run, write its reports, and say what makes it fail although no single test did.

        `xfailed` are the cases, as `suite/case_id`, that failed and were known to.
        """
        known = {"xfailed": "\n".join(sorted(xfailed))} if xfailed else {}
        seconds = round(time.monotonic() - self._began, 1)
        finished = timestamp()
        unwritten = self._accept(finished) if complete else []
        # An interrupted run that went on with an earlier one hands on what it did not come to.
        not_reached = [] if complete else [r for key, r in self._earlier.items() if key not in self._decisions]
        run = dataclasses.replace(
            self._head,
            environment=self._head.environment.saying(known),
            finished=finished,
            complete=complete,
            results=(*(decision.result for decision in self._decisions.values()), *not_reached),
            comparisons=self.comparisons(),
            baselines=with_known_commits(self.settings.root, self._comparing.origins),
            seconds=seconds,
        )
        why = undone(self.settings, run, unwritten, self.absent)
        if why:
            run = dataclasses.replace(run, environment=run.environment.saying({"undone": why}))
        self.notice = publish(run, self.folder, self.settings, self.journal)
        self._cache.trim()
        return run, why

    def comparisons(self) -> tuple[Comparison, ...]:
        """Everything decided so far."""
        of_cases = [one for decision in self._decisions.values() for one in decision.comparisons]
        return (*of_cases, *self._loose)

    def _start(self, expected: int, own: Mapping[str, Sequence[Metric]], data: Mapping[str, str]) -> Run:
        settings = self.settings
        added = [{**metric.record(), "suite": suite} for suite, metrics in own.items() for metric in metrics]
        state = {"sources": self._cache.sources[:16], **data}
        if settings.selected and not settings.filtered:
            state["selected"] = "\n".join(settings.selected)
        if settings.resume:
            state |= resumed(settings.reports / "latest")
        return Run(
            schema=RUN_SCHEMA,
            id=run_id(),
            started=timestamp(),
            finished="",
            complete=False,
            filtered=settings.filtered,
            mode=settings.mode,
            command=settings.command,
            plan=settings.plan.record(),
            environment=self.environment.saying(state),
            metrics=(*(metric.record() for metric in METRICS), *added),
            results=(),
            comparisons=(),
            expected=expected,
            reserved=settings.reserved,
        )

    def _cache_of(self, tree: Tree, versions: Mapping[str, str], log: str = "prepare.log") -> ArtefactCache:
        settings = self.settings
        return ArtefactCache(tree, settings.cache / "artefacts", versions, settings.plan, cold=settings.cold, log=log)

    def _compared_with(self, tree: Tree | None) -> tuple[ArtefactCache | None, Comparing]:
        """The other tree's artefacts, where there is another tree, and what judges results."""
        settings, against = self.settings, self.settings.against
        if against is None or tree is None:
            return None, Nothing() if settings.mode in ("off", "quick") else self._baselines
        versions = versions_of(tree)
        # A tree compared with itself serves the same artefacts, which are made once.
        cache = self._cache if tree == self._cache.tree else self._cache_of(tree, versions, "prepare-previous.log")
        return cache, WithTree(against, tree, versions, self.environment, settings.plan)

    def _accept(self, when: str) -> list[str]:
        """Make the run's results the baseline, now that it is whole. Gives the cases whose baseline was not written."""
        failing = {key for key, decision in self._decisions.items() if decision.fails}
        unwritten = list(self._updating.write(self._head, when, self._metrics, failing))
        for result, reason in unwritten:
            self.object_to(result.suite, result.case_id, reason)
        return [f"{result.suite}/{result.case_id}" for result, _ in unwritten]

    def _keep(self, result: Result, comparisons: tuple[Comparison, ...]) -> Decision:
        verdict = case_verdict(comparisons) if comparisons else verdict_of(result.outcome)
        decision = Decision(result, comparisons, verdict, *gate(self.settings, result, comparisons))
        self._decisions[result.suite, result.case_id] = decision
        self.journal.append(result, comparisons)
        return decision
