"""What people read of a run, into one folder."""

from __future__ import annotations

from pathlib import Path

from harness.files import write_atomic
from harness.records import Run
from harness.report import html, summary
from harness.report.past import NO_PAST, Past

__all__ = ["draw"]


def draw(run: Run, folder: Path, past: Past = NO_PAST) -> list[Path]:
    """Write `index.html` and `summary.md`, each in one step, and give their paths. Raises `OSError`."""
    return [
        write_atomic(folder / "index.html", html.render(run, past)),
        write_atomic(folder / "summary.md", summary.render(run).encode("utf-8")),
    ]
