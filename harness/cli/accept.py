"""`harness accept`: make what a run measured the committed baseline, with a reason."""

from __future__ import annotations

import argparse
import datetime
import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from harness.baseline import accept as acceptance
from harness.baseline.records import machine_class
from harness.baseline.store import Store
from harness.cli.compare import metrics_of
from harness.cli.output import fail, say
from harness.errors import BaselineError
from harness.judge import Prior, compare, fit_prior
from harness.records import Outcome, Result, Run
from harness.report.record import read_run

__all__ = ["accept", "add"]

REFUSED = 2


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "accept",
        help="make what a run measured the committed baseline",
        description="Write numbers of a run into the committed baselines, with the reason why they are right. Cases "
        "that can't be a baseline are refused and named, and the exit code is then 2; the others are written.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--case", action="append", default=[], metavar="GLOB", help="only these cases, such as 'digits/*'; repeatable"
    )
    parser.add_argument("--reason", required=True, help="why these numbers are right; kept with them")
    parser.add_argument(
        "--from", dest="source", type=Path, default=Path("reports/latest"), metavar="RUN",
        help="a run's folder or its run.json (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--baselines", type=Path, default=Path("baselines"), metavar="DIR",
        help="folder of the committed baselines (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=accept)


def accept(arguments: argparse.Namespace) -> int:
    """Accept the chosen cases, say what was written and what was refused."""
    if not arguments.reason.strip():
        raise BaselineError("--reason is empty; say why these numbers are right, for whoever reads the baseline later")
    run = read_run(arguments.source)
    store = Store(arguments.baselines)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    written: list[Path] = []
    refusals: list[str] = []
    for result in choose(run, arguments.case):
        refused = _refusal(store, run, result)
        if refused:
            refusals.append(f"{result.case_id}: {refused}")
        else:
            written += acceptance.accept(store, result, run.environment, arguments.reason, now)
    say(str(path) for path in written)
    for sentence in refusals:
        fail(f"not accepted: {sentence}")
    if not written and not refusals:
        fail(f"run {run.id} measured no case, so there is nothing to accept")
    return 0 if written and not refusals else REFUSED


def choose(run: Run, globs: Sequence[str]) -> list[Result]:
    """The results that the globs name, by case id or by suite/case id; all that were measured where there are none.

    Raises `BaselineError` for a glob that names nothing: a typing error must not look like success.
    """
    chosen: dict[tuple[str, str], Result] = {}
    for glob in globs:
        found = [one for one in run.results if any(fnmatchcase(name, glob) for name in (one.case_id, _long(one)))]
        if not found:
            near = difflib.get_close_matches(glob, [one.case_id for one in run.results], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise BaselineError(f"--case {glob}: run {run.id} has no such case{hint}")
        chosen.update({(one.suite, one.case_id): one for one in found})
    if globs:
        return list(chosen.values())
    return [one for one in run.results if one.outcome is not Outcome.UNAVAILABLE]


def _long(result: Result) -> str:
    return f"{result.suite}/{result.case_id}"


def _refusal(store: Store, run: Run, result: Result) -> str | None:
    """Why a result can't become a baseline, judged against the baselines as they are now; None where it can."""
    identity = run.environment.hardware.get(result.hardware, {})
    baseline = store.read(result.suite, result.case_id, identity)
    prior: Prior = fit_prior(store.times_of(machine_class(identity)))
    comparisons = compare(result, baseline, metrics_of(run), prior, identity)
    return acceptance.refusal(result, comparisons, baseline, run_complete=run.complete)
