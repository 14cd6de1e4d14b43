"""Reading what `python -m suites.fetch` has put on the disk. Nothing here downloads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from harness import UnavailableError
from suites.pins import Pin

__all__ = ["CURE", "LISTING", "cache_folder", "digests", "files_of", "member", "unpacked_folder"]

CURE = "run python -m suites.fetch"
LISTING = ".members"
"""File in an unpacked folder: a line that says what it was unpacked from, then `sha256  name` for each member."""


def cache_folder() -> Path:
    """The folder of downloads: the environment variable HARNESS_DATA, or `.harness/data` in the project's root."""
    named = os.environ.get("HARNESS_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[1] / ".harness" / "data"


def unpacked_folder(pin: Pin) -> Path:
    """Where the members of an archive lie once they are fetched. The folder is complete, or it is not there."""
    return cache_folder() / f"{pin.name}-{pin.version}"


def member(pin: Pin, name: str) -> Path:
    """The extracted member `name` of an archive. Raises `UnavailableError` where it has not been fetched."""
    path = unpacked_folder(pin) / name
    if not path.is_file():
        raise UnavailableError(f"{name} of {pin.requirement} is not in {cache_folder()}", CURE)
    return path


def files_of(pin: Pin) -> list[str]:
    """Names of all extracted members, sorted. Raises `UnavailableError` where the archive has not been fetched."""
    lines = member(pin, LISTING).read_text(encoding="utf-8").splitlines()[1:]
    return sorted(line.partition("  ")[2] for line in lines)


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """File name -> SHA-256 of its bytes as they are on this disk now."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
