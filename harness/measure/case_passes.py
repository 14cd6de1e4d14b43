"""Accuracy and memory of cases, those of the next few made several at a time.

They are no times, so one child may work beside another; beside a measurement of time nothing else may run. So before a
case is timed, its passes are made together with those of the cases that come after it.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import MeasurementError
from harness.grid import Address, Case
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.child import Child
from harness.measure.crew import Starter, at_once, lacked_memory
from harness.measure.ending import raise_exit
from harness.measure.limits import need_of, or_without, too_large, unlimited
from harness.measure.passes import EvaluationPass, evaluate, measure_memory
from harness.measure.sources import digest_of
from harness.names import file_name
from harness.plan import Plan
from harness.worker.protocol import MemoryMeasured

__all__ = ["CasePasses", "Coming"]

LOT = 16
"""Cases whose passes are made together: what they give is held until each one's turn, and an interrupt loses it."""

Key = tuple[str, Path, str, str]
"""What is measured, the artefact, its hardware, and a digest of the environment that the child inherits."""
Make = Callable[[Starter], Any]


@dataclass(frozen=True)
class Coming:
    """A case that will be measured, with its suite."""

    case: Case
    address: Address
    suite: str


@dataclass
class CasePasses:
    """The passes of a session's cases.

    cache   artefacts of the working tree
    other   those of the tree that it is compared with
    jobs    how many passes are made at a time
    spent   seconds of making artefacts ahead that are in no result yet
    """

    cache: ArtefactCache
    plan: Plan
    logs: Path
    other: ArtefactCache | None = None
    jobs: int = 1
    spent: float = 0.0
    _coming: dict[tuple[str, str], Coming] = field(default_factory=dict)
    _environment: str = ""
    _made: dict[Key, Future[Any]] = field(default_factory=dict)

    def expect(self, coming: Iterable[Coming], spent: float = 0.0) -> None:
        """Say which cases come, in their order, and the seconds that making their artefacts ahead took."""
        self._coming = {(one.suite, one.case.id): one for one in coming}
        self.spent = spent

    def make_ahead(self, suite: str, case: Case, told: Callable[[str], None]) -> int:
        """Make the passes of this case and of the next ones, where it is expected. Gives for how many cases.

        What fails is raised when its case asks for it; what memory did not reach for beside others is made again then,
        alone. Once a case comes with another environment than the one before it, none is made ahead any more: which one
        those to come will have is not known. An interrupt gets out.
        """
        before, self._environment = self._environment, _environment()
        if before not in ("", self._environment):
            self._coming.clear()
        if self.jobs == 1 or (suite, case.id) not in self._coming:
            return 0
        keys = list(self._coming)
        start = keys.index((suite, case.id))
        lot = [self._coming.pop(key) for key in keys[start : start + LOT]]
        passes: dict[Key, Make] = {}
        for one in lot:
            try:
                passes |= dict(self._of(one))
            except Exception as error:  # also what a suite's own code raises
                raise_exit(error)
                continue  # its artefact can't be made, which its case will say
        futures: dict[Key, Future[Any]] = {key: Future() for key in passes if key not in self._made}
        text = f"accuracy and memory of {len(lot)} cases"
        told(text)
        at_once(
            [functools.partial(_settle, future, passes[key]) for key, future in futures.items()],
            self.jobs,
            lambda done: told(f"{text}: {done} of {len(futures)} passes"),
        )
        self._made |= {key: future for key, future in futures.items() if not _lacked_memory(future)}
        return len(lot)

    def evaluation(
        self, case: Case, address: Address, artefact: Artefact, log: Path
    ) -> tuple[EvaluationPass, MeasurementError | None]:
        """An evaluation; and, where it is too large for the limits of the hardware, how it failed under them. Asked
        once more, it is made in another process.

        The model need not be: its data and the code of the suite take memory as well, which a device would not have to
        hold. Raises `MeasurementError`.
        """
        key, make = self._evaluation(case, address, artefact, log)
        made = self._made.pop(key, None)
        found: tuple[EvaluationPass, MeasurementError | None] = made.result() if made else make(Child)
        return found

    def reference(self, case: Case, address: Address, artefact: Artefact, log: Path) -> EvaluationPass:
        """The evaluation of a reference, once for the cases that come in one environment: every case of its model is
        compared with its answers.

        Without the limits of its hardware: a reference that does not fit there has the same answers elsewhere. Raises
        `MeasurementError`.
        """
        key, make = self._reference(case, address, artefact, log)
        if key not in self._made:
            future: Future[Any] = Future()
            _settle(future, make, Child)
            # Those of other environments are held no longer: a fixture may give each case one of its own.
            kept = {other: one for other, one in self._made.items() if other[0] != key[0] or other[-1] == key[-1]}
            self._made = {**kept, key: future}  # after it: an interrupt leaves one that nobody settles
        found: EvaluationPass = self._made[key].result()
        return found

    def memory(self, case: Case, artefact: Artefact, log: Path) -> MemoryMeasured:
        """Peaks of memory. Raises `MeasurementError`, with outcome `oom` for what does not fit into its hardware."""
        key, make = self._memory(case, artefact, log)
        made = self._made.pop(key, None)
        found, failure = made.result() if made else make(Child)
        if failure:
            raise too_large(case, failure, need_of(found))
        memory: MemoryMeasured = found
        return memory

    def _of(self, one: Coming) -> Iterator[tuple[Key, Make]]:
        """The passes that measuring a case takes, the longest first. Raises what making its artefacts raises."""
        case, logs = one.case, self.logs / file_name(f"{one.suite}/{one.case.id}")
        logs.mkdir(parents=True, exist_ok=True)
        artefact = self.cache.get(case, one.address, logs)
        is_reference = case.id == case.reference.id
        if self.other is None:
            there = dataclasses.replace(one.address, case_id=case.reference.id)
            reference = artefact if is_reference else self.cache.get(case.reference, there, logs)
            yield self._reference(case.reference, there, reference, logs / "evaluate-reference.log")
        else:
            there = dataclasses.replace(one.address, root=str(self.other.tree.root))
            previous = self.other.get(case, there, logs)
            yield self._evaluation(case, there, previous, logs / "evaluate-previous.log")
            yield self._memory(case, previous, logs / "memory-previous.log")
        if self.other is not None or not is_reference or unlimited(case):
            yield self._evaluation(case, one.address, artefact, logs / "evaluate.log")
        yield self._memory(case, artefact, logs / "memory.log")

    def _evaluation(self, case: Case, address: Address, artefact: Artefact, log: Path) -> tuple[Key, Make]:
        def make(start: Starter) -> tuple[EvaluationPass, MeasurementError | None]:
            return or_without(case, lambda where: evaluate(where, address, artefact, self.plan, log, start))

        return ("evaluation", artefact.folder, case.hardware.name, _environment()), make

    def _reference(self, case: Case, address: Address, artefact: Artefact, log: Path) -> tuple[Key, Make]:
        def make(start: Starter) -> EvaluationPass:
            return evaluate(unlimited(case) or case, address, artefact, self.plan, log, start)

        return ("reference", artefact.folder, "", _environment()), make

    def _memory(self, case: Case, artefact: Artefact, log: Path) -> tuple[Key, Make]:
        def make(start: Starter) -> tuple[MemoryMeasured, MeasurementError | None]:
            return or_without(case, lambda where: measure_memory(where, artefact, self.plan, log, start))

        return ("memory", artefact.folder, case.hardware.name, _environment()), make


def _environment() -> str:
    """A digest of the environment, some of which a fixture may have set for one case; pytest's own names the test."""
    return digest_of({name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"})


def _settle(future: Future[Any], make: Make, start: Starter) -> None:
    """Put into a future what `make` gives, or how it fails."""
    try:
        future.set_result(make(start))
    except Exception as error:  # who asks for it gets it, be it one of the harness or not
        raise_exit(error)
        future.set_exception(error)


def _lacked_memory(future: Future[Any]) -> bool:
    """Whether memory did not reach for what was made, be it only under the limits of its hardware."""
    error = future.exception()
    if error is None and isinstance(found := future.result(), tuple):
        error = found[1]
    return lacked_memory(error)
