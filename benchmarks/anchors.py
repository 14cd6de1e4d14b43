"""Which frozen workload takes most of the machine's drift out of which kinds of case.

    python benchmarks/anchors.py [--minutes 8] [--append] [--json benchmarks/results/anchors.json]

Each launch starts fresh processes on one core: one or two real cases, and every candidate for the anchor, all in turns,
so that the candidates are compared on the same launches. Half of the launches have a busy neighbour, on the other core
or on every core. `--append` goes on, in another hour; `--minutes 0` prints the tables of what is there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any

# The sources beside this file, and not an installed copy's: children find the workloads as benchmarks.workloads there.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.anchor_tables import DISTURBED, print_tables
from benchmarks.neighbour import neighbours
from benchmarks.workloads import WORKLOADS, make_artefact
from harness.errors import HarnessError
from harness.grid import Address, find_case
from harness.hardware.cpu import cores_allowed, cpu
from harness.measure.artefacts import ArtefactCache
from harness.measure.child import Child
from harness.measure.environment import PressureMeter, software, versions_of
from harness.measure.tree import Tree
from harness.measure.turns import FEWEST_ROUNDS, Series, paired, plan_turn, take_turns
from harness.plan import Plan
from harness.specs import spec_of
from harness.worker.anchor import ANCHOR
from harness.worker.protocol import Load, Loaded, Settle, Settled

ROOT = Path(__file__).resolve().parent.parent
CASES = {
    "digits/onnxruntime": ("suites/test_digits.py", "digits/onnxruntime/cpu"),
    "digits/reference": ("suites/test_digits.py", "digits/reference/cpu"),
    "silero/reference": ("suites/test_silero.py", "silero/reference/cpu"),
    "minilm/onnxruntime": ("suites/test_minilm.py", "minilm/onnxruntime/cpu"),
    "minilm/reference": ("suites/test_minilm.py", "minilm/reference/cpu"),
}
"""Small and large, convolutions, recurrence and attention, ONNX Runtime and torch (two references are torch's)."""

PRESENT = f"anchor{ANCHOR}"
"""The anchor that the harness uses now, with its version."""
PLAN = Plan()
PATIENCE = 10.0
"""Seconds that a loaded launch waits for a quiet moment."""
MIX = ("idle", "idle", "one", "all")
"""Loads, in a random order for each four launches."""


def measure(folders: Mapping[str, str], cases: list[str], load: str, seconds: float, logs: Path, seed: int) -> Any:
    """One launch: a row for the results."""
    tree, chance = Tree(ROOT), random.Random(seed)
    roles = [*cases, *(name for name in folders if name not in CASES)]
    chance.shuffle(roles)
    cores = cores_allowed()
    busy = {"idle": [], "one": cores[:1], "all": cores}[load]
    with contextlib.ExitStack() as stack:
        arms = {}
        for role in roles:  # one at a time: what loads beside others settles at wrong times
            child = stack.enter_context(Child(role, logs / "children.log", cpu.environment(), tree))
            child.ask(Load(folders[role], str(ROOT), spec_of(cpu)))
            tree.check(child.reply(Loaded, PLAN.deadline).harness_file)
            child.ask(Settle())
            arms[role] = Series(child, plan_turn(child.reply(Settled, PLAN.deadline).call_seconds, PLAN.turn))
        wait_for_quiet()
        stack.enter_context(neighbours(busy, seed))
        if busy:
            time.sleep(0.5)  # until it has imported numpy
        meter, when = PressureMeter(), datetime.now(UTC)
        rounds = take_turns(arms, PLAN, chance, seconds).rounds
        pressure, steal = meter.share(), meter.steal()
        for arm in arms.values():
            arm.child.stop(PLAN.deadline)
    anchors = sorted(set(arms) - set(cases))
    return {
        "when": when.isoformat(timespec="seconds"),
        "load": load,
        "pressure": pressure if pressure is None else round(pressure, 3),
        "steal": steal if steal is None else round(steal, 4),
        "rounds": rounds,
        "microseconds": {role: _digits(1e6 * _median(arms[role])) for role in sorted(arms)},
        "cpu": {case: _digits(1e6 * _processor(arms[case])) for case in cases},
        "ratios": {case: {name: _paired(arms[case], arms[name]) for name in anchors} for case in cases},
    }


def wait_for_quiet() -> None:
    """Wait until others leave the processors alone for half a second, but not for long: the row says how it was."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        meter = PressureMeter()
        time.sleep(0.5)
        if (meter.share() or 0) < DISTURBED:
            return


def _median(arm: Series) -> float:
    return statistics.median(compress(arm.turns, _kept(arm)))


def _processor(arm: Series) -> float:
    """Processor seconds of a call: the median over the turns, disturbed or not, of their means."""
    size = arm.turn.calls
    wall = [statistics.fmean(arm.times[start : start + size]) for start in range(0, len(arm.times), size)]
    return statistics.median(share * seconds for share, seconds in zip(arm.shares, wall, strict=True))


def _paired(case: Series, anchor: Series) -> float:
    """The logarithm of case / anchor, as a launch of these two gives it."""
    ratio, _ = paired(case.turns, anchor.turns, _kept(case, anchor))
    return round(math.log(ratio), 5)


def _kept(*arms: Series) -> list[bool]:
    """The rounds in which all of these had the processor as usual; every round, where hardly any is left."""
    kept = [all(turns) for turns in zip(*(arm.undisturbed() for arm in arms), strict=True)]
    return kept if kept.count(True) >= FEWEST_ROUNDS else [True] * len(kept)


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


@contextlib.contextmanager
def served() -> Iterator[tuple[dict[str, str], Path]]:
    """Folders of all arms' artefacts, prepared where they are not there, and a folder for logs."""
    tree = Tree(ROOT)
    cache = ArtefactCache(tree, ROOT / ".harness" / "artefacts", versions_of(tree), PLAN, cold=False)
    with tempfile.TemporaryDirectory() as scratch:
        logs = Path(scratch)
        folders = {PRESENT: ""}
        for name, (file, case_id) in CASES.items():
            address = Address(str(ROOT), file, "test_inference", case_id)
            folders[name] = str(cache.get(find_case(address)[0], address, logs).folder)
        for name in WORKLOADS:
            folders[name] = str(make_artefact(name, logs / name))
        yield folders, logs


def machine() -> dict[str, Any]:
    """What must be equal for rows to stand in one table. The harness itself may change: it says how, not what."""
    versions = software()
    versions.pop("inference-harness", None)
    return {"hardware": dict(cpu.describe()), "software": versions}


def commit() -> str:
    """The commit that is checked out, "" outside git."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def read(path: Path) -> dict[str, Any]:
    """The results that are there. Raises `SystemExit` for those of another machine."""
    if not path.exists():
        return {"machine": machine(), "launches": []}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    here = machine()
    differs = [key for part in here for key in here[part] if here[part][key] != found["machine"][part].get(key)]
    if differs:
        raise SystemExit(f"{path} is of another machine ({', '.join(differs)}); give another --json, or no --append")
    return found


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results, one line a launch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(json.dumps(row) for row in results["launches"])
    text = f'{{"machine": {json.dumps(results["machine"], indent=1)},\n"launches": [\n{rows}\n]}}\n'
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def plans(chance: random.Random) -> Iterator[tuple[list[str], str]]:
    """Cases and load of one launch after the other: each as often as every other."""
    cases: list[str] = []
    loads: list[str] = []
    while True:
        if not cases:
            cases = chance.sample(list(CASES), len(CASES)) + chance.sample(list(CASES), len(CASES))
        loads = loads or chance.sample(MIX, len(MIX))
        pair = [cases.pop(), cases.pop()]
        yield list(dict.fromkeys(pair)), loads.pop()


def main(arguments: list[str]) -> int:
    """Measure for some minutes, keep each launch as it is made, and print the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="how long to measure (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of turns in a launch (default: %(default)s)")
    parser.add_argument("--append", action="store_true", help="go on with the launches that are in the file")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "anchors.json")
    options = parser.parse_args(arguments)
    keep = options.append or options.minutes <= 0
    if options.json.exists() and not keep:
        raise SystemExit(f"{options.json} is there: --append goes on with it; remove it to begin anew")
    results = read(options.json)
    end = time.monotonic() + 60 * options.minutes
    if options.minutes > 0:
        part, chance = datetime.now(UTC).isoformat(timespec="minutes"), random.Random(time.time_ns())
        with served() as (folders, logs):
            for cases, load in plans(chance):
                if time.monotonic() >= end:
                    break
                row = {"part": part, "commit": commit()}
                try:
                    row |= measure(folders, cases, load, options.seconds, logs, chance.randrange(2**32))
                except HarnessError as error:
                    print(f"a launch failed: {error}", file=sys.stderr)
                    continue
                results["launches"].append(row)
                write(options.json, results)
    print_tables(results["launches"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
