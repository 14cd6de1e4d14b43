"""What measuring costs beside the measured: per timed call, per launch, per run, and for ten thousand cases.

    python benchmarks/overhead.py [--run reports/latest] [--cases 10000] [--json PATH] [--only calls launches run cases]

Each line has its target and whether it is met; nothing fails. The machine is taken as it is: each part says in which
share of its time some task had to wait for a CPU, and above 5 % the figures are those of a busy machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.call_costs import WORKS, call_costs  # noqa: E402 (found through the path above)
from benchmarks.launch_costs import artefact_of, launch_cost, sampling_share  # noqa: E402
from harness.errors import HarnessError, RecordError  # noqa: E402
from harness.measure.environment import PressureMeter  # noqa: E402
from harness.records import Run  # noqa: E402
from harness.report.record import read_run  # noqa: E402

MANY = ROOT / "benchmarks" / "many_cases.py"
ARMS = {"onnxruntime": 0.5, "reference": 2.0, "compiled": 2.0}
"""Techniques on the digits, and the seconds outside of sampling that a launch of theirs may take."""


@dataclass(frozen=True)
class Row:
    """One figure. `target` is the bound that it should keep, `sense` its side (`at most`, `at least`), "" for none."""

    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    target: float | None = None
    sense: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is kept; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.sense == "at most" else self.value >= self.target

    def line(self) -> str:
        """The figure as a line of the table."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3g}, {self.high:.3g}]"
        target = "" if self.target is None else f"{self.sense} {self.target:g} {self.unit}"
        met = {True: "met", False: "NOT MET", None: ""}[self.met]
        value = f"{round(self.value, 3):.3g} {self.unit}{interval}"
        text = f"{self.what:66} {value:>26}  {target:16} {met:7} {self.note}"
        return text.rstrip()


def of_calls() -> Iterator[Row]:
    """What timing a call costs above a bare loop with `perf_counter_ns`."""
    for work, call in WORKS.items():
        for name, cost in call_costs(call).items():
            bounded = {"target": 0.3, "sense": "at most"} if name == "harness" else {}
            note = f"the bare loop takes {cost.alone:.3g} µs"
            yield Row(f"{name}: {work}, cost of a call", cost.loop[0], "µs", *cost.loop[1:], note=note, **bounded)
            yield Row(f"{name}: {work}, added to its time", cost.given[0], "µs", *cost.given[1:])


def of_launches(root: Path, count: int) -> Iterator[Row]:
    """What making the artefacts took, and what launches of them cost outside of sampling."""
    for technique, target in ARMS.items():
        try:
            artefact = artefact_of(root, technique)
        except (HarnessError, LookupError) as error:
            print(f"{technique}: {error}", file=sys.stderr)
            continue
        made = "in this run" if artefact.fresh else "when the cache got it"
        note = f"techniques and packing, {made}; without the start of the child and its checks"
        yield Row(f"making the artefact of {technique}", artefact.manifest.seconds, "s", note=note)
        cost = launch_cost(artefact, count)
        note = ", ".join(f"{name} {seconds:.2f}" for name, seconds in cost.stages.items())
        what = f"launch of {technique} and the anchor, outside of sampling"
        yield Row(what, cost.outside[0], "s", *cost.outside[1:], target, "at most", f"one arm: {note} s")


def of_run(run: Run) -> Iterator[Row]:
    """The share of a run's wall time in which arms took turns."""
    try:
        found = sampling_share(run)
    except ValueError as error:
        print(error, file=sys.stderr)
        return
    left = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found.excluded.items())
    note = f"{found.sampled:.0f} of {found.counted:.0f} s; without {left}; launches took {found.launches:.0f} s"
    yield Row(f"sampling, share of run {run.id}", 100 * found.share, "%", target=50, sense="at least", note=note)


def of_cases(cases: int, samples: int) -> Iterator[Row]:
    """What it takes to collect so many cases, and to judge and report a result of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = [sys.executable, str(MANY)]
        child([*many, "make", name, "--cases", str(cases)], folder)
        collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "suites"]
        collected = child(collect, folder)
        yield Row(f"collect {cases:,} cases", collected.seconds, "s", target=8, sense="at most")
        yield Row("peak memory of it", collected.peak_bytes / 1e6, "MB", target=1000, sense="at most")
        judged = child([*many, "judge", name, "--samples", str(samples)], folder)
        said = json.loads(judged.output.splitlines()[-1])
        seconds = said["judge_seconds"] + said["report_seconds"]
        waiting = seconds - said["judge_cpu_seconds"] - said["report_cpu_seconds"]
        note = (
            f"judging {said['judge_seconds']:.1f} s, reports {said['report_seconds']:.1f} s; of it waiting for the "
            f"disk (a flush after each case) and for the CPU {waiting:.1f} s"
        )
        yield Row(f"judge and report {cases:,} cases", seconds, "s", target=15, sense="at most", note=note)
        working = seconds - waiting
        yield Row("CPU time of it", working, "s", target=15, sense="at most")
        yield Row("peak memory of it", said["peak_bytes"] / 1e6, "MB", target=1000, sense="at most")
        for file, size in sorted(said["files"].items()):
            yield Row(f"size of {file}", size / 1e6, "MB")


@dataclass(frozen=True)
class Ended:
    """A child that ended well: wall seconds, its own peak memory in bytes, and what it printed."""

    seconds: float
    peak_bytes: int
    output: str


def child(command: Sequence[str], folder: Path) -> Ended:
    """Run a command and measure it. Raises `RuntimeError` where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)  # of this child alone, where RUSAGE_CHILDREN is the largest of all
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{text[-2000:]}")
    return Ended(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), text)


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parts = ("calls", "launches", "run", "cases")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to measure (default: all)")
    parser.add_argument("--run", type=Path, default=ROOT / "reports" / "latest", help="run record of a whole suite")
    parser.add_argument("--root", type=Path, default=ROOT, help="project whose digits are launched")
    parser.add_argument("--launches", type=int, default=10, help="launches of each arm (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument(
        "--samples", type=int, default=400, help="calls kept of an arm and launch (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    measured = {
        "calls": of_calls,
        "launches": lambda: of_launches(options.root.resolve(), options.launches),
        "run": lambda: of_run(read_run(options.run)),
        "cases": lambda: of_cases(options.cases, options.samples),
    }
    for part in options.only:
        meter, found = PressureMeter(), []
        try:
            for row in measured[part]():
                print(row.line(), flush=True)
                found.append(row)
        except RecordError as error:
            print(error, file=sys.stderr)
        waited = meter.share()
        if waited is not None:
            print(f"({part}: some task waited for a CPU in {waited:.0%} of the time)", flush=True)
        rows += [{"part": part, **dataclasses.asdict(row), "met": row.met, "waited": waited} for row in found]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
