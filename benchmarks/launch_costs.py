"""What a launch costs outside of sampling, by real launches of cached artefacts, and where its time goes."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.call_costs import median_interval
from harness.grid import Address, find_case
from harness.hardware import cpu
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.child import Child
from harness.measure.environment import versions_of
from harness.measure.launch import ArmSpec, launch
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.records import Run
from harness.specs import spec_of
from harness.worker.protocol import Load, Loaded, Settle, Settled

__all__ = ["LaunchCost", "Share", "artefact_of", "launch_cost", "sampling_share"]

FILE, FUNCTION = "suites/test_digits.py", "test_inference"
EXCLUDED = ("prepare", "evaluate", "memory", "ahead")
"""Stages of a case that are no part of its launches: artefacts are made, accuracy and memory have their own passes. In
`ahead` is also the making of artefacts before the first case."""


@dataclass(frozen=True)
class LaunchCost:
    """Seconds of launches outside of sampling, with their median's 95 % interval; and of one arm's stages, medians."""

    outside: tuple[float, float, float]
    stages: Mapping[str, float]


def artefact_of(root: Path, technique: str) -> Artefact:
    """The artefact of a technique on the digits, made if it is not in the project's cache."""
    tree, address = Tree(root), Address(str(root), FILE, FUNCTION, f"digits/{technique}/cpu")
    cache = ArtefactCache(tree, root / ".harness" / "artefacts", versions_of(tree), Plan(), cold=False)
    case, _ = find_case(address)
    reason = case.inapplicable() or case.unavailable()
    if reason:
        raise LookupError(reason)
    with tempfile.TemporaryDirectory() as logs:
        return cache.get(case, address, Path(logs))


def launch_cost(artefact: Artefact, count: int) -> LaunchCost:
    """Launch an artefact beside the anchor so many times, and as often walk one arm through its stages."""
    rng = random.Random(0)
    outside, stages = [], []
    arms = {"candidate": ArmSpec.of(artefact), "anchor": ArmSpec(artefact.tree)}
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        for number in range(count + 1):
            done = launch(arms, hardware=cpu, plan=Plan(), rng=rng, logs=logs, phase="screen", seconds=0.3)
            walked = _stages(artefact, logs)
            if number:  # the first fills the page cache
                outside.append(done.wall_seconds - done.seconds)
                stages.append(walked)
    return LaunchCost(
        median_interval(outside), {name: statistics.median(one[name] for one in stages) for name in stages[0]}
    )


def _stages(artefact: Artefact, logs: Path) -> dict[str, float]:
    deadline = Plan().deadline
    clock = _Clock()
    with Child("arm", logs / "arm.log", cpu.environment(), artefact.tree) as child:
        child.ask(Load(str(artefact.folder), str(artefact.tree.root), spec_of(cpu)))
        loaded = child.reply(Loaded, deadline)
        ready = clock.lap()
        child.ask(Settle())
        child.reply(Settled, deadline)
        settled = clock.lap()
        child.stop(deadline)
    return {
        "start, import the harness, check outputs": ready - loaded.seconds,
        "import the runtime and load": loaded.seconds,
        "settle": settled,
        "stop": clock.lap(),
    }


class _Clock:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before


@dataclass(frozen=True)
class Share:
    """Seconds of a run. `sampled` are those in which arms took turns, `counted` all that are not excluded."""

    total: float
    excluded: Mapping[str, float]
    launches: float
    sampled: float

    @property
    def counted(self) -> float:
        """Wall time without the stages that are excluded."""
        return self.total - sum(self.excluded.values())

    @property
    def share(self) -> float:
        """Share of the counted wall time that is sampling."""
        return self.sampled / self.counted


def sampling_share(run: Run) -> Share:
    """How a run spent its time. Raises `ValueError` for a run in which nothing was sampled."""
    results: Sequence = [result for result in run.results if result.launches]
    if not results:
        raise ValueError(f"{run.id}: no case has launches")
    excluded = {
        stage: sum(
            seconds for result in run.results for name, seconds in result.seconds.items() if name.split(" ")[0] == stage
        )
        for stage in EXCLUDED
    }
    launches = [launch for result in results for launch in result.launches]
    return Share(run.seconds, excluded, sum(one.wall_seconds for one in launches), sum(one.seconds for one in launches))
