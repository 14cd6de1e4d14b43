"""What a terminal shows while a run goes on, and at its end."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from harness.records import Outcome, Run
from harness.report.github import annotation_lines
from harness.report.terminal import case_line, closing_lines
from harness.settings import Decision
from harness.units import duration

__all__ = ["Progress"]


class Progress:
    """One line a case with its verdict and the time left; on a terminal also what is being done right now."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._cases: set[str] = set()
        self._expected = 0
        self._done = 0
        self._measured = 0
        self._ahead = 0
        self._spent = 0.0
        self._began = time.monotonic()
        self._case = ""
        self._line = ""
        self._file: object = None

    def expect(self, nodeids: set[str]) -> None:
        """Which test items are cases."""
        self._cases = nodeids
        self._expected = len(nodeids)

    def start(self, case_id: str) -> None:
        """A case begins."""
        self._case = case_id
        self._began = time.monotonic()

    def stage(self, stage: str) -> None:
        """Show what is being done, on a terminal, in place."""
        reporter = self._reporter()
        if reporter is not None and reporter.isatty and reporter.verbosity >= 0:
            left = self._left()
            with self._uncaptured():
                reporter.rewrite(f"[{self._done + 1}/{self._expected}] {self._case}: {stage}{left}", erase=True)

    def ahead(self, ready: int, wanted: int) -> None:
        """Artefacts are made before the first case: show how many are ready."""
        self._ahead = wanted
        reporter = self._reporter()
        if reporter is not None and reporter.isatty and reporter.verbosity >= 0:
            with self._uncaptured():
                reporter.rewrite(f"[{ready}/{wanted}] artefacts are ready", erase=True)

    def ahead_done(self, seconds: float) -> None:
        """Say what that took, where anything was made."""
        if self._ahead:
            self.note(f"{self._ahead} artefacts were made ready in {duration(seconds)}")

    def note(self, text: str) -> None:
        """A line that is not about one case."""
        reporter = self._reporter()
        if text and reporter is not None:
            with self._uncaptured():
                reporter.ensure_newline()
                reporter.write_line(text)

    def done(self, decision: Decision) -> None:
        """A case was measured and judged."""
        self._done += 1
        if decision.result.outcome is not Outcome.UNAVAILABLE:
            self._measured += 1
            self._spent += time.monotonic() - self._began
        position = f"[{self._done:{len(str(self._expected))}}/{self._expected}]"
        self._line = f"{position} {case_line(decision.result, decision.comparisons, decision.verdict)}{self._left()}"

    def status(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """Our line instead of pytest's dot, for the report that carries a case's verdict; None for pytest's own.

        A case that can't run here has no line: the summary counts them, and `-rs` gives the reasons.
        """
        reporter = self._reporter()
        if report.nodeid not in self._cases or reporter is None or reporter.verbosity != 0:
            return None
        line, self._line = self._line, ""
        if report.when == "call" and line and not report.skipped:
            self._write(reporter, line, bold=report.failed)
        elif not report.skipped:
            return None
        return (report.outcome, "", report.outcome.upper()) if not hasattr(report, "wasxfail") else None

    def _write(self, reporter: Any, line: str, *, bold: bool) -> None:
        file = reporter.currentfspath
        if file != self._file:
            reporter.ensure_newline()
            self._file = file
        if reporter.isatty:
            reporter.rewrite("", erase=True)
        reporter.write(f"{line}\n", flush=True, bold=bold)
        reporter.currentfspath = file  # or pytest would name the file again for every case

    def summary(self, reporter: Any, run: Run, folder: Path | None, undone: str | None) -> None:
        """The table of verdicts, and where the report is."""
        colour = bool(reporter._tw.hasmarkup) and "NO_COLOR" not in os.environ
        reporter.section("harness")
        for line in closing_lines(run, width=reporter._tw.fullwidth, colour=colour):
            reporter.write_line(line)
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in annotation_lines(run):
                reporter.write_line(line)
        if undone:
            reporter.write_line(f"FAILED: {undone}", red=True)
        if folder is not None:
            reporter.write_line(f"report: {_relative(folder / 'index.html', self._config.rootpath)}")

    def _left(self) -> str:
        if not self._measured:
            return ""
        # Of what is to come, as large a share can't run here as of what was.
        left = (self._expected - self._done) * self._measured / max(self._done, 1)
        return f"  ({duration(self._spent / self._measured * left)} left)"

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        """While a test runs, its output is captured, and ours would be taken for the test's."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        return capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()

    def _reporter(self) -> Any:
        return self._config.pluginmanager.get_plugin("terminalreporter")


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
