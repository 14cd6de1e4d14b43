"""Which parts of a network the patterns of `keep` name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from harness.errors import SuiteError

__all__ = ["listed", "named_by"]

Part = TypeVar("Part")
SHOWN = 12
"""Names that an error lists."""


def named_by(
    patterns: Sequence[str], parts: Mapping[Part, tuple[Collection[str], str | None]], nothing: str
) -> list[Part]:
    """The parts that patterns name: by a name of theirs, a glob of one, or what kind they are.

    parts    each with its names and its kind
    nothing  what is to be said of a pattern that names none

    Raises `SuiteError` for such a pattern.
    """
    for pattern in patterns:
        if not any(_fits(pattern, *words) for words in parts.values()):
            raise SuiteError(f"keep={pattern!r} {nothing}")
    return [part for part, words in parts.items() if any(_fits(pattern, *words) for pattern in patterns)]


def listed(names: Sequence[str], more: str = "more") -> str:
    """The first of some names, and how many `more` there are."""
    beyond = len(names) - SHOWN
    return f"{', '.join(names[:SHOWN])}{f' and {beyond} {more}' if beyond > 0 else ''}"


def _fits(pattern: str, names: Collection[str], kind: str | None) -> bool:
    # A name may have brackets.
    return pattern in (*names, kind) or any(fnmatchcase(name, pattern) for name in names)
