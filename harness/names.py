"""Names that go into case ids, file names and `-k` expressions."""

from __future__ import annotations

import hashlib
import re

from harness.errors import SuiteError

__all__ = ["check_name", "file_name", "slug", "within"]

_ALLOWED = re.compile(r"[A-Za-z0-9_.:+-]+")


def check_name(what: str, name: str) -> str:
    """`name` itself, if it can be a part of a case id. Raises `SuiteError`."""
    if not _ALLOWED.fullmatch(name):
        raise SuiteError(f"{what} name {name!r}: use only letters, digits and the characters _ . : + -")
    return name


def slug(text: str) -> str:
    """`text` with every character that a case id can't hold replaced by `-`."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-") or "x"


def file_name(identifier: str) -> str:
    """A file name for any identifier: readable, safe on every file system, and different for different identifiers.

    The readable part alone would let `a/b` and `a-b`, or names that differ in case only, share a file; the digest
    keeps them apart, also where the readable part was cut.
    """
    digest = hashlib.sha256(identifier.encode()).hexdigest()[:8]
    return f"{slug(identifier).lower()[:100]}.{digest}"


def within(nodeid: str, folder: str) -> bool:
    """Whether a test lies in a folder; both are relative to the project, and "." is all of it."""
    file = nodeid.split("::", 1)[0]
    return folder in ("", ".", file) or file.startswith(f"{folder.rstrip('/')}/")
