"""What other tools say of the same artefacts on the same machine, at the harness's sampling time a verdict.

Each compares a block of one artefact with a block of the clean one that was measured just before. pytest-benchmark is
the real plugin in processes of its own, and its verdict is its exit code. asv and pyperf judge the same calls, grouped
as these tools group them, by their own rules:

* asv 0.6.5, `asv compare`: worse where the median is more than 1.1 times as long (`--factor`) and the Mann-Whitney test
  of the samples gives p < 0.002 (`asv/commands/compare.py` `_is_result_better`, `asv/_stats.py` `is_different`). A
  sample is the mean over calls of at least 10 ms (`sample_time` of asv_runner).
* pyperf 2.10.0, `pyperf compare_to`: a two-sided Student's t test at 95 % over all values, pooled variance
  (`pyperf/_utils.py` `is_significant`), here with the 10 processes of `--fast`, each with one value discarded and three
  kept. It is called slower where the mean is larger; the tool has no limit.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu, t

from harness.errors import MeasurementError
from harness.hardware import cpu
from harness.measure.environment import PressureMeter

__all__ = ["TOLERANCES", "Block", "Heard", "PluginChain", "SamplesChain", "asv_says", "pyperf_says"]

ROOT = Path(__file__).parent.parent
LIMITS = {"pytest-benchmark mean:5%": "mean", "pytest-benchmark min:5%": "min"}
TOLERANCES = {**dict.fromkeys(LIMITS, 0.05), "asv": 0.1, "pyperf": 0.0}
"""The slow-down from which on a tool alarms, 0 where it has no limit."""
PROCESSES, VALUES = 10, 3
ASV_FACTOR, ASV_LEVEL, ASV_SAMPLE = 1.1, 0.002, 0.010
DEADLINE = 300.0
MOST_ASKED = 3.0
"""Times the wanted seconds that pytest-benchmark is asked for at most: its rounds come from one cold call."""
OWN = ("-p", "no:cacheprovider", "-p", "no:harness", "-q")


@dataclass(frozen=True)
class Heard:
    """What a tool said of a block, `regressed`, `improved` or `unchanged`, and what is behind it: of both blocks the
    seconds of sampling and in all, and the share of these in which some task waited for a processor.
    """

    tool: str
    verdict: str
    change: float
    sampling: float
    wall: float
    pressure: float


@dataclass(frozen=True)
class Block:
    """One measurement of one artefact: what the judging needs of it."""

    data: Any
    sampling: float
    wall: float
    pressure: float

    def heard(self, before: Block, tool: str, verdict: str, change: float) -> Heard:
        """What a tool said of this block, compared with the one before."""
        wall = before.wall + self.wall
        pressure = (before.wall * before.pressure + self.wall * self.pressure) / wall
        return Heard(tool, verdict, change, before.sampling + self.sampling, wall, pressure)


class PluginChain:
    """pytest-benchmark: every block is saved, and one that is not clean compared with the clean block before it."""

    tools = tuple(LIMITS)

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder / "pytest-benchmark"
        self._seconds = self._asked = seconds
        self._before: Block | None = None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        (self._folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    def add(self, artefact: Path, *, clean: bool) -> Iterator[Heard]:
        """Measure a block, and give what the tool says of it; of a clean one nothing, the next is compared with it."""
        begun, meter = time.perf_counter(), PressureMeter()
        number = len(list(self._folder.glob("**/0*_block.json")))
        before = None if clean else self._before
        compare = [f"--benchmark-compare={before.data[0]}"] if before else []
        compare += ["--benchmark-compare-fail", *(f"{field}:5%" for field in LIMITS.values())] if before else []
        command = [
            sys.executable, "-m", "pytest", *OWN, f"--rootdir={ROOT}", "-c", str(self._folder / "pytest.ini"),
            str(ROOT / "benchmarks" / "rival_case.py"), f"--benchmark-storage=file://{self._folder}",
            "--benchmark-save=block", f"--benchmark-max-time={self._asked:g}", *compare,
        ]  # fmt: skip
        variables = {"RIVAL_ARTEFACT": str(artefact)}
        code, text = _run(command, variables)
        failed = set(re.findall(r"Field '(\w+)' has failed PercentageRegressionCheck", text))
        saved = sorted(self._folder.glob("**/0*_block.json"))
        if len(saved) != number + 1 or bool(code) != bool(failed):
            raise MeasurementError(f"pytest-benchmark ended with {code} and compared nothing", log=text)
        stats = json.loads(saved[-1].read_text(encoding="utf-8"))["benchmarks"][0]["stats"]
        name = saved[-1].name.partition("_")[0]
        block = Block((name, stats), float(stats["total"]), time.perf_counter() - begun, meter.share() or 0.0)
        asked = self._asked * self._seconds / block.sampling
        self._asked = min(MOST_ASKED * self._seconds, max(self._seconds, asked))
        if clean:
            self._before = block
        if before:
            for tool, field in LIMITS.items():
                change = stats[field] / before.data[1][field] - 1
                yield block.heard(before, tool, "regressed" if field in failed else "unchanged", change)


class SamplesChain:
    """asv's and pyperf's rules on the same calls, in as many processes as `pyperf --fast` starts."""

    tools = ("asv", "pyperf")

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds
        self._before: Block | None = None

    def add(self, artefact: Path, *, clean: bool) -> Iterator[Heard]:
        """Measure a block, and give what both rules say of it; of a clean one nothing, the next is compared with it."""
        begun, meter = time.perf_counter(), PressureMeter()
        target = self._folder / "calls.npy"
        script = str(ROOT / "benchmarks" / "rival_calls.py")
        runs = []
        for _ in range(PROCESSES):
            command = [sys.executable, script, str(artefact), str(self._seconds / PROCESSES), str(target)]
            code, text = _run(command, {})
            if code:
                raise MeasurementError(f"the calls for asv and pyperf ended with {code}", log=text)
            runs.append(np.load(target) / 1e9)
        sampling = float(sum(run.sum() for run in runs))
        block = Block(runs, sampling, time.perf_counter() - begun, meter.share() or 0.0)
        if clean:
            self._before = block
        elif self._before:
            for tool, rule in (("asv", asv_says), ("pyperf", pyperf_says)):
                yield block.heard(self._before, tool, *rule(self._before.data, runs))


def asv_says(before: Sequence[Any], after: Sequence[Any]) -> tuple[str, float]:
    """asv's verdict and the change of the median, from the seconds of each process's calls."""
    one, two = (np.concatenate([_samples(run) for run in runs]) for runs in (before, after))
    change = float(np.median(two) / np.median(one))
    method = "asymptotic" if max(len(one), len(two)) > 20 else "exact"
    if math.comb(len(one) + len(two), len(one)) <= 1 / ASV_LEVEL:  # a whole number beyond all floats for long runs
        raise MeasurementError("too few samples for asv's test; give the rivals more seconds")
    different = float(mannwhitneyu(one, two, method=method).pvalue) < ASV_LEVEL
    return _word(different and change > ASV_FACTOR, different and change < 1 / ASV_FACTOR), change - 1


def pyperf_says(before: Sequence[Any], after: Sequence[Any]) -> tuple[str, float]:
    """pyperf's verdict and the change of the mean, from the seconds of each process's calls."""
    one, two = ([value for run in runs for value in _values(run)] for runs in (before, after))
    change = float(np.mean(two) / np.mean(one))
    significant = _is_significant(one, two)
    return _word(significant and change > 1, significant and change < 1), change - 1


def _samples(run: Any) -> Any:
    """Means of consecutive calls of at least `ASV_SAMPLE` seconds together; the end that fills none is dropped."""
    calls = max(1, math.ceil(ASV_SAMPLE / float(np.median(run))))
    count = len(run) // calls
    return run[: count * calls].reshape(count, calls).mean(axis=1)


def _values(run: Any) -> list[float]:
    """One value to warm up and then `VALUES` means, each over as many calls."""
    calls = max(1, len(run) // (1 + VALUES))
    return [float(run[start : start + calls].mean()) for start in range(calls, calls * (1 + VALUES), calls)]


def _is_significant(one: list[float], two: list[float]) -> bool:
    """pyperf's own function where pyperf is installed, else its formula with the quantile that its table rounds."""
    try:
        found = importlib.import_module("pyperf._utils").is_significant(one, two)[0]
    except ImportError:
        error = math.sqrt((np.var(one, ddof=1) + np.var(two, ddof=1)) / len(one))
        found = abs(np.mean(one) - np.mean(two)) / error >= t.ppf(0.975, 2 * len(one) - 2)
    return bool(found)


def _word(slower: bool, faster: bool) -> str:
    return "regressed" if slower else "improved" if faster else "unchanged"


def _run(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
    env = {**os.environ, **cpu.environment(), **variables, "PYTHONPATH": os.pathsep.join(filter(None, _paths()))}
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(
            f"no answer after {DEADLINE:g} s, so a call hangs or the machine is too busy; go on with --append"
        ) from error
    return done.returncode, done.stdout + done.stderr


def _paths() -> tuple[str, ...]:
    return str(ROOT), os.environ.get("PYTHONPATH", "")
