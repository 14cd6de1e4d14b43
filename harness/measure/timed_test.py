"""Measuring a test of pytest-benchmark's: its launches, in turns with the anchor or with the same test elsewhere.

A test is an arm like any other: a process serves its calls (`harness.worker.timed_test`), and the launches, their
statistics and their verdicts are those of every case. What differs is what there is to serve: no artefact is prepared,
nothing is evaluated, and the only other arm of the working tree is the anchor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, MeasurementError, WrongTreeError
from harness.measure.artefacts import ArtefactCache
from harness.measure.budget import Budget
from harness.measure.child import Child
from harness.measure.ending import ended, longer
from harness.measure.environment import library_versions
from harness.measure.launch import ArmSpec
from harness.measure.sampling import sample
from harness.measure.stage import stage
from harness.measure.tree import Tree
from harness.measure.values import BUILT_IN, measurements_of, warnings_of, with_latency_of
from harness.metrics import Metric
from harness.names import file_name
from harness.plan import Plan
from harness.records import Launch, Outcome, Result, Scalar
from harness.specs import spec_of
from harness.timed_test import TimedTest
from harness.worker.protocol import TIMED_TEST, UNREACHED, Load, Loaded, Settle, Settled, Turn, TurnDone

__all__ = ["TestMeasurer", "a_call"]

ROUNDS = 5
"""Rounds of the process that prepares: as many as pytest-benchmark makes at least, for what a test reads of them."""


@dataclass
class TestMeasurer:
    """Measures tests of one tree under one plan.

    cache   knows the tree, and whether its sources were edited; a test has no artefact
    more    told a result after its screen, and after each lot of fresh launches, says how many more to make
    other   the tree to compare with, whose tests take turns with this one's
    """

    __test__ = False  # or pytest would take it for one of its own

    cache: ArtefactCache
    other: Tree | None
    plan: Plan
    logs: Path
    more: Callable[[Result, Mapping[str, Metric]], int]
    progress: Callable[[str], None]
    budget: Budget

    def measure(self, test: TimedTest, suite: str, metrics: Mapping[str, Metric]) -> tuple[Result, Result | None]:
        """Measure a test, and the same test of the other tree where there is one.

        A failure becomes the result's outcome; only an interrupt gets out, and `pytest.exit`.
        """
        with _temporary() as temporary:
            return self._measure(test, suite, metrics, temporary)

    def _measure(
        self, test: TimedTest, suite: str, metrics: Mapping[str, Metric], temporary: str
    ) -> tuple[Result, Result | None]:
        result = Result(suite, test.id, test.nodeid, *test.words, Outcome.COMPLETED)
        self.budget.begin()
        folder = self.logs / file_name(f"{suite}/{test.id}")
        folder.mkdir(parents=True, exist_ok=True)
        previous: Result | None = None
        seconds: dict[str, float] = {}
        try:
            self.cache.check_going_on(test.id)
            with stage(self.progress, seconds, "prepare"):
                try:
                    facts = self._prepare(test, self.cache.tree, folder, temporary)
                except MeasurementError as error:
                    if error.outcome == Outcome.ABSENT:  # the pytest outside has found it
                        error.args = (f"{error} in its launch ({UNREACHED})",)
                    raise
            result = dataclasses.replace(result, facts=facts)
            arms = {"candidate": ArmSpec(self.cache.tree, str(folder))}
            if self.other is None:
                arms["anchor"] = ArmSpec(self.cache.tree)
            else:
                with stage(self.progress, seconds, "prepare the other tree"):
                    previous = self._previous(test, result, self.other, folder, temporary)
                if previous.outcome is Outcome.COMPLETED:
                    arms["previous"] = ArmSpec(self.other, str(folder))
            with stage(self.progress, seconds, "sample"):
                found = self._sample(result, test, arms, metrics, folder)
            self.cache.check_unedited(test.id)
        except Exception as error:  # it ends this case, and no other
            return ended(result, error), previous
        found = dataclasses.replace(found, seconds=seconds, warnings=warnings_of(found))
        return found, with_latency_of(previous, found.launches) if previous else None

    def _prepare(self, test: TimedTest, tree: Tree, folder: Path, temporary: str) -> dict[str, Scalar]:
        """Let the test pass once, and write how it is to be served. Gives the facts of it. Raises `MeasurementError`.

        Every launch then makes rounds of as many calls as were found here: also those of another tree, where another
        number would be a difference. A test that insists on another number there tells the time of as many calls.
        """
        _describe(test, folder, temporary, iterations=0)
        with Child(f"preparing {test.id}", folder / "prepare.log", test.hardware.environment(), tree) as child:
            child.ask(Load(str(folder), str(tree.root), spec_of(test.hardware)))
            with longer("prepare_deadline", self.plan.prepare_deadline):
                loaded = child.reply(Loaded, self.plan.prepare_deadline)
            tree.check(loaded.harness_file, modules=loaded.modules)
            with longer("deadline", self.plan.deadline):
                child.ask(Settle())
                child.reply(Settled, self.plan.deadline)
                child.ask(Turn(0, ROUNDS))
                child.reply(TurnDone, self.plan.deadline)
                stopped = child.stop(self.plan.deadline)
            tree.check(loaded.harness_file, modules=stopped.modules)  # its calls may have imported more
        found = stopped.state
        iterations = found["iterations"]
        if not isinstance(iterations, int) or iterations < 1:
            raise MeasurementError(f"{test.id}: a round of {iterations} calls is none", outcome="invalid")
        _describe(test, folder, temporary, iterations=iterations)
        version = library_versions().get("pytest-benchmark", "")
        return {"runtime": f"pytest-benchmark {version}".strip(), **found}

    def _previous(self, test: TimedTest, result: Result, other: Tree, folder: Path, temporary: str) -> Result:
        """The other tree's result without its times; an outcome where the test can't be run there."""
        there = folder / "other"
        there.mkdir(exist_ok=True)
        try:
            other.check_folder()
            return dataclasses.replace(result, facts=self._prepare(test, other, there, temporary))
        except WrongTreeError:
            raise  # it says nothing of the other tree, and a comparison with it would be one with something else
        except HarnessError as error:
            return dataclasses.replace(result, facts={}, outcome=Outcome(error.outcome), reason=str(error))

    def _sample(
        self, result: Result, test: TimedTest, arms: Mapping[str, ArmSpec], metrics: Mapping[str, Metric], folder: Path
    ) -> Result:
        """Launches until the test is decided, and the result with their measurements."""
        iterations = int(result.facts["iterations"])
        known = {name: metric for name, metric in metrics.items() if name in BUILT_IN}

        def seen(launches: tuple[Launch, ...]) -> Result:
            calls = tuple(a_call(one, iterations) for one in launches)
            return dataclasses.replace(result, launches=calls, measurements=measurements_of(calls, 1, {}, known))

        with longer("deadline", self.plan.deadline):
            sampled = sample(
                arms,
                hardware=test.hardware,
                plan=self.plan,
                rng=random.Random(f"{self.plan.seed}/{result.suite}/{result.case_id}"),
                logs=folder,
                more=lambda launches: self.more(seen(launches), known),
                progress=self.progress,
                end=self.budget.end,
            )
        return dataclasses.replace(seen(sampled.launches), cut_short=sampled.cut_short)


def a_call(launch: Launch, iterations: int) -> Launch:
    """A launch whose rounds were of so many calls, with the times of the test a call."""
    if iterations == 1:
        return launch
    return dataclasses.replace(
        launch,
        anchored=None if launch.anchored is None else launch.anchored / iterations,
        samples={
            role: times if role == "anchor" else tuple(float(f"{seconds / iterations:.7g}") for seconds in times)
            for role, times in launch.samples.items()
        },
        latency={name: seconds / iterations for name, seconds in launch.latency.items()},
    )


def _describe(test: TimedTest, folder: Path, temporary: str, *, iterations: int) -> None:
    words = {"nodeid": test.nodeid, "config": test.config, "iterations": iterations, "temporary": temporary}
    (folder / TIMED_TEST).write_text(json.dumps(words), encoding="utf-8")


@contextlib.contextmanager
def _temporary() -> Iterator[str]:
    """A folder for the temporary files of a test's launches, where pytest has those of its own; "" where there can be
    none, which pytest says to a test that asks for it. It is this process's, since a launch may be killed.
    """
    usual = os.environ.get("PYTEST_DEBUG_TEMPROOT") or None
    try:
        made = tempfile.TemporaryDirectory(prefix="harness-launch-", dir=usual, ignore_cleanup_errors=True)
    except OSError:
        yield ""
        return
    with made as folder:
        yield str(Path(folder).absolute())
