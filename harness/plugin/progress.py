"""What a terminal shows while a run goes on, and at its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.records import Outcome, Run, Verdict
from harness.report.github import annotation_lines, prefix_of
from harness.report.overview import CaseView
from harness.report.record import RUN_NAME
from harness.report.terminal import case_line, closing_lines, live_line, painted
from harness.report.text import shorten
from harness.settings import Decision
from harness.units import duration

if TYPE_CHECKING:
    from harness.session import Session

__all__ = ["Progress", "unwritable", "writing"]

ROOM = 30
"""Columns that must be left behind a test's name, if what is being done is to be shown there."""


class Progress:
    """One line a case with its verdict and the time left; on a terminal also what is being done right now."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._cases: set[str] = set()
        self._expected = 0
        self._done = 0
        self._counted: set[tuple[str, str]] = set()
        self._measured = 0
        self._taken = 0
        self._worked = False
        self._ahead = 0
        self._spent = 0.0
        self._began = time.monotonic()
        self._case = ""
        self._decision: Decision | None = None
        self._tally: Counter[str] = Counter()
        self._live: str | None = None

    def expect(self, nodeids: set[str]) -> None:
        """Which test items are cases."""
        self._cases = nodeids
        self._expected = len(nodeids)
        self._began = time.monotonic()

    def drop(self, nodeid: str) -> None:
        """One of them is not run after all."""
        self._cases.discard(nodeid)
        self._expected = len(self._cases)

    def start(self, case_id: str) -> None:
        """A case begins."""
        self._case = case_id
        self._worked = False
        self._began = time.monotonic()

    def stage(self, stage: str) -> None:
        """Show what is being done, on a terminal, in place."""
        self._worked = True
        reporter = self._reporter()
        if reporter is None or not reporter.isatty or reporter.verbosity < 0:
            return
        with self._uncaptured():  # also for the width: what captures has none
            number = f"[{self._done + 1}/{self._expected}]"
            case = number if reporter.verbosity else f"{number} {self._case}"
            self._show(reporter, lambda width: live_line(case, stage, self._left(), self._tally, width))

    def ahead(self, ready: int, wanted: int) -> None:
        """Artefacts are made before the first case: show how many are ready."""
        self._ahead = wanted
        reporter = self._reporter()
        if reporter is not None and reporter.isatty and reporter.verbosity >= 0:
            text = f"[{ready}/{wanted}] artefacts are ready"
            with self._uncaptured():
                self._show(reporter, lambda width: shorten(text, max(width - 1, 0)))

    def ahead_done(self) -> None:
        """Say what that took, where anything was made."""
        if self._ahead:
            self.note(f"{self._ahead} artefacts were made ready in {duration(time.monotonic() - self._began)}")

    def note(self, text: str) -> None:
        """A line that is not about one case."""
        reporter = self._reporter()
        if text and reporter is not None and reporter.verbosity >= 0:
            with self._uncaptured():
                self._wipe(reporter)
                reporter.ensure_newline()
                reporter.write_line(text)

    def done(self, decision: Decision) -> None:
        """A case was measured and judged."""
        self._done += 1
        self._counted.add(_key(decision))
        if decision.result.outcome is not Outcome.UNAVAILABLE:
            if self._worked:
                self._measured += 1
                self._spent += time.monotonic() - self._began
            else:
                self._taken += 1  # from the journal of the run that this one goes on with
        self._tally[_word(decision)] += 1
        self._decision = decision

    def again(self, decision: Decision) -> bool:
        """A decided case is asked for: its line is written once more. False where it does not count as done yet."""
        counted = _key(decision) in self._counted
        if counted:
            self._decision = decision
        return counted

    def replaced(self, decision: Decision) -> None:
        """The case that was just done is decided otherwise: its test failed for a reason of its own."""
        if self._decision is not None:
            self._tally -= Counter([_word(self._decision)])
            self._tally[_word(decision)] += 1
            self._decision = decision

    def status(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """Our line instead of pytest's dot, for the report that carries a case's verdict; None for pytest's own.

        With -v it is our words behind the test's name, with -q pytest's dots. A case that can't run here has no line:
        the summary counts them, and `-rs` gives the reasons.
        """
        reporter = self._reporter()
        of_subtest = hasattr(report, "context")
        if report.nodeid not in self._cases or of_subtest or reporter is None:
            return None
        self._wipe(reporter)
        decision = self._decision
        if report.when != "setup":  # which a plugin that runs tests again tells only after the call
            self._decision = None
        if reporter.verbosity < 0 or hasattr(report, "wasxfail"):
            return None
        ours = decision is not None and report.when == "call" and not report.skipped
        if reporter.verbosity > 0:
            if not ours or decision is None:
                return None
            words = case_line(decision.result, decision.comparisons, decision.verdict, id=False)
            unsure = decision.verdict in (Verdict.INCONCLUSIVE, Verdict.INCOMPARABLE) and report.passed
            return report.outcome, "", (words, {"yellow": True}) if unsure else words
        if ours and decision is not None:
            self._write(reporter, decision)
        elif not report.skipped:
            return None
        return report.outcome, "", report.outcome.upper()

    def _write(self, reporter: Any, decision: Decision) -> None:
        position = f"[{self._done:{len(str(self._expected))}}/{self._expected}] "
        left = self._left()
        width = reporter._tw.fullwidth - len(position) if reporter.isatty else 0
        line = case_line(decision.result, decision.comparisons, decision.verdict, width=width)
        if not width or len(line) + len(left) <= width:
            line += left
        self._at_line_start(reporter)
        reporter.write(f"{position}{painted(line) if reporter._tw.hasmarkup else line}\n", flush=True)

    def _show(self, reporter: Any, text: Callable[[int], str]) -> None:
        """Put what fits into the columns that are left in place: into a line of its own, or behind a test's name."""
        width = reporter._tw.fullwidth
        before = ""
        if reporter.verbosity == 0:
            self._at_line_start(reporter)
        elif isinstance(reporter.currentfspath, str):
            # pytest has begun the line with the test's name, and will end it; this comes between.
            before = reporter.currentfspath
        if len(before) <= width - ROOM or not before:
            _put(reporter, f"\r{before + text(width - len(before)):<{width - 1}}")
            self._live = before

    def _at_line_start(self, reporter: Any) -> None:
        """Leave the line in which pytest has named the file, or written the dots of other tests."""
        if self._live is None and reporter._tw.width_of_current_line:
            reporter._tw.line()

    def _wipe(self, reporter: Any) -> None:
        """Take away what `stage` showed, and leave the cursor where pytest goes on."""
        if self._live is not None:
            _put(reporter, f"\r{' ' * (reporter._tw.fullwidth - 1)}\r{self._live}")
            self._live = None

    def summary(self, reporter: Any, run: Run, folder: Path | None, undone: str | None) -> None:
        """The table of verdicts, and where the report is."""
        # pytest's --color=yes stands above NO_COLOR, as what is said for one run does above what is said for all.
        colour = bool(reporter._tw.hasmarkup)
        reporter.section("harness")
        lines = closing_lines(run, width=reporter._tw.fullwidth, colour=colour, verbosity=reporter.verbosity)
        for line in lines:
            reporter.write_line(line)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in annotation_lines(run, prefix=prefix_of(self._config.rootpath)):
                reporter.write_line(line)
        if undone and undone not in lines[-1]:
            reporter.write_line(f"FAILED: {undone}", red=True)
        if folder is not None:
            # As a link to follow from where pytest was called, which may lie below the folder of the project.
            reporter.write_line(f"report: {_relative(folder / 'index.html', self._config.invocation_params.dir)}")

    def _left(self) -> str:
        if not self._measured or self._done >= self._expected:
            return ""
        # Of what is to come, as large a share can't run here as of what was; what was taken over tells nothing of it.
        left = (self._expected - self._done) * self._measured / max(self._done - self._taken, 1)
        return f"  ({duration(self._spent / self._measured * left)} left)"

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        """While a test runs, its output is captured, and ours would be taken for the test's."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()

    def _reporter(self) -> Any:
        return self._config.pluginmanager.get_plugin("terminalreporter")


def unwritable(session: Session, error: OSError, *, complete: bool = False) -> str:
    """What a run says that can't go on writing, or can't end. `complete` is whether its tests came to their end."""
    folder = session.folder
    # One that is recorded as finished would begin anew, and one in turns is refused.
    resumable = not (complete and (folder / RUN_NAME).is_file()) and session.settings.against is None
    return (
        f"{folder}: this run can't be written: {error.strerror or error}; make room there, or make it writable. Its "
        f"journal holds what was measured: {'go on with --resume, or ' if resumable else ''}draw it with: harness "
        f"report {folder}"
    )


@contextlib.contextmanager
def writing(session: Session) -> Iterator[None]:
    """Raise `pytest.UsageError`, which ends pytest, where the run of this session can't be written any more."""
    try:
        yield
    except OSError as error:
        raise pytest.UsageError(unwritable(session, error)) from None


def _key(decision: Decision) -> tuple[str, str]:
    return decision.result.suite, decision.result.case_id


def _word(decision: Decision) -> str:
    """What a case is counted as, here as at the end: `measured` where nothing was asked about it."""
    return CaseView(*_key(decision), decision.result, decision.comparisons).word


def _put(reporter: Any, text: str) -> None:
    """Write what will be taken away again, past pytest's account of how full the line is."""
    file = reporter._tw._file
    file.write(text)
    file.flush()


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
