"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_baselines_option", "add_source_option", "amount", "followed", "going_by"]

BASELINES = Path("baselines")


def amount(read: Callable[[str], float]) -> Callable[[str], float]:
    """An option's type that refuses an amount with the sentence of its reader, which argparse would keep to itself."""

    def told(text: str) -> float:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return told


def add_source_option(parser: argparse.ArgumentParser) -> None:
    """Add `--from`, kept as `source`: the run that a command goes by."""
    parser.add_argument(
        "--from", dest="source", type=Path, default=Path("reports/latest"), metavar="RUN",
        help="the run to go by: its folder or its run.json (default: %(default)s)",
    )  # fmt: skip


def add_baselines_option(parser: argparse.ArgumentParser) -> None:
    """Add `--baselines`: where the committed baselines lie."""
    parser.add_argument(
        "--baselines", type=Path, default=BASELINES, metavar="DIR",
        help="folder of the committed baselines (default: %(default)s)",
    )  # fmt: skip


def going_by(arguments: argparse.Namespace) -> list[str]:
    """The words that make a further command go by the same run and baselines, whatever the newest run is by then."""
    words = ["--from", str(followed(arguments.source))]
    return words if arguments.baselines == BASELINES else [*words, "--baselines", str(arguments.baselines)]


def followed(source: Path) -> Path:
    """The run that a path leads to now, whatever `latest` points to later; relative where it is below this folder."""
    run, here = source.resolve(), Path.cwd()
    return run.relative_to(here) if run.is_relative_to(here) else run
