"""Plant slow-downs in real cases, let the harness and other tools judge them, and print who was right.

    python benchmarks/detection.py --minutes 10 [--append] [--json PATH] [--load idle|busy|both] [--only PART ...]

Slow-downs of 0, 1, 2.5, 5 and 12 % are real extra work (25 % too, in the model); see `planting`. A verdict is one run
of one case; an alarm is REGRESSED. Rows of two machines stand apart; where other tools have judged, the harness judges
beside them. The row that is furthest behind what is wanted is done next, so that a run of any length gives a balanced
table, and `--append` goes on with it. Every verdict is on the disk before the next begins: end it with Ctrl-C whenever
you like. Blocks of a baseline are made on the idle machine and lie ten minutes apart at least; verdicts against it,
under either load, need as many as a baseline keeps, eight. The first verdicts of a day wait until the planted work was
measured, which takes a few minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.detected import Kept, table
from benchmarks.detecting import PARTS, Bench, Schedule
from benchmarks.neighbour import neighbours
from benchmarks.planting import sizes_of
from harness.baseline.records import machine_class
from harness.hardware import cpu
from harness.hardware.cpu import cores_allowed
from harness.measure.environment import identity, library_versions

ROOT = Path(__file__).parent.parent
JUDGE = (
    "harness/judge",
    ":(exclude)harness/judge/words.py",
    "harness/plan.py",
    "harness/disturbance.py",
    "harness/hardware/cpu.py",
    *(f"harness/measure/{name}.py" for name in ("child", "launch", "sampling", "thinning", "turns", "values")),
    *(f"harness/worker/{name}.py" for name in ("anchor", "bootstrap", "serve", "steady")),
)
"""What samples and judges: with another of these, verdicts are another judge's. How artefacts are made, accuracy and
memory measured, and what was found put into sentences, is none of it."""
SAME = {"9e8f92b5b560": "7fe6830c27d3"}
"""A commit up to which these files changed in nothing that earlier verdicts rest on, and the judge that it is: what
processors other than x86's are called, limits of processor time that control groups set, a suite's own metrics that
can't be derived, threads that end before they are pinned, the launches of a case whose own time, two minutes, is over
(no verdict had less than it needs by then), runs of fewer launches than their baseline's blocks have (no verdict had
one), which calls are kept for pictures, what could have been found where ranks judge, what `harness calibrate` advises,
which names a metric of an evaluation may have and be judged in turns, how sentences write a change and its limit, and
that the spread of one case can be asked for by itself.
"""
NO_BLOCKS = (
    "detection: what else is wanted is against a baseline, whose blocks are not all there: they are made on the idle "
    "machine, so go on with --append and --load both"
)
STINT = 300.0
"""Seconds after which the other load is looked at: the wait for an idle machine after a busy one is long."""
COMPUTES = ("numpy", "torch", "onnxruntime")
"""What makes artefacts and computes their calls: blocks of baselines and rows are of one version of each."""
QUIET, PATIENCE = 5.0, 60.0
"""Percent of the last ten seconds in which tasks waited for a processor, and the seconds to wait for less."""


def commit_now() -> str:
    """The commit of what samples and judges."""
    return _git("log", "-1", "--format=%H", "--", *JUDGE)[:12] or "unknown"


def judge_now(*, dirty: bool) -> str:
    """The judge that verdicts are of: `commit_now`, or what that is the same as by `SAME`.

    Raises `SystemExit` where it was edited since, unless `dirty`.
    """
    edited = _git("status", "--porcelain", "--", *JUDGE)
    commit = commit_now()
    commit = SAME.get(commit, commit)
    if not edited:
        return commit
    if not dirty:
        raise SystemExit(
            f"detection: what samples and judges has changes that are in no commit:\n{edited}\n"
            "Verdicts belong to a commit: commit them first, or give --dirty for a trial."
        )
    return f"{commit}-dirty"


def machine() -> dict[str, Any]:
    """The machine and the software of a part of the run."""
    here, versions = identity(cpu), {**library_versions(), "python": platform.python_version()}
    names = ("python", *COMPUTES, "pytest-benchmark", "pyperf")
    return {
        "machine": machine_class(here),
        "cpu": here["model"],
        "family": here["family"],
        "cores": here["cores"],
        "hypervisor": here["hypervisor"],
        "kernel": platform.release(),
        "software": {name: versions[name] for name in names if name in versions},
    }


def check_software(parts: Sequence[Mapping[str, Any]], part: Mapping[str, Any], path: Path) -> None:
    """Raise `SystemExit` where this class of machine had other versions of what computes in the last of these parts."""
    before = next((one["software"] for one in reversed(parts) if one.get("machine") == part["machine"]), None)
    if before is None:
        return
    now = part["software"]
    others = [
        f"{name} {before.get(name, 'was missing')}, now {now.get(name, 'missing')}"
        for name in COMPUTES
        if before.get(name) != now.get(name)
    ]
    if others:
        raise SystemExit(
            f"detection: {path} is of other software on this class of machine ({'; '.join(others)}), whose changes "
            "would be counted as alarms: give another --json, or install what it is of"
        )


@contextlib.contextmanager
def loaded(load: str) -> Iterator[None]:
    """A competing process on each core, for as long as the block lasts, where the load is `busy`."""
    if load != "busy":
        yield
        return
    with neighbours(cores_allowed(), time.time_ns() % 2**31):
        yield


def wait_until_idle() -> None:
    """Wait, for at most a minute, until hardly any task waits for a processor."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            text = Path("/proc/pressure/cpu").read_text(encoding="ascii")
            found = re.search(r"^some avg10=([\d.]+)", text, re.MULTILINE)
            if found and float(found.group(1)) >= QUIET:
                time.sleep(1)
                continue
        return


