"""Names that go into case ids, file names and `-k` expressions, and those by which what the harness wrote is known."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from harness.errors import SuiteError

__all__ = [
    "HISTORY_FILE",
    "JOURNAL_NAME",
    "PORTABLE",
    "TEST_FAILED",
    "check_name",
    "file_name",
    "is_ours",
    "ordered",
    "run_id",
    "slug",
    "suite_name",
    "timestamp",
    "within",
]

JOURNAL_NAME = "journal.jsonl"
"""The first file that is written into a run's folder."""
PORTABLE = "portable.json"
"""The first file that is written into the folder of a case's baseline."""
HISTORY_FILE = "history.db"
"""The store of one machine, in the folder of reports."""
TEST_FAILED = "the test failed: "
"""What the record says first of a case whose own test failed."""

_ALLOWED = re.compile(r"[A-Za-z0-9_.:+-]+")
# A minus is a number's sign where no word ends before it: the one in 1e-5 or in a-1 joins two words.
_WORDS = re.compile(r"(?:(?<![A-Za-z0-9_.])-(?=\.?[0-9]))?[A-Za-z0-9_.]+")
_RUN = re.compile(r"\d{4}-\d\d-\d\d_\d{6}_\d+")
_BASELINE = re.compile(r".+\.[0-9a-f]{8}")


def check_name(what: str, name: str) -> str:
    """`name` itself, if it can be a part of a case id. Raises `SuiteError`."""
    if not _ALLOWED.fullmatch(name):
        raise SuiteError(f"{what} name {name!r}: use only letters, digits and the characters _ . : + -")
    return name


def slug(text: str) -> str:
    """`text` with every character that a case id can't hold replaced by `-`. A number keeps its sign: -1 is not 1."""
    return "-".join(_WORDS.findall(text)) or "x"


def ordered(value: Any) -> Any:
    """The value with its sets, also inside of it, as tuples in an order of their own: theirs is each process's."""
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(map(ordered, value), key=str))
    if type(value) in (list, tuple):
        return tuple(map(ordered, value))
    if type(value) is dict:
        return {ordered(key): ordered(inside) for key, inside in value.items()}
    return value


def file_name(identifier: str) -> str:
    """A file name for any identifier: readable, safe on every file system, and different for different identifiers.

    The readable part alone would let `a/b` and `a-b`, or names that differ in case only, share a file; the digest
    keeps them apart, also where the readable part was cut.
    """
    digest = hashlib.sha256(identifier.encode()).hexdigest()[:8]
    return f"{slug(identifier).lower()[:100]}.{digest}"


def run_id() -> str:
    """The id of a run that starts now, which is its folder's name too: the time, and the process."""
    return f"{datetime.datetime.now():%Y-%m-%d_%H%M%S}_{os.getpid()}"


def timestamp() -> str:
    """The time now as records tell it: ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def suite_name(file: str | Path) -> str:
    """What a suite is called: its file's name without `test_` and suffix."""
    return Path(file).stem.removeprefix("test_")


def is_ours(path: Path) -> bool:
    """Whether a folder holds a run or the baseline of a case, or a file is the store of the runs beside it.

    Both the name and what lies there must fit: a suite may have data of either name.
    """
    name = path.name
    # Not the path's own method, which raises where another user's folder is closed.
    return (
        (bool(_RUN.fullmatch(name)) and os.access(path / JOURNAL_NAME, os.F_OK))
        or (bool(_BASELINE.fullmatch(name)) and os.access(path / PORTABLE, os.F_OK))
        or (name.startswith(HISTORY_FILE) and path.with_name("latest").is_symlink())
    )


def within(nodeid: str, folder: str) -> bool:
    """Whether a test lies in a folder; both are relative to the project, and "." is all of it."""
    file = nodeid.split("::", 1)[0]
    return folder in ("", ".", file) or file.startswith(f"{folder.rstrip('/')}/")
