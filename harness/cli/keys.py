"""One key from a terminal, without waiting for the end of a line."""

from __future__ import annotations

import os
import termios
import tty
from typing import TextIO

__all__ = ["read_key"]


def read_key(terminal: TextIO) -> str:
    """The next character that is typed; Ctrl-C stays an interrupt, and "" says that there is no more input.

    Read past Python's buffer, which `input` would not look into; what was typed ahead is kept.
    """
    descriptor = terminal.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)
        return os.read(descriptor, 1).decode("latin-1")
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
