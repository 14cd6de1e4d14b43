"""`harness accept`: make what a run measured the committed baseline, with a reason."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from harness.baseline.store import Store
from harness.cli.options import add_baselines_option, add_source_option
from harness.cli.output import fail, say
from harness.errors import BaselineError
from harness.records import Outcome, Result, Run, Verdict
from harness.report.record import read_run
from harness.review import Acceptor

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
    add_source_option(parser)
    add_baselines_option(parser)
    parser.set_defaults(run=accept)


def accept(arguments: argparse.Namespace) -> int:
    """Accept the chosen cases; say what was written, what of it got worse or is gone, what was there already, and what
    was not taken or refused.
    """
    if not arguments.reason.strip():
        raise BaselineError("--reason is empty; say why these numbers are right, for whoever reads the baseline later")
    run = read_run(arguments.source)
    acceptor = Acceptor(Store(arguments.baselines), run)
    chosen = choose(run, arguments.case)
    if not chosen:
        raise BaselineError(f"run {run.id} measured no case, so there is nothing to accept")
    refused = 0
    for result in chosen:
        try:
            rows = acceptor.judged(result).comparisons
            paths = acceptor.accept(result, arguments.reason)
            left = acceptor.judged(result).comparisons
        except BaselineError as error:
            refused += 1
            fail(str(error))
        else:
            new = [row.reason for row in left if row.verdict is Verdict.NEW]
            held = [] if new else [f"{result.case_id}: the baseline holds this already"]
            say([f"wrote {path}" for path in paths] or held)
            worse = [row.reason for row in rows if paths and row.verdict is Verdict.REGRESSED]
            missed = {row.metric for row in left if row.verdict is Verdict.MISSING}
            gone = [row.metric for row in rows if row.verdict is Verdict.MISSING and row.metric not in missed]
            say(f"{result.case_id}: taken although it got worse: {reason}" for reason in worse)
            say(f"{result.case_id}: taken although it is gone, and gated no longer: {metric}" for metric in gone)
            say(f"{result.case_id}: not taken: {reason}" for reason in new)
    return REFUSED if refused else 0


def choose(run: Run, globs: Sequence[str]) -> list[Result]:
    """The results that the globs name, by case id or by suite/case id; all that were measured where there are none.
    What can't run here is chosen only by a glob that names nothing else.

    Raises `BaselineError` for a glob that names nothing: a typing error must not look like success. An id that several
    suites have raises it too: whoever copied it from one of them has not looked at the others.
    """
    chosen: dict[tuple[str, str], Result] = {}
    for glob in globs:
        found = [one for one in run.results if any(fnmatchcase(name, glob) for name in (one.case_id, _long(one)))]
        if not found:
            near = difflib.get_close_matches(glob, [one.case_id for one in run.results], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise BaselineError(f"--case {glob}: run {run.id} has no such case{hint}")
        if len(found) > 1 and not any(character in glob for character in "*?["):
            names = " or ".join(f"--case {_long(one)}" for one in found)
            raise BaselineError(
                f"--case {glob}: {len(found)} suites of run {run.id} have this case; say which: {names}"
            )
        chosen.update({(one.suite, one.case_id): one for one in _available(found) or found})
    return list(chosen.values()) if globs else _available(run.results)


def _available(results: Iterable[Result]) -> list[Result]:
    return [one for one in results if one.outcome is not Outcome.UNAVAILABLE]


def _long(result: Result) -> str:
    return f"{result.suite}/{result.case_id}"
