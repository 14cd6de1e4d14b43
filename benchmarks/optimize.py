"""The search of `harness optimize` beside trying every combination: the answers, and the time that measuring took.

    python benchmarks/optimize.py [--suite suites/test_digits.py] [--model digits] [--technique NAME ...] [--json PATH]

Both measure with the same launches, stop a trial by the same rule, and let what looks as good as their best take turns
with it, as `harness optimize` does. Counted is what measuring took (accuracy, memory, launches, turns); making
artefacts is counted apart, since a cache keeps them. At the end both answers take turns with each other: an answer that
is not the same one is as good where it was not shown to take over one percent more time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.cli.optimize import CHALLENGERS
from harness.errors import MeasurementError
from harness.grid import grids_of, load_suite
from harness.optimize import Goal, Limit, Search, Space, Trial
from harness.optimize.choice import last_choice
from harness.optimize.finals import TIE
from harness.optimize.measuring import Bench
from harness.optimize.space import steps_of
from harness.optimize.text import trial_line
from harness.optimize.trial import alike_to, best_of, to_beat
from harness.techniques.base import Pipeline, as_pipeline, reference

ROOT = Path(__file__).parent.parent
THIRD = 1 / 3
DEFAULT = ("fp16", "onnxruntime", "pruned_weights", "pruned_channels", "pruned_n_m", "int8_static", "batched")
"""Techniques whose combinations mostly work, since what fails costs no measuring."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """How many trials, the seconds of measuring and those of making artefacts; `finals` are those of measuring in which
    the best took turns at the end.
    """

    trials: int
    measuring: float
    making: float
    finals: float


def cost_of(trials: Iterable[Trial], finals: float) -> Cost:
    """What trials took, and the turns at the end."""
    every = [trial.result.seconds for trial in trials]
    making = sum(seconds.get("prepare", 0.0) for seconds in every)
    return Cost(len(every), sum(sum(seconds.values()) for seconds in every) - making + finals, making, finals)


def bench_of(space: Space, goal: Goal, file: str, folder: Path) -> Bench:
    """A bench of its own, so that nothing is taken from the other's measurements."""
    grids = grids_of(load_suite(ROOT, file))
    return Bench(
        root=ROOT, file=file, space=space, goal=goal, grids=grids, reports=folder, cache=ROOT / ".harness",
        command="python benchmarks/optimize.py", progress=lambda _: None,
    )  # fmt: skip


def searched(bench: Bench) -> tuple[Trial, Cost]:
    """The answer of the search, and what it took."""
    search = Search(
        bench.space, bench.goal, bench.measure, lambda _, tried: print(f"  {trial_line(tried, bench.goal)}", flush=True)
    )
    found = search.run()
    best, finals = in_turns(bench, found.best, search.alike(found.best))
    return best, cost_of((one.trial for part in found.rounds for one in part), finals)


def combinations(space: Space) -> list[Pipeline]:
    """Every combination in one order each, shortest first: what a search of all has to measure."""
    found: dict[frozenset[str], Pipeline] = {}
    latest: dict[frozenset[str], Pipeline] = {}
    for pipeline in (*(one for _, one in space.singles()), *space.own()):
        latest.setdefault(steps_of(pipeline), pipeline)
    while latest:
        found |= latest
        longer: dict[frozenset[str], Pipeline] = {}
        for pipeline in latest.values():
            for step in space.steps:
                made = space.extended(pipeline, step)
                if made and steps_of(made) not in found:
                    longer.setdefault(steps_of(made), made)
        latest = longer
    return sorted(found.values(), key=lambda one: len(one.steps))


def exhausted(bench: Bench) -> tuple[Trial, Cost]:
    """The best of all combinations, and what trying them took."""
    trials = [bench.measure(as_pipeline(reference), None)]
    for pipeline in combinations(bench.space):
        trials.append(bench.measure(pipeline, to_beat(trials, len(steps_of(pipeline)))))
        print(f"  {pipeline.id}: {'; '.join(trials[-1].broken) or trials[-1].failed or 'kept'}", flush=True)
    best = best_of(trials) or trials[0]
    best, finals = in_turns(bench, best, alike_to(best, trials))
    return best, cost_of(trials, finals)


def in_turns(bench: Bench, best: Trial, alike: Sequence[Trial]) -> tuple[Trial, float]:
    """The answer after those that look as good took turns with the best, as in `harness optimize`, and the seconds."""
    if not best.stands:
        return best, 0.0
    begun = time.perf_counter()
    try:
        best, words = last_choice(bench, [best, *alike[:CHALLENGERS]])
    except MeasurementError as error:
        words = [f"the best could not be compared in turns: {error}"]
    for line in words:
        print(f"  {line}", flush=True)
    return best, time.perf_counter() - begun


def compare(file: str, model: str, techniques: list[str], loss: float) -> dict[str, Any]:
    """Do both, and say what each came to and took."""
    space = Space.of(grids_of(load_suite(ROOT, file)), model, "cpu", techniques)
    goal = Goal("latency.p50", "s", "lower", (Limit("accuracy", loss, "share"),))
    with tempfile.TemporaryDirectory() as folder:
        first = bench_of(space, goal, file, Path(folder) / "search")
        print(f"search: {len(space.steps)} techniques")
        best, search = searched(first)
        second = bench_of(space, goal, file, Path(folder) / "all")
        print(f"all {len(combinations(space))} combinations")
        best_of_all, everything = exhausted(second)
        same = best.steps == best_of_all.steps
        change = None if same else first.faster(best, best_of_all).change
    return {
        "suite": file,
        "model": model,
        "techniques": [step.id for step in space.steps],
        "goal": str(goal),
        "search": dataclasses.asdict(search) | {"answer": best.case.technique.id},
        "all": dataclasses.asdict(everything) | {"answer": best_of_all.case.technique.id},
        "share_of_measuring": search.measuring / everything.measuring,
        "same": same,
        "slower_by": None if change is None else [change.point, change.low, change.high],
        "as_good": same or (change is not None and change.low <= TIE),
        "met": search.measuring / everything.measuring <= THIRD,
    }


def main(arguments: list[str]) -> int:
    """Compare, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--suite", default="suites/test_digits.py", help="suite file (default: %(default)s)")
    parser.add_argument("--model", default="digits", help="model (default: %(default)s)")
    parser.add_argument("--technique", action="append", help=f"techniques to try (default: {', '.join(DEFAULT)})")
    parser.add_argument("--loss", type=float, default=0.01, help="accuracy that may be lost (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the row here too")
    options = parser.parse_args(arguments)
    row = compare(options.suite, options.model, options.technique or list(DEFAULT), options.loss)
    for name in ("search", "all"):
        one = row[name]
        print(
            f"{name:7} {one['trials']:4} trials  {one['measuring']:6.0f} s of measuring, "
            f"{one['finals']:.0f} of them in turns  {one['making']:6.0f} s of making  {one['answer']}"
        )
    print(f"the search took {row['share_of_measuring']:.0%} of the measuring time; at most 33 % is the aim")
    if row["slower_by"]:
        print("its answer takes {:+.2%} of the other's time [{:+.2%}, {:+.2%}], in turns".format(*row["slower_by"]))
    if options.json:
        options.json.write_text(f"{json.dumps(row, indent=1)}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
