"""The statistics alone, on simulated launches: false alarms and power under what machines do to measurements.

    python benchmarks/simulation.py [--cases 2000] [--json PATH]

Each simulated case is launched and judged as a real one: turns of two arms, their paired log ratios, the median of a
launch, a screen of three launches, lots of fresh ones while it is undecided, and the judge's own functions on top. True
changes are known, so that every verdict is right or wrong. Rates come with exact 95 % binomial bounds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.detected import bounds
from harness.judge.against import DEFAULT_SPREAD, judge_launches, more_launches
from harness.judge.change import Change, change_of, decide
from harness.judge.compare import LEAST_FRESH
from harness.judge.looks import FRESH, SCREEN
from harness.judge.prior import MOST_FREEDOM, Prior, Spread
from harness.metrics import METRICS
from harness.plan import Plan
from harness.records import Launch, Verdict

Random = np.random.Generator
PLAN = Plan()
ROUNDS = 25
SPEEDUP = next(metric for metric in METRICS if metric.name == "speedup")


@dataclass(frozen=True)
class Machine:
    """What a machine does to logarithms of times, and what the judge has learnt of other cases there.

    launch   standard deviation between launches of one arm (memory layout, page luck)
    turn     standard deviation between turns
    run      standard deviation between runs made at different hours (baseline mode only)
    spikes   share of turns that something interrupted, by 30 % on average
    drift    standard deviation of a step of the random walk that both arms share from turn to turn
    modes    share of launches that find a mode 2 % slower
    odd      share of launches that lie 5 % off, either way
    carry    autocorrelation of a turn's noise
    turns    how the variance of other cases' launches in turns compares with what is expected of it
    stored   how launches and runs of other cases differ (baseline mode only)
    """

    launch: float = 0.004
    turn: float = 0.02
    run: float = 0.006
    spikes: float = 0.0
    drift: float = 0.0
    modes: float = 0.0
    odd: float = 0.0
    carry: float = 0.0
    turns: Spread = DEFAULT_SPREAD
    stored: Prior = field(default_factory=Prior)


# Launches of this case differ by 0.9 % in turns and against the anchor, and the means of its runs by 2.1 %: three times
# what the judge has learnt of the others.
NOISY = Machine(
    launch=0.008 / math.sqrt(2),
    turn=0.01,
    run=0.02,
    turns=Spread(0.3, MOST_FREEDOM),
    stored=Prior({SPEEDUP.name: Spread(0.0029**2, MOST_FREEDOM)}, {SPEEDUP.name: Spread(0.0069**2, MOST_FREEDOM)}),
)
MACHINES = {
    "quiet": Machine(),
    "spikes": Machine(spikes=0.15),
    "drift": Machine(drift=0.02),
    "bimodal": Machine(modes=0.2),
    "outliers": Machine(odd=0.1),
    "autocorrelated": Machine(carry=0.8),
    "restless": Machine(launch=0.008, turn=0.05, run=0.012, spikes=0.1, drift=0.02),
    "noisy": NOISY,
}


def launches(random: Random, machine: Machine, change: float, count: int) -> list[tuple[float, float]]:
    """The ratio, candidate over the other arm, that each of `count` launches shows, and its error by its rounds."""
    shape = (count, ROUNDS, 2)
    noise = random.normal(0, machine.turn, shape)
    if machine.carry:
        fresh = noise * np.sqrt(1 - machine.carry**2)
        for i in range(1, ROUNDS):
            noise[:, i] = machine.carry * noise[:, i - 1] + fresh[:, i]
    noise += np.where(random.random(shape) < machine.spikes, random.exponential(0.3, shape), 0.0)
    walk = np.cumsum(random.normal(0, machine.drift, (count, 2 * ROUNDS)), axis=1).reshape(shape)
    order = random.integers(0, 2, (count, ROUNDS, 1))
    noise += np.where(order == 0, walk, walk[:, :, ::-1])
    luck = random.normal(0, machine.launch, (count, 1, 2))
    luck += 0.02 * (random.random((count, 1, 2)) < machine.modes)
    luck += 0.05 * (random.random((count, 1, 2)) < machine.odd / 2)
    times = noise + luck
    logs = times[:, :, 0] - times[:, :, 1] + np.log1p(change)
    quartiles = np.quantile(logs, [0.25, 0.75], axis=1)
    ranks = np.argsort(np.argsort(logs, axis=1), axis=1) - (ROUNDS - 1) / 2
    likeness = np.clip((ranks[:, 1:] * ranks[:, :-1]).sum(axis=1) / (ranks**2).sum(axis=1), 0.0, 0.9)
    # As `harness.measure.turns.paired`, for all launches at once; a test holds the two together.
    spread = (quartiles[1] - quartiles[0]) / 1.349
    errors = 1.2533 * spread * np.sqrt((1 + likeness) / (1 - likeness) / ROUNDS)
    return [(float(ratio), float(error)) for ratio, error in zip(np.exp(np.median(logs, axis=1)), errors, strict=True)]


def made(phase: str, ratios: list[tuple[float, float]]) -> list[Launch]:
    """Launches that showed these ratios to the other tree."""
    return [
        Launch(phase, ROUNDS, None, None, {}, 1.0, 0.0, 0.0, against=ratio, within={"against": error})
        for ratio, error in ratios
    ]


def against(random: Random, machine: Machine, change: float) -> Verdict:
    """One case of `--against` at a tolerance of 1 %."""
    so_far = made("screen", launches(random, machine, change, PLAN.screen))
    while size := more_launches(so_far, 0.01, machine.turns, PLAN.lots):
        so_far += made("confirm", launches(random, machine, change, size))
    return judge_launches(so_far, 0.01, machine.turns).verdict


def baseline(random: Random, machine: Machine, change: float) -> Verdict:
    """One case against three blocks of a baseline, at the speed-up's tolerance of 5 %."""

    def run(change: float, count: int, hour: float) -> list[float]:
        return [float(np.exp(hour)) / ratio for ratio, _ in launches(random, machine, change, count)]

    def found(values: list[float]) -> Change:
        return change_of(values, blocks, machine.stored, SPEEDUP.name)

    limit = SPEEDUP.limit(1.0)
    blocks = [run(0.0, PLAN.screen, random.normal(0, machine.run)) for _ in range(3)]
    hour = random.normal(0, machine.run)
    screen = run(change, PLAN.screen, hour)
    first = found(screen)
    verdict = decide(first, first, SPEEDUP, limit, SCREEN).verdict
    if verdict in (Verdict.UNCHANGED, Verdict.IMPROVED):
        return verdict
    confirm = run(change, min(PLAN.confirm, max(LEAST_FRESH, first.launches)), hour)
    return decide(found(confirm), found([*screen, *confirm]), SPEEDUP, limit, FRESH).verdict


