"""A suite of very many cases, and synthetic results for it, for the part of `overhead.py` that asks what scale costs.

    python benchmarks/many_cases.py make FOLDER [--cases 10000]
    python benchmarks/many_cases.py judge FOLDER

`make` writes a project: a suite whose grid has so many cases, and a committed baseline of three blocks for each.
`judge` runs a session over it in which everything is real but the launches: these are drawn, with the spreads that a
shared machine shows, one case in a hundred slower by 15 %. The time counts from the last launch of each case: metrics,
verdicts, journal, and at the end every report. Drawing is not counted. The last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.baseline.make import block_of, make_portable, make_times
from harness.baseline.records import Accepted
from harness.baseline.store import Store
from harness.grid import Address, Case, grid_of, load_suite
from harness.hardware import cpu
from harness.measure.case import More
from harness.measure.environment import environment
from harness.measure.values import measurements_of
from harness.metrics import Metric, resolve
from harness.plan import Plan
from harness.records import Environment, Evidence, Launch, Outcome, Result, Scores
from harness.session import Session
from harness.settings import Settings

SUITE = '''\
"""Very many cases, for a benchmark."""

from harness import Model, Promise, grid, technique
from harness.hardware import cpu
from harness.techniques import reference


@technique(takes="torch")
def variant(deployment, number: int):
    """One of many."""
    return deployment.promising(Promise("nodes.total", at_least=number))


def nothing(*arguments):
    """Stands where a model's functions do: no case is measured."""


MODELS = [Model(f"model{{number:03}}", "torch", nothing, nothing, nothing) for number in range({models})]


@grid(model=MODELS, technique=[reference, *map(variant, range(1, {techniques}))], hardware=[cpu])
def test_many(case, bench):
    bench(case)
