"""`harness report`: draw the reports of a run again from its record."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.cli.options import add_baselines_option
from harness.cli.output import say
from harness.files import write_atomic
from harness.history.publish import redraw
from harness.history.sources import Sources
from harness.names import JOURNAL_NAME
from harness.report.comment import render as comment
from harness.report.record import read_run, write_run

__all__ = ["add", "report"]


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "report",
        help="draw a run's reports again from its run.json",
        description="Draw index.html and the other reports of a run again, from its run.json or, where the run was cut "
        "short, from its journal. Nothing is measured and nothing is decided.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", type=Path, metavar="RUN", help="a run's folder, such as reports/latest, or its run.json"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder to write into (default: the run's own)")
    parser.add_argument(
        "--comment", type=Path, metavar="FILE",
        help="write a comment for a pull request as well; the file is left empty where there is nothing to do",
    )  # fmt: skip
    parser.add_argument(
        "--history", default="", metavar="URL",
        help="store of the earlier runs that are drawn beside those in the run's own folder of reports; off for none",
    )  # fmt: skip
    add_baselines_option(parser)
    parser.set_defaults(run=report)


def report(arguments: argparse.Namespace) -> int:
    """Write the reports, and into another folder than the run's own its record too; say which files they are."""
    source: Path = arguments.source
    run = read_run(source)
    own = source if source.is_dir() else source.parent
    folder: Path = arguments.output or own
    sources = Sources(own.resolve().parent, arguments.baselines, arguments.history)
    # A folder with a journal keeps the record that its own run wrote, or has yet to write: `--resume` goes by it.
    if folder.resolve() != own.resolve() and not (folder / JOURNAL_NAME).exists():
        say(str(write_run(run, folder)))
    say(str(path) for path in redraw(run, folder, sources))
    if arguments.comment:
        say(str(write_atomic(arguments.comment, comment(run).encode("utf-8", "backslashreplace"))))
    return 0