MODES: dict[str, tuple[Callable[[Random, Machine, float], Verdict], tuple[float, ...]]] = {
    "against": (against, (0.0, 0.005, 0.01, 0.025, 0.05)),
    "baseline": (baseline, (0.0, 0.025, 0.05, 0.12, 0.25)),
}


def main(arguments: list[str]) -> int:
    """Simulate, print the table, and write the rows where asked."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000, help="simulated cases in each row (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    rows = []
    print(
        f"{'mode':9} {'machine':15} {'true':>7}  {'regressed':>24} {'unchanged':>10} {'improved':>9} {'undecided':>9}"
    )
    for mode, (judge, changes) in MODES.items():
        for name, machine in MACHINES.items():
            for change in changes:
                random = np.random.default_rng([options.seed, *f"{mode}{name}{change}".encode()])
                counts = Counter(judge(random, machine, change) for _ in range(options.cases))
                hits = counts[Verdict.REGRESSED]
                low, high = bounds(hits, options.cases)
                shares = [
                    counts[v] / options.cases for v in (Verdict.UNCHANGED, Verdict.IMPROVED, Verdict.INCONCLUSIVE)
                ]
                rows.append(
                    {
                        "mode": mode,
                        "machine": name,
                        "true_percent": 100 * change,
                        "cases": options.cases,
                        **{verdict.value: counts[verdict] for verdict in sorted(counts)},
                    }
                )
                rate = f"{hits / options.cases:7.2%} [{low:6.2%}, {high:7.2%}]"
                print(f"{mode:9} {name:15} {change:+7.1%}  {rate:>24} " + " ".join(f"{share:9.1%}" for share in shares))
    print(f"{len(rows) * options.cases:,} cases in {time.perf_counter() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
