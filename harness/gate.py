"""Whether a decided case makes its test red, and a run that ended its pytest; the text that says why and what helps."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from harness.amending import gone_of_commit
from harness.baseline.records import Portable
from harness.baseline.store import Store, folder_of
from harness.comparing import Comparing, WithBaselines
from harness.due import damaged_is_due, defines, is_due, python_files
from harness.errors import BaselineError
from harness.grid import Case
from harness.judge import advice, missing
from harness.judge.words import quoted
from harness.records import Comparison, Outcome, Result, Run, Verdict
from harness.report.trust import tree_note
from harness.settings import Settings
from harness.timed_test import TimedTest
from harness.units import plural

__all__ = [
    "gate",
    "going_by",
    "gone",
    "lacking",
    "left_out",
    "shared_suite",
    "undone",
    "unmeasured",
    "verdict_of",
    "without_case",
]

DECIDED = {Verdict.UNCHANGED, Verdict.IMPROVED, Verdict.REGRESSED, Verdict.MISSING, Verdict.INVALID, Verdict.ERROR}
LOG_LINES = 15


def gate(settings: Settings, result: Result, comparisons: Sequence[Comparison]) -> tuple[bool, str]:
    """Whether the case fails, and its message ("" where it does not).

    A case that broke fails in every mode; verdicts on numbers fail where the mode compares with something.
    """
    strict = settings.mode == "strict"
    if settings.gates:
        failing = [one for one in comparisons if one.verdict.fails(strict=strict)]
    else:
        failing = [one for one in comparisons if one.verdict is Verdict.ERROR]
    broken = result.outcome not in (Outcome.COMPLETED, Outcome.UNAVAILABLE)
    if not failing and not broken:
        return False, ""
    worst = max((one.verdict for one in failing), key=lambda verdict: verdict.severity, default=None)
    lines = [f"{result.case_id}: {worst or verdict_of(result.outcome)}"]
    lines += [f"  {one.reason}" for one in failing] or [f"  {result.outcome}: {result.reason}"]
    if failing:
        lines += [f"  {line}" for line in dict.fromkeys(_help(one, result.nodeid, settings) for one in failing)]
    if result.log:
        lines += ["  last output of the process:", *(f"    {line}" for line in result.log.splitlines()[-LOG_LINES:])]
    return True, "\n".join(lines)


def _help(comparison: Comparison, nodeid: str, settings: Settings) -> str:
    """The commands that help; what took turns with another tree is measured so again, and makes no baseline."""
    if settings.against is not None:
        return f"reproduce: pytest {quoted(nodeid)} {shlex.join(settings.against.told.options)}"
    baselines, reports = _baselines(settings), _reports(settings)
    revision = ["--baseline-rev", settings.revision] if settings.revision else []
    judging = [*baselines, *revision, *reports]
    if revision and not (comparison.metric == "case" and comparison.verdict is Verdict.MISSING):
        # What was committed stays as it is: accepting changes the working tree's baselines.
        return f"reproduce: pytest {quoted(nodeid)} {shlex.join(judging)}"
    return advice(comparison, nodeid, judging=judging, accepting=going_by(settings))


def gone(settings: Settings, portable: Portable) -> str:
    """What helps where the case of a baseline is gone, in lines; of one in a commit nothing can be deleted."""
    allow = f"--allow-unavailable='{portable.case_id}'"
    if settings.revision:
        return f"  if it was removed on purpose, or can't run here: {allow}"
    prune = shlex.join(["harness", "prune", *going_by(settings)])
    return f"  if it was removed on purpose: {prune}\n  if it can't run here:            {allow}"


def going_by(settings: Settings) -> list[str]:
    """The options by which commands go by the newest run, and by the baselines, of these settings; none where both lie
    where they usually do.
    """
    reports = _reports(settings)
    return [*(["--from", f"{reports[1]}/latest"] if reports else []), *_baselines(settings)]


def _baselines(settings: Settings) -> list[str]:
    return _unusual(settings, "--baselines", settings.baselines)


def _reports(settings: Settings) -> list[str]:
    return _unusual(settings, "--reports", settings.reports)


def _unusual(settings: Settings, option: str, folder: Path) -> list[str]:
    """The option that names a folder, and the folder, where it is not the usual one of the project."""
    if folder == settings.root / option.removeprefix("--"):
        return []
    return [option, str(folder.relative_to(settings.root) if folder.is_relative_to(settings.root) else folder)]


def verdict_of(outcome: Outcome) -> Verdict:
    """The verdict of a case that was not compared with anything."""
    if outcome is Outcome.COMPLETED:
        return Verdict.NEW
    if outcome is Outcome.UNAVAILABLE:
        return Verdict.SKIPPED
    return Verdict.INVALID if outcome is Outcome.INVALID else Verdict.ERROR


def lacking(name: str, absent: Mapping[str, str]) -> str:
    """What is said of hardware that was required, where it is among what is absent (with the reasons)."""
    return f"--require-hardware={name}, and it is not here: {absent[name]}"


def undone(
    settings: Settings, run: Run, unwritten: Sequence[str] = (), absent: Mapping[str, str] | None = None
) -> str | None:
    """What makes a whole run fail although no single test did; None where nothing does.

    `unwritten` are the cases whose results could not be written into the baseline, after their tests had ended.
    `absent` is the hardware that is not here, with the reasons: what was required is missed without a case on it, too.
    """
    if not run.complete:
        return None
    if absent and (required := [name for name in settings.required if name in absent]):
        return lacking(required[0], absent)
    known = run.xfailed
    measured = sum(result.outcome is Outcome.COMPLETED for result in run.results)
    # What is known to fail, alone, has done what was expected of it: nothing else was asked.
    if run.expected > len(known) and not measured:
        return "nothing was measured: every selected case was skipped or failed"
    if unwritten:
        return f"the baselines of {plural(len(unwritten), 'case')} were not written: {', '.join(unwritten[:5])}"
    # What is known to fail decides nothing for the others; where there are no others, it is all that was asked.
    asked = [one for one in run.comparisons if f"{one.suite}/{one.case_id}" not in known]
    if settings.gates and (asked or not known) and not any(one.verdict in DECIDED for one in asked):
        if settings.against:
            return f"nothing was decided: no selected case could be compared with {settings.against}"
        if settings.revision:
            return f"nothing was decided: no selected case could be compared with its baseline at {settings.revision}"
        first = shlex.join(["pytest", *(settings.selected or ["suites/"]), *_baselines(settings), "--baseline=update"])
        return (
            "nothing was decided: no selected case has a baseline that this machine can be compared with; "
            f"make one with: {first} --reason 'first baseline'"
        )
    # What no tree could differ in was not decided, however many cases are unchanged.
    if settings.mode == "strict" and run.environment.state.get("same"):
        return tree_note(run).removesuffix(".")
    return None


def left_out(result: Result, portable: Portable | None, previous: Result | None) -> Comparison:
    """What it means that a case was not measured: it is missing where it has a baseline, or the other tree has it."""
    text = f"{result.case_id}: {result.reason}"
    if portable:
        accepted = portable.accepted
        why = f"it has a baseline (accepted {accepted.when}: {accepted.reason}) and was not measured"
    elif previous is not None and previous.outcome is Outcome.COMPLETED:
        why = "it can be measured in the other tree, and not in this one"
    else:
        return Comparison(result.suite, result.case_id, "case", Verdict.SKIPPED, text)
    cure = f"if it can't run here, allow that: --allow-unavailable={quoted(result.case_id)}"
    return Comparison(result.suite, result.case_id, "case", Verdict.MISSING, f"{text}; {why}; {cure}")


def shared_suite(comparing: Comparing, root: Path, result: Result) -> str | None:
    """What is wrong where the case of a result would be held to the baseline of another file with the same suite; None
    where nothing is. Files that are never selected together would share it for ever; one that moved is gone from its
    old place, and so is a test that moved out of a file. A baseline that is damaged is told where the case is judged.
    """
    if not isinstance(comparing, WithBaselines):
        return None
    try:
        portable = comparing.baseline(result.suite, result.case_id, result.hardware).portable
    except BaselineError:
        return None
    if portable is None:
        return None
    own, other = (one.partition("::")[0] for one in (result.nodeid, portable.nodeid))
    if own == other or not (root / other).is_file() or (root / other).resolve() == (root / own).resolve():
        return None
    if not defines(root / other, portable.nodeid, star=True):
        return None
    return (
        f"{portable.case_id}: its baseline is that of {other}: {own} and {other} would both be the suite "
        f"{portable.suite!r}, and share its metrics and baselines; rename one"
    )


def without_case(
    settings: Settings, store: Store, absent: Container[str], nodeids: set[str], selected: set[tuple[str, str]]
) -> Iterator[tuple[Comparison, Portable | None]]:
    """A MISSING with the baseline of each case that no longer exists in the suites that were run whole, unless that was
    allowed; and an ERROR with None for each baseline of theirs that is damaged: nobody can tell whether its case is
    gone.

    `absent` are the names of hardware that is not here, `nodeids` the files and folders that were selected, `selected`
    the (suite, case id) pairs found in them.
    """
    files = functools.cache(lambda: python_files(settings.root))
    for folder, found in store.each():
        if isinstance(found, BaselineError):
            key = next((key for key in selected if folder_of(*key) == folder), None)
            if key or damaged_is_due(folder, settings.root, nodeids, files()):
                suite, case_id = key or folder.split("/", 1)
                yield Comparison(suite, case_id, "case", Verdict.ERROR, str(found)), None
        elif (
            (found.suite, found.case_id) not in selected
            and found.case_id.rsplit("/", 1)[-1] not in absent
            and not settings.allows(found.case_id)
            and is_due(found, settings.root, nodeids, files)
        ):
            for comparison in missing([found], selected):
                yield (gone_of_commit(comparison) if settings.revision else comparison), found


def unmeasured(case: Case | TimedTest, suite: str, nodeid: str, reason: str) -> Result:
    """The result of a case that was not measured, with its reason."""
    return Result(suite, case.id, nodeid, *case.words, Outcome.UNAVAILABLE, reason)
