"""`harness compare`: judge one run against another as a run is judged against its baselines.

Exit codes: 0 nothing got worse; 1 a case regressed or is missing; 2 a run is incomplete or can't be read, a case failed
or gave no valid numbers, or nothing could be decided; 3, under `--strict`, something was left undecided. The smallest
code above 0 that applies is given, so that a regression shows even where something failed as well.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.cli.judging import compare_runs
from harness.cli.output import coloured, say, width
from harness.codec import dumps
from harness.records import Comparison, Outcome, Run, Verdict
from harness.report.record import read_run
from harness.report.terminal import closing_lines

__all__ = ["add", "compare", "exit_code"]

PASS, REGRESSED, ERROR, UNDECIDED = range(4)
_WORSE = {Verdict.REGRESSED, Verdict.MISSING}
_BROKEN = {Verdict.INVALID, Verdict.ERROR}
_OPEN = {Verdict.INCONCLUSIVE, Verdict.INCOMPARABLE, Verdict.NEW}
_GOOD = {Verdict.UNCHANGED, Verdict.IMPROVED}


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "compare",
        help="judge one run against another",
        description="Judge the run NEW as if OLD were its baseline. Exit code: 0 nothing got worse, 1 a case regressed "
        "or is missing, 2 incomplete or an error, 3 something is undecided (under --strict).",
        allow_abbrev=False,
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="a run's folder or its run.json")
    parser.add_argument("new", type=Path, metavar="NEW", help="the run to judge")
    parser.add_argument("--strict", action="store_true", help="exit with 3 where something could not be decided")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.set_defaults(run=compare)


def compare(arguments: argparse.Namespace) -> int:
    """Print the comparisons and give the exit code."""
    old, new = read_run(arguments.old), read_run(arguments.new)
    comparisons = compare_runs(old, new)
    notes = list(_notes(old, new, comparisons))
    code = exit_code(comparisons, whole=not notes, strict=arguments.strict)
    if arguments.json:
        print(dumps({"old": old.id, "new": new.id, "exit": code, "notes": notes, "comparisons": comparisons}, indent=2))
        return code
    mode = "strict" if arguments.strict else "compare"
    judged = dataclasses.replace(new, mode=mode, comparisons=comparisons, baselines=_origins(old))
    # These lines may hold colours, and have been made harmless already.
    for line in closing_lines(judged, width=width(), colour=coloured()):
        print(line)
    say(notes)
    return code


def exit_code(comparisons: Iterable[Comparison], *, whole: bool, strict: bool) -> int:
    """The exit code for these comparisons; `whole` says that both runs were complete and something was decided."""
    verdicts = {comparison.verdict for comparison in comparisons}
    if verdicts & _WORSE:
        return REGRESSED
    if verdicts & _BROKEN or not whole:
        return ERROR
    return UNDECIDED if strict and verdicts & _OPEN else PASS


def _notes(old: Run, new: Run, comparisons: Iterable[Comparison]) -> Iterator[str]:
    """What keeps the answer from being a whole one, a sentence each."""
    for word, run in (("old", old), ("new", new)):
        if not run.complete:
            yield f"The {word} run {run.id} is not complete: go on with pytest suites/ --resume, or measure again."
        elif run.mode == "quick":
            yield f"The {word} run {run.id} is a smoke test (--quick), whose numbers are not for judging."
    if not any(comparison.verdict in _WORSE | _BROKEN | _GOOD for comparison in comparisons):
        yield "Nothing could be decided: the runs have no case in common that both measured on the same terms."


def _origins(old: Run) -> dict[str, dict[str, str]]:
    """Where the baselines of a comparison come from, as reports show it."""
    origin = {"commit": old.environment.commit, "when": old.started, "reason": f"run {old.id}"}
    return {f"{result.suite}/{result.case_id}": origin for result in old.results if result.outcome is Outcome.COMPLETED}
