"""`journal.jsonl`: what a run has found so far, one line a case, safe on the disk before the next case starts.

The first line holds the run without its cases, `{"run": {}}`; each case adds `{"result": {}, "comparisons": []}`
(`result` is null for what concerns no case that ran, such as a missing one); the last is `{"end": {...}}`. A file
without that last line is a run that was cut short.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.codec import MAX_BYTES, decode, dumps, loads
from harness.errors import RecordError
from harness.records import Comparison, Result, Run
from harness.report.files import sync_folder

__all__ = ["JOURNAL_NAME", "Journal"]

JOURNAL_NAME = "journal.jsonl"
SYNC_SECONDS = 0.5


@dataclass(frozen=True)
class _Case:
    result: Result | None
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class _End:
    finished: str
    seconds: float
    complete: bool


class Journal:
    """The journal of the run whose folder this is.

    Each method hands its line to the operating system before it returns, so that a process that dies loses none, and to
    the disk unless another line was written there within the last half second: measuring a case takes longer.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_NAME
        self._synced = -math.inf

    def start(self, run: Run) -> None:
        """Make the journal, with all of `run` but its results. Raises `RecordError` where one is there already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.path.open("xb").close()
        except FileExistsError:
            raise RecordError(f"{self.path}: another run has written here; give each run a folder of its own") from None
        head = dataclasses.replace(run, results=(), comparisons=(), complete=False)
        self._append({"run": head})
        sync_folder(self.path.parent)

    def append(self, result: Result | None, comparisons: Iterable[Comparison]) -> None:
        """Add one finished case, or comparisons that belong to no result. Raises `OSError` with the journal intact."""
        self._append(_Case(result, tuple(comparisons)))

    def end(self, *, finished: str, seconds: float, complete: bool) -> None:
        """Close the journal: the run ended by itself."""
        self._synced = -math.inf
        self._append({"end": _End(finished, seconds, complete)})

    @classmethod
    def load(cls, folder: Path) -> Run:
        """The run as far as its journal goes; `complete` only if it was ended so.

        A last line without its line break was being written when the process died: it is dropped with a warning.
        Raises `RecordError` for damage anywhere else, and for a journal that has not even a head.
        """
        path = folder / JOURNAL_NAME
        lines = _lines(path)
        if not lines:
            raise RecordError(f"{path}: holds no run; it was cut off before its first line was written")
        run: Run = decode(Run, _entry(lines[0], f"{path}:1", {"run"})["run"], f"{path}:1.run")
        results: list[Result] = []
        comparisons: list[Comparison] = []
        for number, line in enumerate(lines[1:], start=2):
            where = f"{path}:{number}"
            data = _entry(line, where, {"result", "comparisons"}, {"end"})
            if "end" in data:
                if number != len(lines):
                    raise RecordError(f"{where}: the run ends here, and more follows")
                end: _End = decode(_End, data["end"], f"{where}.end")
                run = dataclasses.replace(run, **{f.name: getattr(end, f.name) for f in dataclasses.fields(end)})
                break
            case: _Case = decode(_Case, data, where)
            results += [case.result] if case.result else []
            comparisons += case.comparisons
        return dataclasses.replace(run, results=tuple(results), comparisons=tuple(comparisons))

    def _append(self, value: Any) -> None:
        data = f"{dumps(value)}\n".encode("utf-8", "backslashreplace")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            length = os.fstat(descriptor).st_size
            try:
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                if time.monotonic() - self._synced >= SYNC_SECONDS:
                    os.fsync(descriptor)
                    self._synced = time.monotonic()
            except OSError:
                # Half a line would make the next one unreadable too.
                os.ftruncate(descriptor, length)
                raise
        finally:
            os.close(descriptor)


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecordError(f"{path}: larger than {MAX_BYTES} bytes, which no journal of ours is")
        data = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: can't be read: {error}") from None
    *whole, rest = data.split(b"\n")
    if rest:
        warnings.warn(
            f"{path}: line {len(whole) + 1} was cut off while it was written, and is left out",
            RuntimeWarning,
            stacklevel=3,
        )
    try:
        return [line.decode("utf-8") for line in whole]
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not valid UTF-8: {error}") from None


def _entry(line: str, where: str, *forms: set[str]) -> dict[str, Any]:
    data = loads(line, where)
    if not isinstance(data, dict) or data.keys() not in forms:
        raise RecordError(f"{where}: no line of a journal")
    return data
