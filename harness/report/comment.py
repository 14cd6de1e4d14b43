"""A comment on a pull request: written only where somebody has something to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import pairwise

from harness.records import Comparison, Run, Verdict
from harness.report.commands import in_turns, of_revision, reproduce_command, review_command, runs_own_tests
from harness.report.overview import GATING, Overview
from harness.report.reasons import without_commands
from harness.report.summary import comparison_rows, escape
from harness.report.text import one_line
from harness.report.weight import comparisons_by_weight

__all__ = ["MARKER", "MAX_CHARACTERS", "render"]

MARKER = "<!-- harness -->"
"""The first line, by which the comment of an earlier run is found and replaced."""
MAX_CHARACTERS = 60_000
"""GitHub refuses a comment of more than 65,536."""
_DOWNLOADED = "reports/ci"
"""Where the guide to CI has the artefact of a run downloaded to: a folder that git ignores and that is no source."""
_ROWS = 20


def render(run: Run) -> str:
    """The comment as GitHub's Markdown, "" where there is nothing to do.

    There is something to do for failures (a run can fail although no case did), and in a run against committed
    baselines for what got better or is new: until it is accepted it can be lost again unnoticed. Of a run that did not
    finish nothing can be accepted. What could not be decided asks for nothing where the run is green. Every name and
    number is escaped.
    """
    seen = Overview(run)
    found, total = seen.failures, seen.headline
    better = _changes(run) if run.complete and not found and _judged_by_baselines(run) else []
    # A run is undecided only where it is green: what is open fails under strict, and a run that decided nothing failed.
    if not found and not better and total.state in ("passed", "unjudged", "undecided"):
        return ""
    mark = "❌" if total.state == "failed" else "ℹ️"
    lines = [MARKER, f"### {mark} {escape(total.sentence)}", "", escape(without_commands(total.detail)), ""]
    lines += _table(seen, found or comparisons_by_weight(better))
    lines += ["", *_commands(run, found, better)]
    text = "\n".join(lines)
    return f"{text[:MAX_CHARACTERS]}\n"


def _judged_by_baselines(run: Run) -> bool:
    return run.mode in GATING and not in_turns(run) and not of_revision(run)


def _changes(run: Run) -> list[Comparison]:
    return [one for one in run.comparisons if one.verdict in (Verdict.IMPROVED, Verdict.NEW)]


def _table(seen: Overview, found: tuple[Comparison, ...]) -> Iterator[str]:
    if found:
        yield from comparison_rows(seen, found[:_ROWS], commands=False)
    if len(found) > _ROWS:
        yield ""
        yield f"{len(found) - _ROWS} more are in the report."


def _at_base(words: list[str]) -> list[str]:
    """The words of a command, with REV for the commit that it takes turns with, whose code it would run: the record may
    name one of the fork's.
    """
    found = ["REV" if before == "--against" else word for before, word in pairwise(["", *words])]
    return ["--against=REV" if word.startswith("--against=") else word for word in found]


def _commands(run: Run, found: tuple[Comparison, ...], better: list[Comparison]) -> Iterator[str]:
    # The record may be a fork's, and who reads this gives the command on a machine of their own.
    nodes = {(one.suite, one.case_id): one.nodeid for one in run.results}
    again = [nodes[one.suite, one.case_id] for one in found if (one.suite, one.case_id) in nodes]
    node = next((one for one in again if runs_own_tests(run, one)), "")
    if node:
        words = shlex.split(reproduce_command(run, node))
        named = _at_base(words)
        base = " (REV is the base of this pull request)" if named != words else ""
        yield f"Measure the worst of it again{base}, and look at what would change in the baseline:"
        yield ""
        yield f"    {one_line(shlex.join(named))}"
        if _judged_by_baselines(run):
            yield f"    {one_line(review_command(run))}"
    elif again:
        yield "The report has the commands that measure it again."
    elif better:
        # A stranger's numbers are looked at case by case, and in no folder that their record names. Whoever reads a
        # comment has another run as their newest.
        yield (
            f"Download this run's report to `{_DOWNLOADED}` and accept what of it is right, so that it can't be lost "
            "again unnoticed (with `--baselines DIR` where yours are not in `baselines`):"
        )
        yield ""
        yield f"    harness review --from {_DOWNLOADED}"
