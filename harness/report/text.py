"""Text from suites and libraries, made harmless to look at. What is special to one format is its own writer's."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["commit_name", "moment", "one_line", "shorten", "tail", "visible"]

# Control characters move cursors and end lines; the bidirectional ones and the invisible ones make a name look like
# another; lone surrogates can't be written as UTF-8 at all.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def visible(text: str) -> str:
    """`text` with every control, bidirectional and invisible character written out; line breaks and tabs are kept."""
    if text.isascii() and text.isprintable():  # nearly every text, many thousand times a page
        return text
    return _UNSEEN.sub(_written, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`text` on one line, and visible."""
    return " ".join(visible(text).split())


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters, with the middle left out: both ends of a case id tell something."""
    if len(text) <= width:
        return text
    if width < 2:
        return text[:width]
    head = width // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def tail(text: str, lines: int, characters: int = 8000) -> str:
    """The last `lines` lines, and at most `characters`, of a log; says how much stands before them."""
    every = text.rstrip().splitlines()
    kept = "\n".join(every[-lines:])[-characters:]
    dropped = len(every) - (kept.count("\n") + 1) if kept else 0
    return f"… {dropped} earlier lines are in run.json\n{kept}" if dropped > 0 else kept


def moment(text: str) -> str:
    """An ISO 8601 time as `4 May 2026, 10:08 UTC`; what is no such time stays as it is."""
    try:
        when = datetime.fromisoformat(text)
        when = when if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter of a time in year 1 or 9999 whose time in UTC is in none
        return text
    return f"{when.day} {when:%b %Y, %H:%M}{' UTC' if when.tzinfo else ''}"


def commit_name(commit: str, *, dirty: bool = False) -> str:
    """A commit as people write it, and whether the files were changed since; "" outside a repository."""
    name = commit.removesuffix("-dirty")
    short = name[:10] if re.fullmatch("[0-9a-f]{11,64}", name) else name
    return f"{short} with uncommitted changes" if short and (dirty or name != commit) else short


def _written(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
