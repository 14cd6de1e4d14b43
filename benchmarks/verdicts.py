"""The harness's verdicts on planted artefacts, in both modes, by its own sampling and its own judge."""

from __future__ import annotations

import dataclasses
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.planting import ROOT, Case
from harness.baseline.accept import KEPT_BLOCKS
from harness.baseline.make import block_of
from harness.baseline.records import BASELINE_SCHEMA, Accepted, Baseline, Block, Times
from harness.hardware import cpu
from harness.judge import compare, fit_prior, fresh_launches
from harness.judge.against import DEFAULT_SPREAD, judge_launches, more_launches
from harness.measure.environment import identity, software
from harness.measure.launch import ArmSpec
from harness.measure.sampling import sample
from harness.measure.tree import Tree
from harness.measure.values import measurements_of
from harness.metrics import METRICS
from harness.plan import Plan
from harness.records import Launch, Outcome, Result, Verdict

__all__ = ["BLOCKS", "Judge", "Seen"]

BLOCKS = KEPT_BLOCKS
"""Blocks of launches in a baseline before anything is judged against it: as many as a baseline keeps."""
JUDGED = {metric.name: metric for metric in METRICS if metric.name in ("latency.p50", "speedup")}
SUITE = "detection"
ACCEPTED = Accepted("", "", "blocks of this benchmark")


@dataclass(frozen=True)
class Seen:
    """A verdict, with what it took: seconds of sampling, seconds in all, and the share of time that tasks waited."""

    verdict: Verdict
    change: float
    launches: int
    sampling: float
    wall: float
    pressure: float


@dataclass
class Judge:
    """Launches artefacts and judges them as a run of the harness does that holds one case.

    logs      folder for what the arms print
    progress  told in a few words what is going on
    """

    logs: Path
    progress: Callable[[str], None]
    plan: Plan = dataclasses.field(default_factory=Plan)

    def against(self, candidate: Path, previous: Path, tolerance: float, seed: str) -> Seen:
        """The verdict of `--against`. No other case has shown this machine's spread, so the default is used."""
        begun = time.perf_counter()

        def more(launches: Sequence[Launch]) -> int:
            return more_launches(launches, tolerance, DEFAULT_SPREAD, self.plan.lots)

        launches = self._sample({"candidate": candidate, "previous": previous}, more, seed)
        judged = judge_launches(launches, tolerance, DEFAULT_SPREAD)
        return _seen(judged.verdict, judged.change.point, launches, begun)

    def baseline(
        self, case: Case, candidate: Path, reference: Path, kept: Mapping[str, Sequence[Block]], seed: str
    ) -> Seen:
        """The verdict against blocks of earlier launches, the worse one of p50 and speed-up.

        `kept` holds the blocks of every case: together they show how much this machine's hours differ.
        """
        begun = time.perf_counter()
        here = identity(cpu)
        times = {name: _times(name, blocks, here) for name, blocks in kept.items()}
        prior, baseline = fit_prior(times.values()), Baseline(None, times[case.id])

        def more(launches: Sequence[Launch]) -> int:
            return fresh_launches(_result(case, launches), baseline, JUDGED, prior, self.plan.confirm)

        folders = {"candidate": candidate, "anchor": None, "reference": reference}
        launches = self._sample(folders, more, seed)
        rows = compare(_result(case, launches), baseline, JUDGED, prior, here)
        worst = max(rows, key=lambda row: row.verdict.severity)
        return _seen(worst.verdict, worst.change.point if worst.change else 0.0, launches, begun)

    def block(self, case: Case, candidate: Path, reference: Path, when: str, seed: str) -> Block:
        """The screen launches of a clean case, as a run keeps them that makes a baseline."""
        folders = {"candidate": candidate, "anchor": None, "reference": reference}
        launches = self._sample(folders, lambda _: 0, seed)
        return block_of(_result(case, launches), JUDGED, "", when)

    def _sample(
        self, folders: Mapping[str, Path | None], more: Callable[[tuple[Launch, ...]], int], seed: str
    ) -> tuple[Launch, ...]:
        tree = Tree(ROOT)
        return sample(
            {role: ArmSpec(tree, str(folder) if folder else "") for role, folder in folders.items()},
            hardware=cpu,
            plan=self.plan,
            rng=random.Random(seed),
            logs=self.logs,
            more=more,
            progress=self.progress,
        ).launches


def _result(case: Case, launches: Sequence[Launch]) -> Result:
    model, technique, hardware = case.id.split("/")
    return Result(
        SUITE,
        case.id,
        f"{SUITE}::{case.id}",
        model,
        technique,
        hardware,
        Outcome.COMPLETED,
        measurements=measurements_of(launches, 1, {}, JUDGED),
        launches=tuple(launches),
    )


def _times(case_id: str, blocks: Iterable[Block], here: Mapping[str, bool | int | float | str]) -> Times:
    return Times(BASELINE_SCHEMA, SUITE, case_id, {}, here, software(), tuple(blocks), ACCEPTED)


def _seen(verdict: Verdict, change: float, launches: Sequence[Launch], begun: float) -> Seen:
    return Seen(
        verdict,
        change,
        len(launches),
        sum(one.seconds for one in launches),
        time.perf_counter() - begun,
        statistics.fmean(one.pressure or 0.0 for one in launches),
    )
