"""What `detection.py` does next, and doing it: one verdict, one block of a baseline, or one chain of other tools."""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.detected import Kept, Observed
from benchmarks.planting import CASES, SIZES, Case, Planter
from benchmarks.rivals import Heard, PluginChain, SamplesChain
from benchmarks.verdicts import BLOCKS, Judge, Seen
from harness.baseline.records import Block
from harness.errors import MeasurementError
from harness.records import Verdict

__all__ = ["PARTS", "WANTED", "Bench", "Schedule", "Task"]

CHAINS: dict[str, type[PluginChain] | type[SamplesChain]] = {
    "pytest-benchmark": PluginChain,
    "asv and pyperf": SamplesChain,
}
PARTS = ("against", "baseline", "others")
APART = 600.0
"""Seconds between two blocks of a baseline, at least."""
FIRST_SECONDS = 8.0
"""Sampling time of a verdict of the other tools while the harness has none yet."""
BESIDE = 0.01
"""The harness's tolerance in a chain of other tools."""
ERRORS = 5
"""Failures in a row that end the run: something is broken that another try does not mend."""

FAILED = Seen(Verdict.ERROR, 0.0, 0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Task:
    """A row that is wanted, with the number of verdicts; for other tools, chains that give one verdict of each size."""

    kind: str
    load: str
    planted: float
    where: str
    tolerance: float
    wanted: float

    @property
    def part(self) -> str:
        """What `--only` calls it."""
        return self.kind if self.kind in PARTS else PARTS[-1]


@dataclass(frozen=True)
class Step:
    """What is under way: a task with the size that is planted now, the tools that judge it, and their chain's start."""

    task: Task
    tools: tuple[str, ...]
    chain: int = 0


def _against(load: str, *rows: tuple[float, float, float]) -> Iterator[Task]:
    for planted, tolerance, wanted in rows:
        yield Task("against", load, planted, "technique" if planted else "", tolerance, wanted)


WANTED = (
    *_against("idle", (0, 0.01, 600), (2.5, 0.01, 120), (5, 0.01, 120), (1, 0.01, 40), (12, 0.01, 40), (0, 0.05, 60)),
    Task("baseline", "idle", 0, "", 0.05, 120),
    Task("baseline", "idle", 12, "technique", 0.05, 120),
    Task("baseline", "idle", 25, "model", 0.10, 60),
    *(Task(kind, "idle", 0, "", 0.0, 40) for kind in CHAINS),
    *_against("busy", (0, 0.01, 200), (2.5, 0.01, 20), (5, 0.01, 20)),
    Task("baseline", "busy", 0, "", 0.05, 40),
    Task("baseline", "busy", 12, "technique", 0.05, 20),
    *(Task(kind, "busy", 0, "", 0.0, 20) for kind in CHAINS),
)


@dataclass
class Schedule:
    """Which row is furthest behind. `only` leaves out other parts than these, `scale` multiplies what is wanted.

    Verdicts count whatever machine gave them; of blocks only those of this one.

    machine  class of machine whose blocks count
    """

    kept: Kept
    judge: str
    machine: str
    loads: tuple[str, ...]
    only: Collection[str] = PARTS
    scale: float = 1.0
    _left: set[Task] = field(default_factory=set)

    def leave(self, task: Task) -> None:
        """Ask for a task no more: there is no case for it."""
        self._left.add(task)

    def load(self) -> str | None:
        """The load whose rows are furthest behind on average; None where nothing can be done."""
        behind = {load: self._behind(load, task) for load in self.loads if (task := self.next(load))}
        return min(behind, key=lambda load: behind[load]) if behind else None

    def next(self, load: str) -> Task | None:
        """The task that is furthest behind under this load.

        A block of a baseline that is due goes first, and is made idle: verdicts under each load have the same blocks.
        """
        tasks = self._tasks(load)
        if load == "idle" and any(task.kind == "baseline" for task in tasks) and self._to_block() == 0:
            return Task("block", load, 0, "", 0.0, 1)
        open_tasks = [task for task in tasks if self._share(task) < 1 and (task.kind != "baseline" or self._judged())]
        return min(open_tasks, key=self._share) if open_tasks else None

    def seconds_to_next_block(self) -> float | None:
        """Seconds until a block of the baseline is due; None where none is wanted."""
        return self._to_block() if "idle" in self.loads and "baseline" in self.only else None

    def lacks_blocks(self) -> bool:
        """Whether what is wanted under these loads lacks blocks of a baseline, which none of them makes."""
        tasks = [task for load in self.loads for task in self._tasks(load) if task.kind == "baseline"]
        return "idle" not in self.loads and any(self._share(task) < 1 for task in tasks) and not self._judged()

    def _tasks(self, load: str) -> list[Task]:
        wanted = [task for task in WANTED if task not in self._left]
        return [task for task in wanted if task.load == load and task.part in self.only]

    def _behind(self, load: str, task: Task) -> float:
        if task.kind == "block":
            return -1.0
        return statistics.fmean(min(1.0, self._share(one)) for one in self._tasks(load))

    def _to_block(self) -> float | None:
        times = [_to_block(self._blocks(), case) for case in CASES]
        return min((found for found in times if found is not None), default=None)

    def _judged(self) -> bool:
        return all(len(self._blocks().get(case.id, ())) >= BLOCKS for case in CASES)

    def _blocks(self) -> dict[str, list[dict[str, Any]]]:
        return self.kept.blocks_of(self.judge, self.machine)

    def _share(self, task: Task) -> float:
        seen = [one for one in self.kept.verdicts if one.judge == self.judge]
        return sum(_counts(task, one) for one in seen) / (task.wanted * self.scale)


@dataclass
class Bench:
    """Does tasks, and keeps what they gave at once.

    machine          class of machine that this is
    wait_until_idle  called before each verdict on the idle machine
    check            called before each verdict; raises where the judge is no longer the same
    """

    kept: Kept
    judge: str
    machine: str
    folder: Path
    json: Path
    wait_until_idle: Callable[[], None]
    check: Callable[[], None]

    def __enter__(self) -> Bench:
        self.folder.mkdir(parents=True, exist_ok=True)
        planted = self.kept.planted.setdefault(self.machine, {})
        self._planter = Planter(self.folder, planted, self.say, self.wait_until_idle)
        self._blocks = self.kept.blocks_of(self.judge, self.machine)
        self._judging = Judge(self.folder, lambda _: None)
        self._failures = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kept.write(self.json)

    def say(self, text: str) -> None:
        """Tell what is going on."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def calibrate(self) -> None:
        """Make and measure every artefact that is not yet, while the machine is idle."""
        for case in CASES:
            self._planter.planted(case.id, SIZES[0])
            self._planter.apart(case.id)
            self._planter.clean(case.reference)

    def do(self, task: Task, end: float) -> bool:
        """Do a task; a chain of other tools stops early at `end`. A failure is a verdict of its own, `error`, but for a
        block of a baseline, which is none.

        False where no case is slowed by what the task is of: such a verdict would have a wrong name.
        """
        self.check()
        for case in self._cases(task):
            self._step = Step(task, CHAINS[task.kind].tools if task.kind in CHAINS else ("harness",))
            try:
                if not self._met(task, case):
                    continue
                if task.kind == "block":
                    self._block(case)
                elif task.kind in CHAINS:
                    self._chain(task, case, end)
                else:
                    self._verdict(self._step, case)
                self._failures = 0
            except MeasurementError as error:
                self.check()  # children of another judge's files fail, and that says nothing of this one
                self.say(f"{task.kind} {case.id}: {error}")
                self._failures += 1
                for tool in () if task.kind == "block" else self._step.tools:
                    self._keep(self._step, case, tool, FAILED, apart=not self._step.task.planted)
                if self._failures == ERRORS:
                    raise
            return True
        self.say(f"no case was measured to be slower by {task.planted:g} %: {task.kind} goes on without this size")
        return False

    def _cases(self, task: Task) -> list[Case]:
        """The cases of a task, the one with the fewest verdicts first; or that whose block is due."""
        if task.kind == "block":
            return [next(case for case in CASES if _to_block(self._blocks, case) == 0)]
        counts = Counter(one.case for one in self.kept.verdicts if one.judge == self.judge and _counts(task, one))
        return sorted(CASES, key=lambda case: counts[case.id])

    def _met(self, task: Task, case: Case) -> bool:
        """Whether a case, and the reference where it is slowed too, is as much slower as a task says."""
        planted_in = (case.id, case.reference) if task.where == "model" else (case.id,)
        return all(self._planter.met(one, task.planted) for one in planted_in)

    def _block(self, case: Case) -> None:
        clean, reference = self._planter.clean(case.id), self._planter.clean(case.reference)
        self.wait_until_idle()
        made = self._judging.block(case, clean, reference, str(int(time.time())), self._seed())
        block = {
            "when": int(time.time()),
            "values": {name: list(values) for name, values in made.values.items()},
            "relative": {name: list(values) for name, values in made.relative.items()},
        }
        blocks = self._blocks.setdefault(case.id, [])
        blocks.append(block)
        self.say(f"block {len(blocks)} of the baseline of {case.id}")
        self.kept.write(self.json)

    def _verdict(self, step: Step, case: Case) -> None:
        task = step.task
        clean = self._planter.clean(case.id)
        candidate = self._planter.planted(case.id, task.planted) if task.planted else self._planter.apart(case.id)
        if task.kind == "baseline":
            reference = self._planter.planted(case.reference, task.planted if task.where == "model" else 0)
        if task.load == "idle":
            self.wait_until_idle()
        if task.kind == "against":
            seen = self._judging.against(candidate, clean, task.tolerance, self._seed())
        else:
            seen = self._judging.baseline(case, candidate, reference, self._baselines(), self._seed())
        self._keep(step, case, "harness", seen, apart=not task.planted)

    def _chain(self, task: Task, case: Case, end: float) -> None:
        """For each size a clean block, and one that is compared with it: at 0 % of the artefact that was made apart.

        What has the fewest verdicts comes first, so that a chain that is cut short leaves nothing behind for good. The
        harness gives its verdict of each size right afterwards.
        """
        began, tools = int(time.time()), CHAINS[task.kind].tools
        counts = Counter(
            one.planted_percent
            for one in self.kept.verdicts
            if (one.judge, one.tool, one.load) == (self.judge, tools[0], task.load)
        )
        sizes = [0.0, *(size for size in SIZES if size <= 12 and self._planter.met(case.id, size))]
        sizes.sort(key=lambda size: counts[size])
        clean, apart = self._planter.clean(case.id), self._planter.apart(case.id)
        blocks = [(size, self._planter.planted(case.id, size) if size else apart) for size in sizes]
        chain = CHAINS[task.kind](self.folder, self._seconds(task.load) / 2)
        for size, artefact in blocks:
            self._step = Step(_of_size(task, size), tools, began)
            if time.monotonic() > end:
                return
            if task.load == "idle":
                self.wait_until_idle()  # before the two, and not between them
            for block in (clean, artefact):
                for heard in chain.add(block, clean=block == clean):
                    self._keep(self._step, case, heard.tool, heard, apart=not size)
        for size in sizes:
            own = _of_size(dataclasses.replace(task, kind="against", tolerance=BESIDE), size)
            self._step = Step(own, ("harness",), began)
            if time.monotonic() > end:
                return
            self.check()
            self._verdict(self._step, case)

    def _seconds(self, load: str) -> float:
        """What a verdict of the harness took of sampling, on average: other tools get as much."""
        own = [
            one.sampling
            for one in self.kept.verdicts
            if (one.judge, one.tool, one.mode, one.load, one.tolerance)
            == (self.judge, "harness", "against", load, 0.01)
            and one.verdict != "error"
        ]
        return statistics.fmean(own) if own else FIRST_SECONDS

    def _baselines(self) -> dict[str, list[Block]]:
        return {
            case_id: [Block(str(one["when"]), "", one["values"], one["relative"]) for one in blocks]
            for case_id, blocks in self._blocks.items()
        }

    def _keep(self, step: Step, case: Case, tool: str, seen: Seen | Heard, *, apart: bool) -> None:
        task = step.task
        observed = Observed(
            when=int(time.time()),
            part=len(self.kept.parts) - 1,
            judge=self.judge,
            tool=tool,
            mode="baseline" if task.kind == "baseline" else "against",
            load=task.load,
            case=case.id,
            planted_percent=task.planted,
            where=task.where,
            tolerance=task.tolerance,
            verdict=str(seen.verdict),
            change=round(seen.change, 5),
            sampling=round(seen.sampling, 2),
            wall=round(seen.wall, 2),
            pressure=round(seen.pressure, 3),
            blocks=len(self._blocks[case.id]) if task.kind == "baseline" else 0,
            chain=step.chain,
            apart=apart,
            measured_percent=self._planter.measured(case.id, task.planted),
        )
        self.kept.verdicts.append(observed)
        self.kept.write(self.json)
        self.say(
            f"{tool} {observed.mode} {task.load} {task.planted:g} % in {case.id}: {observed.verdict} "
            f"({observed.change:+.2%}, {observed.sampling:g} s of {observed.wall:g} s)"
        )

    def _seed(self) -> str:
        return f"{self.judge}/{len(self.kept.verdicts)}/{time.time_ns()}"


def _of_size(task: Task, size: float) -> Task:
    """The part of a chain that is of one size."""
    return dataclasses.replace(task, planted=size, where="technique" if size else "")


def _counts(task: Task, one: Observed) -> bool:
    """Whether a verdict is one of those that a task asks for; what failed is asked for again."""
    if one.verdict == "error":
        return False
    if task.kind in CHAINS:
        return (one.tool, one.load, one.planted_percent) == (CHAINS[task.kind].tools[0], task.load, 0.0)
    blocks = BLOCKS if task.kind == "baseline" else 0
    return (one.tool, one.mode, one.load, one.planted_percent, one.where, one.tolerance, one.blocks) == (
        "harness", task.kind, task.load, task.planted, task.where, task.tolerance, blocks,
    )  # fmt: skip


def _to_block(made: Mapping[str, Sequence[Mapping[str, Any]]], case: Case) -> float | None:
    """Seconds until a case's next block is due; None where it has all."""
    blocks = made.get(case.id, [])
    if len(blocks) >= BLOCKS:
        return None
    return max(0.0, blocks[-1]["when"] + APART - time.time()) if blocks else 0.0
