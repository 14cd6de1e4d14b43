"""Measuring trials for a search, keeping them, and going on with a search that was interrupted."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.files import point_latest
from harness.grid import Address, Grid, own_metrics
from harness.judge.against import Judged
from harness.judge.interval import Interval
from harness.judge.prior import DEFAULT_LAUNCH
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.case import Measurer
from harness.measure.case_passes import CasePasses
from harness.measure.data import data_state
from harness.measure.environment import environment, versions_of
from harness.measure.launch import ArmSpec
from harness.measure.sampling import sample
from harness.measure.tree import Tree
from harness.metrics import METRICS, Metric, resolve
from harness.names import run_id, suite_name, timestamp
from harness.optimize.finals import FINAL, Final, beside, judged, launch_seconds, wanted
from harness.optimize.goal import Goal, gains_of, without_gain
from harness.optimize.record import finals_of
from harness.optimize.space import Space
from harness.optimize.trial import Trial, gain_of
from harness.plan import Plan
from harness.records import RUN_SCHEMA, Launch, Outcome, Result, Run
from harness.report.journal import Journal
from harness.report.record import write_run
from harness.report.write import draw
from harness.resume import resumed, unfinished
from harness.settings import path_variables
from harness.techniques.base import Pipeline

__all__ = ["PLAN", "Bench"]

PLAN = Plan(screen=2, confirm=6, seconds=0.5)
"""Of a trial: few launches, since most trials are only left out, and the best are compared in turns at the end."""

LOT = 2
NARROW = 0.02
"""A gain that is known so well (half its interval, in logarithms) needs no more launches."""


@dataclass
class Bench:
    """Measures pipelines of one model of one suite file, each once.

    file      the suite file relative to `root`
    reports   folder that the search's own folder is made in
    cache     folder of the project's caches
    paths     pytest's `pythonpath`
    resume    take the results of the latest search, interrupted or not, if it measured the same
    progress  told in a few words what is going on
    finals    the comparisons in turns so far
    """

    root: Path
    file: str
    space: Space
    goal: Goal
    grids: tuple[Grid, ...]
    reports: Path
    cache: Path
    command: str
    progress: Callable[[str], None]
    paths: tuple[str, ...] = ()
    resume: bool = False
    finals: list[Final] = field(default_factory=list, init=False)
    _reused: set[str] = field(default_factory=set, init=False)
    _compared: Mapping[tuple[str, str], Judged] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        folders = tuple(self.root / path for path in self.paths)
        tree = Tree(self.root, variables=path_variables(self.root, self.paths), paths=folders)
        self._began = time.monotonic()
        self.suite = suite_name(self.file)
        self.metrics: Mapping[str, Metric] = resolve(own_metrics(self.grids))
        self._artefacts = ArtefactCache(tree, self.cache / "artefacts", versions_of(tree), PLAN, cold=False)
        self._head = self._start()
        self.folder = self.reports / self._head.id
        self.journal = Journal(self.folder)
        self.journal.start(self._head)
        self._earlier: Mapping[tuple[str, str], Result] = {}
        self.notice = ""
        if self.resume:
            latest = self.reports / "latest"
            self._earlier, self.notice = unfinished(latest, self._head, finished=True, wanted=self._is_of_this)
            self._compared = finals_of(latest, self.goal)
        point_latest(self.folder)
        self._best: Interval | None = None
        self._reference: Result | None = None
        self._results: dict[str, Result] = {}
        logs = self.folder / "logs"
        self._measurer = Measurer(
            self._artefacts, CasePasses(self._artefacts, PLAN, logs), PLAN, logs, self._more, self.progress,
            timed=self._timed, anchored=False,
        )  # fmt: skip

    def known(self, pipeline: Pipeline) -> Result | None:
        """What the search that this one goes on with found of a pipeline; None where that is to be measured."""
        found = self._earlier.get((self.suite, self.space.case(pipeline).id))
        return None if found is None or (not found.launches and self._timed(found)) else found

    def measure(self, pipeline: Pipeline, best: Interval | None) -> Trial:
        """A trial of a pipeline. One that can't come near `best` gets few launches. Only an interrupt gets out."""
        case = self.space.case(pipeline)
        self._best = best
        result = self.known(pipeline)
        if result is None:
            nodeid = f"{self.file}::optimize[{case.id}]"
            result, _ = self._measurer.measure(case, self._address(case.id), self.suite, nodeid, self.metrics)
            # Where sources were edited all that comes fails, and what is left would be recommended.
            self._artefacts.check_unedited(case.id, data=True)
        else:
            self._reused.add(case.id)
        if self._reference is None:
            self._reference = result
        self._results[case.id] = result
        self.journal.append(result, ())
        return self._trial(pipeline, result)

    def faster(self, one: Trial, other: Trial) -> Judged:
        """Two trials in turns with each other, by fresh launches: the first one's change against the second, in what
        the goal asks for (`harness.optimize.finals`).

        Needed for the last choice: the best of many trials looks better than it is. A search that goes on with another
        takes over what that one found of two trials that it took over, or it might come to another choice.
        """
        pair = one.case.id, other.case.id
        earlier = self._compared.get(pair) if self._reused.issuperset(pair) else None
        final = Final(*pair, earlier or judged(self.goal, self._in_turns(one, other)))
        self.finals += [final] if final.finite else []
        return final.judged

    def launch_alone(self, trial: Trial) -> None:
        """Launch a trial once more, beside nothing else. Raises `MeasurementError` where it fails."""
        sample(
            {"candidate": ArmSpec.of(self.artefact(trial))},
            hardware=self.space.hardware,
            plan=dataclasses.replace(PLAN, screen=1, repeats=0),
            rng=random.Random(trial.case.id),
            logs=self.folder / "logs",
            more=lambda _: 0,
            progress=self.progress,
        )

    def artefact(self, trial: Trial) -> Artefact:
        """What is served in a trial."""
        return self._artefacts.get(trial.case, self._address(trial.case.id), self.folder / "logs")

    def finish(self, *, complete: bool) -> Run:
        """End the record of the search and write its report."""
        seconds = round(time.monotonic() - self._began, 1)
        finished = timestamp()
        run = dataclasses.replace(
            self._head,
            finished=finished,
            complete=complete,
            results=tuple(self._results.values()),
            expected=len(self._results),
            seconds=seconds,
        )
        write_run(run, self.folder, self.journal)
        self.journal.end(finished=finished, seconds=seconds, complete=complete)
        draw(run, self.folder)
        return run

    def trim(self) -> None:
        """Remove what was not used for longest of too many artefacts: at the end, when what is shipped was taken."""
        self._artefacts.trim()

    def _trial(self, pipeline: Pipeline, result: Result) -> Trial:
        case, reference = self.space.case(pipeline), self._reference or result
        if result.outcome is not Outcome.COMPLETED:
            return Trial(case, result, failed=f"{result.outcome}: {result.reason}")
        # One that loses too much accuracy is not timed, and lacks what is derived from times.
        if result.launches and not self.goal.sampled and (reason := without_gain(self.goal, result, reference)):
            return Trial(case, result, failed=reason)
        broken = {limit.metric: words for limit in self.goal.limits if (words := limit.broken(result, reference))}
        gains = (0.0,) if result is reference else gains_of(self.goal, result, reference)
        return Trial(case, result, gains, broken=tuple(broken.values()), lossy="accuracy" in broken)

    def _timed(self, result: Result) -> bool:
        """Whether times are worth taking: not where too much accuracy is lost."""
        reference = self._reference or result
        return not any(limit.metric == "accuracy" and limit.broken(result, reference) for limit in self.goal.limits)

    def _more(self, result: Result, _: Mapping[str, Metric]) -> int:
        """Launches while it is open whether this is better than the best so far."""
        if not self.goal.sampled or self._reference is None or self._best is None:
            return 0
        made = sum(launch.phase == "confirm" for launch in result.launches)
        gains = gains_of(self.goal, result, self._reference)
        if made >= PLAN.confirm or not gains:
            return 0
        gain = gain_of(gains, DEFAULT_LAUNCH)
        apart = gain.most < self._best.least or gain.least > self._best.most
        return 0 if apart or gain.most - gain.least < 2 * NARROW else LOT

    def _is_of_this(self, result: Result) -> bool:
        """Whether a search of this suite, model and hardware measured it."""
        own = self.suite, self.space.model.name, self.space.hardware.name
        return (result.suite, result.model, result.hardware) == own

    def _in_turns(self, one: Trial, other: Trial) -> tuple[Launch, ...]:
        arms = {"candidate": ArmSpec.of(self.artefact(one)), beside(self.goal): ArmSpec.of(self.artefact(other))}
        found = sample(
            arms,
            hardware=self.space.hardware,
            plan=dataclasses.replace(FINAL, seconds=launch_seconds(self.goal, one, other)),
            rng=random.Random(f"{one.case.id} {other.case.id}"),
            logs=self.folder / "logs",
            more=lambda launches: wanted(self.goal, launches),
            progress=self.progress,
        )
        self._artefacts.check_unedited(one.case.id)
        return found.launches

    def _address(self, case_id: str) -> Address:
        return Address(str(self.root), self.file, "", case_id)

    def _start(self) -> Run:
        here = environment(self.root, [self.space.hardware], paths=self.paths)
        everything = self.space.case(Pipeline(self.space.steps))  # no case that there can be, and the models of all
        state = {"sources": self._artefacts.sources[:16], **data_state([everything])}
        if self.resume:
            state |= resumed(self.reports / "latest")
        added = [{**metric.record(), "suite": self.suite} for metric in own_metrics(self.grids)]
        return Run(
            schema=RUN_SCHEMA,
            id=run_id(),
            started=timestamp(),
            finished="",
            complete=False,
            filtered=True,
            mode="off",
            command=self.command,
            plan=PLAN.record(),
            environment=here.saying(state),
            metrics=(*(metric.record() for metric in METRICS), *added),
            results=(),
            comparisons=(),
        )
