"""Which architecture this machine's processor has."""

from __future__ import annotations

import platform

__all__ = ["is_x86"]


def is_x86() -> bool:
    """Whether the processor is an x86 of 64 bits: Intel's and AMD's, whatever its operating system calls it."""
    return platform.machine().lower() in ("x86_64", "amd64")
