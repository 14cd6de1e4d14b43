"""All reports of a run, into one folder."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_atomic
from harness.records import Run
from harness.report import html, summary
from harness.report.journal import Journal
from harness.report.past import NO_PAST, Past
from harness.report.record import write_run

__all__ = ["draw", "write_reports"]


def write_reports(run: Run, folder: Path, journal: Journal | None = None) -> list[Path]:
    """Write `run.json`, `index.html` and `summary.md`, each in one step, and give their paths.

    `journal` is the one that the run was written to, where it is still at hand.
    The record comes first, so that what was measured is safe whatever happens to a drawing of it. Raises `OSError`.
    """
    return [write_run(run, folder, journal), *draw(run, folder)]


def draw(run: Run, folder: Path, past: Past = NO_PAST) -> list[Path]:
    """Write `index.html` and `summary.md`, each in one step, and give their paths. Raises `OSError`."""
    return [
        write_atomic(folder / "index.html", html.render(run, past)),
        write_atomic(folder / "summary.md", summary.render(run).encode("utf-8")),
    ]
