"""`harness compare`: judge one run against another as a run is judged against its baselines; or one commit in turns.

`harness compare --against REV` is pytest with its options for that, and gives pytest's exit code. That of two runs:
0 nothing got worse; 1 a case regressed or is missing; 2 a run is incomplete or can't be read, a case failed
or gave no valid numbers, or nothing could be decided; 3, under `--strict`, something was left undecided. The smallest
code above 0 that applies is given, so that a regression shows even where something failed as well.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from harness.cli.judging import compare_runs
from harness.cli.output import coloured, say, show, width
from harness.cli.running import SUITES, add_sampling_options, plan_options, run_pytest
from harness.codec import dumps
from harness.records import Comparison, Outcome, Run, Verdict
from harness.report.commands import go_on_command
from harness.report.record import read_run
from harness.report.terminal import closing_lines
from harness.settings import Against

__all__ = ["add", "compare", "exit_code"]

PASS, REGRESSED, ERROR, UNDECIDED = range(4)
_WORSE = {Verdict.REGRESSED, Verdict.MISSING}
_BROKEN = {Verdict.INVALID, Verdict.ERROR}
_OPEN = {Verdict.INCONCLUSIVE, Verdict.INCOMPARABLE, Verdict.NEW}
_GOOD = {Verdict.UNCHANGED, Verdict.IMPROVED}
_TREES = {"--at": "at", "--with": "packages", "--python": "python", "-k": "expression", "--tolerance": "tolerance",
          "--plan": "plan", "--allow-unavailable": "allowed"}  # fmt: skip
"""The options that only `--against` gives a meaning to, and where they are kept."""


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "compare",
        help="judge one run against another, or measure and judge the working tree against a commit",
        usage="harness compare OLD NEW [--strict] [--json]\n"
        "       harness compare --against REV [SUITE ...] [--at REV] [--with REQUIREMENT] [--python PATH]\n"
        "                       [--tolerance SHARE] [-k EXPRESSION] [--plan NAME=VALUE] [--allow-unavailable NAME]",
        description="Judge the run NEW as if OLD were its baseline. Exit code: 0 nothing got worse, 1 a case regressed "
        "or is missing, 2 incomplete or an error, 3 something is undecided (under --strict). Or, with --against, run "
        "the suites with pytest, each case in turns with the same case at another commit; the exit code is pytest's.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "paths", nargs="*", metavar="OLD NEW | SUITE",
        help=f"two runs, each a folder or its run.json; with --against what pytest shall run (default: {SUITES})",
    )  # fmt: skip
    runs = parser.add_argument_group("two runs")
    runs.add_argument("--strict", action="store_true", help="exit with 3 where something could not be decided")
    runs.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    trees = parser.add_argument_group("two trees")
    trees.add_argument("--against", default="", metavar="REV", help="git revision to compare with; . for the same tree")
    trees.add_argument("--at", default="", metavar="REV", help="measure this commit instead of the working tree")
    trees.add_argument(
        "--with", action="append", default=[], dest="packages", metavar="REQUIREMENT",
        help="package of the other arm in another version, such as onnxruntime==1.30.0: that before an upgrade, since "
        "what is installed is judged; repeatable",
    )  # fmt: skip
    trees.add_argument("--python", default="", metavar="PATH", help="interpreter of the other arm")
    trees.add_argument("-k", default="", dest="expression", metavar="EXPRESSION", help="only the cases that match")
    trees.add_argument(
        "--allow-unavailable", action="append", default=[], dest="allowed", metavar="NAME",
        help="cases with this model, technique or id may be unavailable or gone, as pytest's option says; repeatable",
    )  # fmt: skip
    add_sampling_options(trees)
    parser.set_defaults(run=compare, wrong=parser.error)


def compare(arguments: argparse.Namespace) -> int:
    """Compare two trees with `--against`, else two runs, and give the exit code."""
    asked = [name for name, value in _TREES.items() if getattr(arguments, value) not in ("", [], None)]
    if arguments.against:
        if arguments.strict or arguments.json:
            arguments.wrong(
                "--strict and --json go with two runs; with --against, the run's report and run.json have all"
            )
        return _trees(arguments)
    if asked:
        arguments.wrong(f"{', '.join(asked)} can only be used with --against REV")
    if len(arguments.paths) != 2:
        arguments.wrong("give two runs, OLD and NEW, or --against REV to measure against another commit")
    return _runs(arguments)


def _trees(arguments: argparse.Namespace) -> int:
    """Run pytest with the options that say the same."""
    tolerance = Against.tolerance if arguments.tolerance is None else arguments.tolerance
    against = Against(arguments.against, arguments.python, tuple(arguments.packages), tolerance, arguments.at)
    chosen = ["-k", arguments.expression] if arguments.expression else []
    allowed = [word for name in arguments.allowed for word in ("--allow-unavailable", name)]
    return run_pytest([*(arguments.paths or [SUITES]), *against.options, *chosen, *plan_options(arguments), *allowed])


def _runs(arguments: argparse.Namespace) -> int:
    """Print the comparisons of two runs and give the exit code."""
    old, new = (read_run(path) for path in arguments.paths)
    comparisons = compare_runs(old, new)
    notes = list(_notes(old, new, comparisons))
    code = exit_code(comparisons, whole=not notes, strict=arguments.strict)
    if arguments.json:
        show(dumps({"old": old.id, "new": new.id, "exit": code, "notes": notes, "comparisons": comparisons}, indent=2))
        return code
    mode = "strict" if arguments.strict else "compare"
    # These say what is known of NEW beside its own baseline or another tree, and nothing of it beside OLD.
    said = ("xfailed", "pins", "same", "undone")
    state = {name: value for name, value in new.environment.state.items() if name not in said}
    environment = dataclasses.replace(new.environment, state=state)
    judged = dataclasses.replace(
        new, mode=mode, comparisons=comparisons, baselines=_origins(old), environment=environment
    )
    # These lines may hold colours, and have been made harmless already.
    for line in closing_lines(judged, width=width(), colour=coloured()):
        show(line)
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
            # What goes on is the newest run, which the old one of two hardly is.
            command = go_on_command(run) if run is new else ""
            go_on = f"go on with {command}, or " if command else ""
            yield f"The {word} run {run.id} is not complete: {go_on}measure again."
        elif run.mode == "quick":
            yield f"The {word} run {run.id} is a smoke test (--quick), whose numbers are not for judging."
    if not any(comparison.verdict in _WORSE | _BROKEN | _GOOD for comparison in comparisons):
        yield "Nothing could be decided: the runs have no case in common that both measured on the same terms."


def _origins(old: Run) -> dict[str, dict[str, str]]:
    """Where the baselines of a comparison come from, as reports show it."""
    origin = {"commit": old.environment.commit, "when": old.started, "reason": f"run {old.id}"}
    return {f"{result.suite}/{result.case_id}": origin for result in old.results if result.outcome is Outcome.COMPLETED}
