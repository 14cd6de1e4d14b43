"""One key from a terminal, without waiting for the end of a line."""

from __future__ import annotations

import os
from typing import TextIO

from harness.errors import BaselineError

__all__ = ["read_key"]


def read_key(terminal: TextIO) -> str:
    """The next character that is typed; Ctrl-C stays an interrupt, and "" says that there is no more input.

    Read past Python's buffer, which `input` would not look into; what was typed ahead is kept. Raises `BaselineError`
    where the system has no such terminals, as Windows.
    """
    try:
        import termios
        import tty
    except ImportError:
        raise BaselineError(
            "harness review asks for keys, and on this system a terminal gives none before the end of a line; use "
            "--html to review in the browser, or --list to see what is pending, and harness accept"
        ) from None
    descriptor = terminal.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)
        return os.read(descriptor, 1).decode("latin-1")
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
