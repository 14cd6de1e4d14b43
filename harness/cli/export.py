"""`harness export`: a run in another tool's format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.cli.output import fail, say
from harness.errors import RecordError
from harness.files import write_atomic
from harness.report import pytest_benchmark
from harness.report.overview import cases
from harness.report.record import read_run

__all__ = ["FORMATS", "add", "export"]

FORMATS = ("pytest-benchmark",)
STDOUT = "-"
INCOMPLETE = 2


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "export",
        help="write a run in another tool's format",
        description="Write the times of a run as `pytest --benchmark-json` writes them, for what reads that: "
        "pytest-benchmark compare, github-action-benchmark, Bencher. Cases without times are left out and counted.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", type=Path, metavar="RUN", help="a run's folder, such as reports/latest, or its run.json"
    )
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="the format (default: %(default)s)")
    parser.add_argument(
        "--output", metavar="FILE",
        help="file to write, - for standard output (default: FORMAT.json in the run's folder)",
    )  # fmt: skip
    parser.set_defaults(run=export)


def export(arguments: argparse.Namespace) -> int:
    """Write the file and say where it is; of a run that did not finish it holds a part, and the exit code is 2.

    Raises `RecordError` for a run in which no case has times.
    """
    source: Path = arguments.source
    run = read_run(source)
    written = sum(1 for _ in pytest_benchmark.exported(run))
    if not written:
        raise RecordError(f"{source}: no case of this run has times, so there is nothing to export")
    data = pytest_benchmark.render(run)
    left = len(cases(run)) - written
    if left:
        fail(f"left out, for want of times: {left} of {len(cases(run))} cases")
    if not run.complete:
        fail("the run did not finish, so the file holds a part of the suites only")
    code = 0 if run.complete else INCOMPLETE
    if arguments.output == STDOUT:
        sys.stdout.buffer.write(data)
        return code
    folder = source if source.is_dir() else source.parent
    path = Path(arguments.output) if arguments.output else folder / f"{arguments.format}.json"
    say(str(write_atomic(path, data)))
    return code
