"""What commands print: text from files made harmless, colour and width as the terminal has them."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable

from harness.report.text import visible

__all__ = ["coloured", "discard", "fail", "flush", "print_anywhere", "say", "show", "width"]

PLAIN_WIDTH = 120
"""Columns where standard output is no terminal."""


def print_anywhere() -> None:
    """Let standard output print `?` for what its encoding lacks, such as bars, where it would fail otherwise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def say(lines: str | Iterable[str]) -> None:
    """Print lines whose names come from files."""
    for line in [lines] if isinstance(lines, str) else lines:
        show(visible(line))


def show(text: str) -> None:
    """Print text as it is. A reader that has left, `head` perhaps, ends no command: what follows is discarded."""
    try:
        print(text)
    except BrokenPipeError:
        discard()


def flush() -> None:
    """Let the reader have what was printed so far, if it is still there."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard()


def discard() -> None:
    """Let standard output go nowhere from now on, also what is still in its buffer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def fail(message: str) -> None:
    """A sentence on standard error."""
    print(f"harness: {visible(message)}", file=sys.stderr)


def coloured() -> bool:
    """Whether standard output takes colour: a terminal, and the user has not set `NO_COLOR` (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of standard output."""
    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if sys.stdout.isatty() else PLAIN_WIDTH
