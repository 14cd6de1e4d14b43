"""`harness prune`: delete the baselines of cases that no longer exist."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from harness.baseline.store import Store, folder_of
from harness.cli.options import add_baselines_option, add_source_option, going_by
from harness.cli.output import fail, say
from harness.errors import BaselineError
from harness.records import Run, Verdict
from harness.report.record import read_run

__all__ = ["add", "prune"]

DAMAGED = 2


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "prune",
        help="delete the baselines of cases that no longer exist",
        description="List the baselines that the last whole run reported missing because their cases are gone from the "
        "suites; with --yes, delete them. A run of a part of the suites can't tell what is gone.",
        allow_abbrev=False,
    )
    parser.add_argument("--yes", action="store_true", help="delete them; without it they are only listed")
    add_source_option(parser)
    add_baselines_option(parser)
    parser.set_defaults(run=prune)


def prune(arguments: argparse.Namespace) -> int:
    """List or delete; a damaged baseline of a case that the run did not find is named. Raises `BaselineError` for a run
    that can't tell.
    """
    run = read_run(arguments.source)
    store = Store(arguments.baselines)
    gone = gone_cases(run)
    there = {folder_of(result.suite, result.case_id) for result in run.results}
    kept: set[tuple[str, str]] = set()
    damaged: list[BaselineError] = []
    for folder, found in store.each():
        if not isinstance(found, BaselineError):
            kept.add((found.suite, found.case_id))
        elif folder not in there:
            damaged.append(found)
    if not kept & gone:
        say("no baseline belongs to a case that is gone")
    elif arguments.yes:
        say(f"deleted {path}" for suite, case_id in sorted(kept & gone) for path in store.remove(suite, case_id))
    else:
        say(f"{suite}/{case_id}" for suite, case_id in sorted(kept & gone))
        say(f"these would be deleted; do it with: {shlex.join(['harness', 'prune', '--yes', *going_by(arguments)])}")
    for error in damaged:
        fail(str(error))
    return DAMAGED if damaged else 0


def gone_cases(run: Run) -> set[tuple[str, str]]:
    """The (suite, case id) pairs that a run looked for in its suites and did not find."""
    if not run.complete:
        raise BaselineError(f"run {run.id} is not complete, so it can't tell which cases are gone; run: pytest suites/")
    if run.mode not in ("compare", "strict"):
        option = "--quick" if run.mode == "quick" else f"--baseline={run.mode}"
        raise BaselineError(f"run {run.id} was made with {option}, which looks for no gone cases; run: pytest suites/")
    found = {(result.suite, result.case_id) for result in run.results}
    missing = {(one.suite, one.case_id) for one in run.comparisons if one.verdict is Verdict.MISSING}
    gone = missing - found
    if run.filtered and not gone:
        # One that found some has looked for them; of another nobody knows whether it did.
        what = "selected a part of the suites and found no case to be gone"
        raise BaselineError(
            f"run {run.id} {what}; a whole one can tell: pytest suites/, where no conftest or plugin leaves cases out"
        )
    return gone