'''
FILE = "suites/test_many.py"
ACCEPTED = Accepted("0" * 40, "2026-05-04T10:08:30+00:00", "first baseline")
SAMPLES = 400
"""Timed calls that a launch keeps of each arm at most."""
LAUNCH_SPREAD, CALL_SPREAD = 0.006, 0.03
SLOWER = 0.15
CALLS = [math.exp(abs(draw(0, CALL_SPREAD))) for draw in [random.Random(0).gauss] for _ in range(20_000)]
"""Times of calls over their launch's level. Every launch takes a piece: to draw each anew would take a minute."""


def make(folder: Path, cases: int) -> None:
    """Write the suite, and three blocks of every case as its baseline."""
    techniques = max(2, math.isqrt(cases))
    (folder / "suites").mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    text = SUITE.format(models=math.ceil(cases / techniques), techniques=techniques)
    (folder / FILE).write_text(text, encoding="utf-8")
    store, here, metrics = Store(folder / "baselines"), environment(folder, [cpu]), resolve()
    for case in cases_of(folder):
        runs = [_measured(case, Drawn(case, f"block {number}", samples=1).launches(3), metrics) for number in range(3)]
        write_baseline(store, runs, here, metrics)


def cases_of(folder: Path) -> tuple[Case, ...]:
    """The cases of the project that `make` wrote."""
    grid = grid_of(load_suite(folder, FILE).test_many)
    assert grid is not None
    return grid.cases()


def write_baseline(store: Store, runs: list[Result], here: Environment, metrics: Mapping[str, Metric]) -> None:
    """Commit these results of one case as its baseline, a block each."""
    portable = [name for name, metric in metrics.items() if metric.gates and metric.portable]
    local = [name for name, metric in metrics.items() if metric.gates and not metric.portable]
    blocks = tuple(block_of(run, local, ACCEPTED.commit, ACCEPTED.when) for run in runs)
    store.write(make_portable(runs[0], here, portable, ACCEPTED))
    store.write(make_times(runs[0], here, blocks, ACCEPTED))


class Drawn:
    """Launches of a case as a machine might show them. The same words draw the same launches."""

    def __init__(self, case: Case, words: str, *, samples: int = SAMPLES, slower: float = 0.0) -> None:
        self._own = random.Random(f"{case.id}")
        self._median = 0.002 * math.exp(self._own.gauss(0, 0.5))
        self._speedup = math.exp(self._own.gauss(0.4, 0.3))
        self._random = random.Random(f"{case.id} {words}")
        self._samples = samples
        self._slower = 1 + slower
        self._arms = {"candidate": self._median * self._slower, "anchor": 0.0006}
        if case.id != case.reference.id:
            self._arms["reference"] = self._median * self._speedup

    def launches(self, count: int, phase: str = "screen") -> list[Launch]:
        """So many launches more."""
        return [self._launch(phase) for _ in range(count)]

    def _launch(self, phase: str) -> Launch:
        draw = self._random.gauss
        arms = {}
        for name, median in self._arms.items():
            level, start = median * math.exp(draw(0, LAUNCH_SPREAD)), self._random.randrange(len(CALLS) - self._samples)
            arms[name] = tuple([round(level * call, 9) for call in CALLS[start : start + self._samples]])
        middle = statistics.median(arms["candidate"])
        return Launch(
            phase=phase,
            rounds=33,
            anchored=self._median * self._slower / 0.0006 * math.exp(draw(0, LAUNCH_SPREAD)),
            speedup=self._speedup / self._slower * math.exp(draw(0, LAUNCH_SPREAD)) if "reference" in arms else None,
            samples=arms,
            cpu_share=0.998,
            load_seconds=0.2113,
            wall_seconds=1.8231,
            pressure=abs(draw(0, 0.01)),
            started_first="candidate",
            latency={
                "p50": middle,
                "p90": middle * 1.05,
                "p95": middle * 1.08,
                "p99": middle * 1.2,
                "mean": middle * 1.01,
            },
            state={"load_1min": 0.42},
            calls=10 * self._samples,
            seconds=1.0,
        )


def _measured(case: Case, launches: list[Launch], metrics: Mapping[str, Metric], nodeid: str = "") -> Result:
    own = random.Random(f"{case.id} fixed")
    fixed = {
        "accuracy": 0.986,
        "memory.peak": float(own.randrange(40, 90) * 2**20),
        "memory.inference": float(own.randrange(4, 9) * 2**20),
        "size": float(own.randrange(10**5, 10**8)),
        "parameters": float(own.randrange(10**5, 10**7)),
        "sparsity": 0.0,
        "quantized": 0.0,
        "fallbacks": 0.0,
        **({"fidelity.error": 0.0031, "fidelity.agreement": 0.996} if case.id != case.reference.id else {}),
    }
    names = (case.model.name, case.technique.id, case.hardware.name)
    return Result(
        "many",
        case.id,
        nodeid or f"{FILE}::test_many[{case.id}]",
        *names,
        Outcome.COMPLETED,
        measurements=measurements_of(launches, 1, fixed, metrics),
        launches=tuple(launches),
        scores=Scores("top-1 accuracy", 0.986, 1000, bits="f" * 246 + "c0" + "00", answers="5be1c0ffee5be1c0"),
        evidence=(Evidence("variant", "nodes.total >= 1", "42", True),),
        facts={"runtime": "torch 2.13.0", "nodes.total": 42, "batch": 1, "weights.float32": 1.0, "parameters": 231_000},
        workload={"inputs": "a1b2c3d4", "batch": "1", "evaluation": "d4e5f6a7", "metric": "top-1 accuracy"},
        weights="77aa0177aa0177aa",
        seconds={"prepare": 2.013, "evaluate": 1.412, "memory": 0.803, "sample": 5.711},
    )


class DrawnMeasurer:
    """A session's `Measuring`; `drawing` are the seconds that drawing took."""

    def __init__(self, more: More, samples: int) -> None:
        self._more = more
        self._samples = samples
        self._number = itertools.count()
        self.drawing = 0.0

    def measure(
        self, case: Case, _address: Address, _suite: str, nodeid: str, metrics: Mapping[str, Metric]
    ) -> tuple[Result, None]:
        """As `Measurer.measure`: a screen, and as many fresh launches as the session wants then."""
        slower = SLOWER if next(self._number) % 100 == 50 else 0.0
        drawn = Drawn(case, "now", samples=self._samples, slower=slower)
        launches = self._draw(drawn, 3, "screen")
        result = _measured(case, launches, metrics, nodeid)
        if fresh := self._more(result, metrics):
            launches = [*launches, *self._draw(drawn, fresh, "confirm")]
            result = _measured(case, launches, metrics, nodeid)
        return result, None

    def _draw(self, drawn: Drawn, count: int, phase: str) -> list[Launch]:
        began = time.perf_counter()
        launches = drawn.launches(count, phase)
        self.drawing += time.perf_counter() - began
        return launches


def judge(folder: Path, samples: int) -> dict[str, Any]:
    """Judge a drawn result of every case, write all reports, and say what it took: seconds and bytes."""
    settings = Settings(
        root=folder,
        baselines=folder / "baselines",
        reports=folder / "reports",
        cache=folder / ".harness",
        plan=Plan(),
        command="pytest suites/",
    )
    cases = cases_of(folder)
    began, cpu_began = time.perf_counter(), time.process_time()
    measurers: list[DrawnMeasurer] = []

    def measuring(more: More) -> DrawnMeasurer:
        measurers.append(DrawnMeasurer(more, samples))
        return measurers[0]

    session = Session(settings, [cpu], len(cases), {"many": ()}, lambda _: None, measuring=measuring)
    session.missing({"suites"}, {("many", case.id) for case in cases})
    (measurer,) = measurers
    for case in cases:
        address = Address(str(folder), FILE, "test_many", case.id)
        session.measure(case, address, "many", f"{FILE}::test_many[{case.id}]")
    judged = time.perf_counter() - began - measurer.drawing
    judged_cpu = time.process_time() - cpu_began - measurer.drawing
    began, cpu_began = time.perf_counter(), time.process_time()
    run, _ = session.finish(complete=True)
    reported, reported_cpu = time.perf_counter() - began, time.process_time() - cpu_began
    return {
        "cases": len(cases),
        "judge_seconds": round(judged, 2),
        "judge_cpu_seconds": round(judged_cpu, 2),
        "report_seconds": round(reported, 2),
        "report_cpu_seconds": round(reported_cpu, 2),
        "drawing_seconds": round(measurer.drawing, 2),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "launches": sum(len(result.launches) for result in run.results),
        "verdicts": dict(Counter(comparison.verdict.value for comparison in run.comparisons)),
        "files": {path.name: path.stat().st_size for path in session.folder.iterdir() if path.is_file()},
    }


def main(arguments: list[str]) -> int:
    """Make a project, or judge in one."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("what", choices=("make", "judge"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=10_000, help="cases of the grid (default: %(default)s)")
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help="calls kept of an arm and launch (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.what == "make":
        make(options.folder.resolve(), options.cases)
    else:
        print(json.dumps(judge(options.folder.resolve(), options.samples)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