def run(options: argparse.Namespace, kept: Kept) -> None:
    """Verdicts until the time is over or all that was wanted is there."""
    judge = judge_now(dirty=options.dirty)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    # By what it counts as nobody could tell verdicts of a commit from those of another in `SAME`.
    part = {"started": started, "judge": judge, "commit": commit_now(), "minutes": options.minutes, **machine()}
    check_software(kept.parts, part, options.json)
    kept.parts.append(part)

    def check() -> None:
        if not options.dirty and judge_now(dirty=False) != judge:
            raise SystemExit("detection: another judge was checked out meanwhile; go on with --append")

    loads = ("idle", "busy") if options.load == "both" else (options.load,)
    schedule = Schedule(kept, judge, part["machine"], loads, options.only, options.scale)
    end = time.monotonic() + 60 * options.minutes
    with Bench(kept, judge, part["machine"], options.folder, options.json, wait_until_idle, check) as bench:
        while time.monotonic() < end:
            load = schedule.load()
            if load is None:
                if schedule.lacks_blocks():
                    raise SystemExit(NO_BLOCKS)
                due = schedule.seconds_to_next_block()
                if due is None or time.monotonic() + due > end:
                    break
                bench.say(f"the next block of the baseline is due in {due:.0f} s")
                time.sleep(min(due, 60.0) + 0.1)
                continue
            if load == "busy":
                bench.calibrate()
            stint = min(end, time.monotonic() + min(STINT, 15 * options.minutes))
            with loaded(load):
                while time.monotonic() < stint and (task := schedule.next(load)):
                    if not bench.do(task, end):
                        schedule.leave(task)


def main(arguments: list[str]) -> int:
    """Measure, print the tables and write the file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to go on (default: %(default)g)")
    parser.add_argument("--json", type=Path, default=ROOT / ".harness" / "detection" / "detection.json")
    parser.add_argument("--append", action="store_true", help="go on with what the file holds")
    parser.add_argument("--load", choices=("idle", "busy", "both"), default="both")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="nothing but these")
    parser.add_argument("--scale", type=float, default=1.0, help="this many times the wanted number of verdicts")
    parser.add_argument("--dirty", action="store_true", help="judge with what is in no commit, for a trial")
    parser.add_argument("--folder", type=Path, default=ROOT / ".harness" / "detection", help="where artefacts are kept")
    options = parser.parse_args(arguments)
    if options.json.exists() and not options.append:
        parser.error(f"{options.json} exists: give --append to go on with it, or --json another file")
    try:
        kept = Kept.read(options.json) if options.append and options.json.exists() else Kept()
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ended, code = "", 0
    try:
        run(options, kept)
    except KeyboardInterrupt:
        ended, code = "interrupted", 130
    except SystemExit as error:
        ended, code = str(error), 1
    for judge, rows in kept.rows().items():
        count = sum(row["verdicts"] for row in rows)
        print(f"\njudge {judge}, {count} verdicts, with 95 % bounds (of mode baseline: of these blocks alone)")
        print(table(rows))
    for tools, rows in kept.beside().items():
        print(f"\nin the same chains: {tools}, and the harness on the same artefacts in the same minutes")
        print(table(rows))
    for kind, planted in kept.planted.items():
        for size, (least, most) in sizes_of(planted).items():
            print(f"planted as {size} % on {kind}: {least:.2f} to {most:.2f} % as measured")
    if kept.verdicts:
        print(f"\n{len(kept.verdicts)} verdicts are in {options.json}")
    if ended:
        print(ended, file=sys.stderr)
    return code


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
