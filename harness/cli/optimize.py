"""`harness optimize`: find the techniques to ship for a model, under limits, one technique at a time.

Exit codes: 0 a deployment is recommended; 1 nothing that was tried keeps every limit; 2 an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.amounts import bytes_of, seconds_of, share_of
from harness.cli.importing import import_suite
from harness.cli.options import amount
from harness.cli.output import fail, flush, say, show
from harness.cli.shipping import deliver, in_python, suite_of
from harness.codec import dumps
from harness.errors import SuiteError
from harness.files import write_atomic
from harness.grid import Grid, grids_of, own_metrics
from harness.measure.environment import check_system
from harness.metrics import Metric, resolve
from harness.optimize import Found, Goal, Limit, Search, Space, Trial
from harness.optimize.choice import last_choice
from harness.optimize.finals import not_compared, shortest
from harness.optimize.measuring import Bench
from harness.optimize.record import NAME, record_of
from harness.optimize.search import Tried
from harness.optimize.suite import Names
from harness.optimize.text import answer, round_title, trial_line
from harness.techniques.base import as_pipeline
from harness.units import duration

__all__ = ["add", "optimize"]

FOUND, NOTHING = range(2)
CHALLENGERS = 3
"""Trials that take turns with the best, at most: each comparison makes up to nineteen launches, a minute or more."""


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "optimize",
        help="find the techniques to ship for a model, under limits of accuracy, memory and time",
        description="Measure a model of a suite file as it is, then each technique of the file by itself, then "
        "combinations that extend those which gain, until nothing gains more. Exit code: 0 a deployment is "
        "recommended, 1 nothing keeps every limit, 2 an error.",
        allow_abbrev=False,
    )
    parser.add_argument("suite", metavar="FILE", help="suite file whose techniques are tried")
    parser.add_argument("--model", required=True, metavar="NAME", help="one of the file's models")
    parser.add_argument("--hardware", default="cpu", metavar="NAME", help="where (default: %(default)s)")
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument("--minimize", metavar="METRIC", help="what shall become small (default: latency.p50)")
    goal.add_argument("--maximize", metavar="METRIC", help="what shall become large, such as throughput")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-accuracy-drop", type=amount(share_of), metavar="SHARE",
        help="accuracy that may be lost against the model as it is: 0.01 or 1%% is one point",
    )  # fmt: skip
    limits.add_argument(
        "--max-memory", type=amount(bytes_of), metavar="SIZE", help="most of memory.peak, such as 200MB"
    )
    limits.add_argument("--max-size", type=amount(bytes_of), metavar="SIZE", help="most of the served model's size")
    limits.add_argument(
        "--max-latency", type=amount(seconds_of), metavar="TIME", help="most of latency.p95, such as 5ms"
    )
    parser.add_argument(
        "--technique", action="append", default=[], metavar="NAME",
        help="try only this technique of the file: the one of this id, else all of this name; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--budget", type=amount(seconds_of), default=math.inf, metavar="TIME", help="such as 30m or 1h30m"
    )
    parser.add_argument("--resume", action="store_true", help="take what the latest search has measured, and go on")
    parser.add_argument(
        "--suite-file", type=Path, metavar="FILE",
        help="write a suite whose grid is the front and the recommended pipeline",
    )  # fmt: skip
    parser.add_argument("--export", type=Path, metavar="DIR", help="copy the recommended artefact, with its manifest")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end instead of text")
    parser.add_argument(
        "--reports", type=Path, default=Path("reports/optimize"), metavar="DIR",
        help="folder for the record and the report (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=optimize, wrong=parser.error)


def optimize(arguments: argparse.Namespace) -> int:
    """Search, and say what to ship."""
    check_system()
    root = Path.cwd()
    file = _relative(arguments.suite, root)
    for path in (arguments.suite_file, arguments.export):
        if path and path.exists():
            raise SuiteError(f"{path} is there already; name another, or remove it")
    reached = sys.path[1:]  # the first is the folder that the command stands in, where pytest looks for nothing
    module, paths = import_suite(root, file)
    grids = grids_of(module)
    space = Space.of(grids, arguments.model, arguments.hardware, arguments.technique)
    if absent := space.hardware.available():
        raise SuiteError(f"{arguments.hardware}: {absent}")
    if not space.steps:
        raise SuiteError(f"{file}: no technique but the reference stands on its grids of this model and hardware")
    untried = space.untried()
    if untried and len(untried) == len(space.steps):
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in untried.items())
        raise SuiteError(f"{file}: no technique can be tried on {space.model.name}:{reasons}")
    # Metrics hold on every hardware, whichever grid of the model names them, of those that pytest collects by default.
    collected = grids_of(module, lambda _, name: name.startswith("test"))
    grids = tuple(one for one in collected if space.model in one.models) or grids
    goal = _goal(arguments, grids)
    if arguments.suite_file:
        # Written once before the search as well: what has no name must not be said after it.
        alone = (one for _, one in space.singles())
        names = Names(root, file)
        suite_of(names, space, grids, (*map(as_pipeline, space.steps), *alone, *space.own()), "")
        names.check_importable(arguments.suite_file, (*reached, *paths))
    progress = _progress(sys.stderr.isatty())
    bench = Bench(
        root=root,
        file=file,
        space=space,
        goal=goal,
        grids=grids,
        reports=arguments.reports.resolve(),
        cache=root / ".harness",
        command=shlex.join(["harness", *sys.argv[1:]]),
        progress=progress,
        paths=paths,
        resume=arguments.resume,
    )
    if not arguments.json:
        say([f"{space.model.name} on {space.hardware.name}: {goal}", f"{len(space.steps)} techniques of {file}"])
        say(f"  not tried: {name}: {reason}" for name, reason in untried.items())
        say([bench.notice] if bench.notice else [])
    listen = (lambda _, __: None) if arguments.json else _listen(goal)
    search = Search(space, goal, bench.measure, listen, time.monotonic() + arguments.budget, known=bench.known)
    try:
        return _searched(arguments, search, bench, untried)
    finally:
        # Not before: a search that goes on has used none of what it took over, and what it ships could be the oldest.
        bench.trim()


def _searched(arguments: argparse.Namespace, search: Search, bench: Bench, untried: Mapping[str, str]) -> int:
    """Search, say what came of it, and hand over what was asked for. Gives the exit code."""
    goal = search.goal
    complete = False
    try:
        found, words = _choose(search, bench)
        complete = True
    finally:
        bench.progress("")
        run = bench.finish(complete=complete)
        if not complete:
            fail("what was measured is kept; the same command with --resume goes on with it")
    if found.reference.failed:
        raise SuiteError(f"the model as it is could not be compared: {found.reference.failed}")
    if not found.complete and len(found.rounds) == 1:
        raise SuiteError("the time was over before any technique was tried; give a longer --budget")
    expression, suite, unnamed = in_python(bench, found)
    python = {"expression": expression or None, "unnamed": unnamed or None}
    record = record_of(run.id, found, goal, python=python, words=words, finals=bench.finals, untried=untried)
    write_atomic(bench.folder / NAME, f"{dumps(record, indent=1)}\n".encode("utf-8", "backslashreplace"))
    if arguments.json:
        show(dumps(record, indent=2))
    else:
        say(["", *words, *answer(found, goal, expression), *([unnamed] if unnamed else [])])
    # After the answer, which what can't be written must not take away.
    lines = deliver(arguments, bench, found, suite) if found.best.stands else []
    if not arguments.json:
        say([*lines, f"report: {bench.folder / 'index.html'}, {duration(run.seconds)}"])
    return FOUND if found.best.stands else NOTHING


def _choose(search: Search, bench: Bench) -> tuple[Found, list[str]]:
    """Search, then let those that look as good as the best take turns with it. Raises as `last_choice` does."""
    found = search.run()
    if not found.best.stands:
        return found, []
    if not bench.goal.sampled:
        tried = (one.trial for part in found.rounds for one in part)
        best, why = shortest(bench.goal, _alike(bench, found.best), found.best, tried)
        return dataclasses.replace(found, best=best), list(filter(None, [not_compared(bench.goal, best), why]))
    alike = search.alike(found.best)
    best, words = last_choice(bench, [found.best, *alike[:CHALLENGERS]])
    if left := len(alike[CHALLENGERS:]):
        words.append(f"{left} more may be as good by their intervals; at most {CHALLENGERS} take turns with the best")
    return dataclasses.replace(found, best=best), words


def _alike(bench: Bench, best: Trial) -> float:
    """By how much values of a counted goal may differ and count as alike: what the metric's gate lets pass, and no more
    than a twentieth, since the MiB that memory may differ by is several times what small models take.
    """
    measurement = best.result.measurement(bench.goal.metric)
    value = measurement.estimate.point if measurement else 0.0
    return min(bench.metrics[bench.goal.metric].limit(value), abs(value) / 20)


def _goal(arguments: argparse.Namespace, grids: tuple[Grid, ...]) -> Goal:
    metrics = resolve(own_metrics(grids))
    name = arguments.maximize or arguments.minimize or "latency.p50"
    if name not in metrics:
        raise SuiteError(f"no metric {name!r}; there is {', '.join(metrics)}")
    metric: Metric = metrics[name]
    better = "higher" if arguments.maximize else "lower" if arguments.minimize else metric.better
    if better != metric.better:
        word = "maximize" if metric.better == "higher" else "minimize"
        raise SuiteError(f"{name} is better when it is {metric.better}: write --{word} {name}")
    limits = (
        ("accuracy", arguments.max_accuracy_drop, "share"),
        ("memory.peak", arguments.max_memory, "bytes"),
        ("size", arguments.max_size, "bytes"),
        ("latency.p95", arguments.max_latency, "s"),
    )
    evaluated = metric.derive is None and name not in resolve()
    return Goal(name, metric.unit, better, tuple(Limit(*one) for one in limits if one[1] is not None), evaluated)


def _listen(goal: Goal) -> Callable[[int, Tried], None]:
    last = -1

    def told(number: int, tried: Tried) -> None:
        nonlocal last
        if number != last:
            say(["", round_title(number)])
            last = number
        say(f"  {trial_line(tried, goal)}")
        flush()

    return told


def _progress(terminal: bool) -> Callable[[str], None]:
    """Progress on one line of the terminal, nothing where there is none."""

    def told(text: str) -> None:
        if terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    return told


def _relative(file: str, root: Path) -> str:
    path = Path(file).resolve()
    if not path.is_file():
        raise SuiteError(f"{file}: there is no such suite file")
    if not path.is_relative_to(root):
        raise SuiteError(f"{file} lies outside of {root}; stand in the project's folder")
    return path.relative_to(root).as_posix()
