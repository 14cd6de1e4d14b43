"""`harness bisect`: find the commit that made a case worse, each candidate measured in turns with the good one.

Exit codes: 0 the commit was found; 1 several commits are left, since those between could not be decided, or the search
ended on a branch that forked before the good commit and was not good there already, so that none is to blame; 2 the bad
commit was not shown to be worse, or an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli.collecting import Found, choose, collect
from harness.cli.commits import History, State, first_bad
from harness.cli.output import fail, say
from harness.cli.running import LOG, SUITES, add_sampling_options, measured, plan_options
from harness.records import Comparison, Run, Verdict
from harness.report.numbers import change_text
from harness.report.text import one_line, shorten
from harness.settings import Against
from harness.units import plural

__all__ = ["add", "bisect"]

FOUND, SEVERAL, NOT_WORSE = range(3)
_STATES = {Verdict.UNCHANGED: State.GOOD, Verdict.IMPROVED: State.GOOD, Verdict.REGRESSED: State.BAD}
_SHORT = 10


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "bisect",
        help="find the commit that made a case worse",
        description="Find the first commit after GOOD at which a case is worse than at GOOD. Each commit is measured "
        "in turns with GOOD, by the rules of pytest --against, in git worktrees: the working tree stays as it is. Exit "
        "code: 0 found, 1 several commits are left or none is to blame, 2 the bad commit is not worse, or an error.",
        allow_abbrev=False,
    )
    parser.add_argument("case", metavar="CASE", help="id of a case, or a glob that fits one, such as 'digits/*int8*'")
    parser.add_argument("--good", required=True, metavar="REV", help="a commit at which the case was still good")
    parser.add_argument("--bad", default="HEAD", metavar="REV", help="one at which it is worse (default: %(default)s)")
    parser.add_argument(
        "--metric", default="latency.p50", metavar="NAME", help="what became worse (default: %(default)s)"
    )
    parser.add_argument(
        "--suites", nargs="+", default=[SUITES], metavar="PATH", help=f"where the case is found (default: {SUITES})"
    )
    parser.add_argument(
        "--reports", type=Path, default=Path("reports/bisect"), metavar="DIR",
        help="folder for the reports of the measurements (default: %(default)s)",
    )  # fmt: skip
    add_sampling_options(parser)
    parser.set_defaults(run=bisect)


def bisect(arguments: argparse.Namespace) -> int:
    """Show that the bad commit is worse, then halve the commits between. Says what each of them was found to be."""
    history = History(Path())
    good, bad = history.commit(arguments.good), history.commit(arguments.bad)
    history.check(good, bad)
    case = choose(collect(arguments.suites), arguments.case)
    tolerance = Against.tolerance if arguments.tolerance is None else arguments.tolerance
    trial = _Trial(case, good, arguments.metric, tolerance, tuple(plan_options(arguments)), arguments.reports.resolve())
    say(f"{arguments.metric} of {case.case_id}: good at {_named(history, good)}")
    try:
        last = trial.of(bad)
        say(_line(history, bad, last))
        if last.state is not State.BAD:
            fail(f"{_named(history, bad)} is not shown to be worse than {good[:_SHORT]}. {last.hint}".rstrip())
            return NOT_WORSE
        return _search(history, trial, bad, last)
    except KeyboardInterrupt:
        fail("worktrees and artefacts are kept, so that the same command comes to this point more quickly")
        raise


def _search(history: History, trial: _Trial, bad: str, last: _Measured) -> int:
    every = {bad: last}

    def state_of(commit: str, steps: int) -> State:
        every[commit] = found = trial.of(commit)
        left = f"  (about {plural(steps - 1, 'step')} left)" if steps > 1 else ""
        say(_line(history, commit, found) + left)
        return found.state

    found = first_bad(history, trial.good, bad, state_of)
    say("")
    short, good = found.bad[:_SHORT], trial.good[:_SHORT]
    sure = not (found.skipped or found.forks)
    if found.forks:
        say(f"no commit is to blame: {short} lies on a branch that forked before {good} and was not good there:")
        say(f"  {_named(history, commit)}" for commit in found.forks)
        say(f"it may only lack what {good} has; give a --bad from before the branch was merged to search the rest")
    elif found.skipped:
        say("the first bad commit is one of these; the others could not be decided:")
        say(f"  {_named(history, commit)}" for commit in (found.bad, *found.skipped))
    else:
        say(f"the first bad commit is {found.bad}")
        say(f"  {history.subject(found.bad)}")
    say(f"at {short}, {trial.metric} against {good}: {every[found.bad].words}")
    say(f"to see it: {trial.command(short, f'{short}~1' if sure else good, every[found.bad].plan)}")
    return FOUND if sure else SEVERAL


@dataclass(frozen=True)
class _Measured:
    """What a commit was found to be, in words, and what else would help. `plan` is what decided it was given."""

    state: State
    words: str
    hint: str = ""
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Trial:
    """Measures the case at commits, each in turns with the good one."""

    case: Found
    good: str
    metric: str
    tolerance: float
    plan: tuple[str, ...]
    reports: Path

    def of(self, commit: str) -> _Measured:
        """What a commit is. One that can't be decided gets a second trial, with twice as many fresh launches and the
        time for them.
        """
        run = self._measure(commit, self.plan)
        found = dataclasses.replace(self._judged(run), plan=self.plan)
        if run is None or found.state is not State.SKIPPED:
            return found
        plan = (*self.plan, *_twice(run))
        return dataclasses.replace(self._judged(self._measure(commit, plan)), plan=plan)

    def command(self, commit: str, before: str, plan: Sequence[str]) -> str:
        """The command that compares a commit with the one before it, by this plan."""
        return shlex.join(["pytest", self.case.nodeid, *self._against(commit, before), *plan])

    def _against(self, commit: str, before: str) -> tuple[str, ...]:
        return Against(before, tolerance=self.tolerance, at=commit).options

    def _measure(self, commit: str, plan: Sequence[str]) -> Run | None:
        """The record of a run at a commit, None where it did not come to one."""
        return measured([self.case.nodeid, *self._against(commit, self.good), *plan], self.reports)

    def _judged(self, run: Run | None) -> _Measured:
        if run is None:
            return _Measured(State.SKIPPED, f"pytest made no run; what it said is in {self.reports / LOG}")
        rows = {row.metric: row for row in run.comparisons if row.case_id == self.case.case_id}
        row = rows.get(self.metric) or rows.get("case")
        if row is None:
            words = f"there is no {self.metric}; there is {', '.join(rows) or 'nothing'}"
            return _Measured(State.SKIPPED, words, _hint(rows, self.metric))
        return _Measured(_STATES.get(row.verdict, State.SKIPPED), _words(row), _hint(rows, self.metric))


def _twice(run: Run) -> tuple[str, ...]:
    """Options for twice as many fresh launches as a run could make, and for the time that they take by its longest one:
    in the run's own time there would be no more of them than before where they are slow.
    """
    screen, confirm = int(run.plan["screen"]), 2 * int(run.plan["confirm"])
    longest = max((launch.wall_seconds for result in run.results for launch in result.launches), default=0.0)
    budget = math.ceil(max(2 * float(run.plan["budget"]), longest * (screen + confirm)))
    return "--plan", f"confirm={confirm}", "--plan", f"budget={budget}"


def _words(row: Comparison) -> str:
    decided = row.verdict in _STATES and row.change is not None
    return change_text(row) if decided else shorten(one_line(f"{row.verdict}: {row.reason}"), 160)


def _hint(rows: dict[str, Comparison], metric: str) -> str:
    """What else became worse, for someone who asked for the wrong metric."""
    worse = [name for name, row in rows.items() if row.verdict is Verdict.REGRESSED and name != metric]
    return f"Worse is: {', '.join(worse)}; ask for it with --metric {worse[0]}" if worse else ""


def _line(history: History, commit: str, found: _Measured) -> str:
    return f"{found.state:<8} {_named(history, commit)}  {found.words}"


def _named(history: History, commit: str) -> str:
    return f"{commit[:_SHORT]} {history.subject(commit)}"
