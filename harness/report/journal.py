"""`journal.jsonl`: what a run has found so far, one line a case, written before the next case starts.

The first line holds the run without its cases, `{"run": {}}`; each case adds `{"result": {}, "comparisons": []}`
(`result` is null for what is said of a case without one, such as a missing one, or after it); the last, once `run.json`
is written, is `{"end": {...}}`. A file without that last line is of a run that goes on, was cut short or could not be
written. Where what the first line says has changed since, another one like it stands for it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import is_
from pathlib import Path
from typing import Any, BinaryIO

from harness.codec import MAX_BYTES, decode, dumps, loads
from harness.errors import RecordError
from harness.files import sync_folder
from harness.names import JOURNAL_NAME
from harness.records import Comparison, Result, Run

__all__ = ["JOURNAL_NAME", "Journal"]

SYNC_SECONDS = 0.5
_END_BYTES = 4096
"""More than the line that ends a journal has."""
_RESULT, _COMPARISONS = b'{"result":', b',"comparisons":'


@dataclass(frozen=True)
class _Case:
    result: Result | None
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class _Written:
    """A case in the journal, and where its result and its comparisons stand: the first byte and the one behind."""

    case: _Case
    result: tuple[int, int]
    rows: tuple[int, int]


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
        self._head: Run | None = None
        self._written: list[_Written] = []

    def start(self, run: Run) -> None:
        """Make the journal, with all of `run` but its results.

        Raises `RecordError` where one is there already, and where a run can't be written at all.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.open("xb").close()
            self.amend(run)
            sync_folder(folder)
        except OSError as error:
            if isinstance(error, FileExistsError) and folder.is_dir():
                text = f"{self.path}: another run has written here; give each run a folder of its own"
                raise RecordError(text) from None
            raise RecordError(
                f"{folder}: no run can be written there: {error.strerror}; make {folder.parent} a folder that can be "
                "written, or name another with --reports"
            ) from None

    def amend(self, run: Run) -> None:
        """Say all of `run` but its results anew, where that has changed. Raises `OSError` with the journal intact."""
        head = dataclasses.replace(run, results=(), comparisons=(), complete=False)
        if head != self._head:
            self._append({"run": head})
            self._head = head

    def append(self, result: Result | None, comparisons: Iterable[Comparison]) -> None:
        """Add one finished case, or comparisons that belong to no result. Raises `OSError` with the journal intact."""
        case = _Case(result, tuple(comparisons))
        texts = [dumps(part).encode("utf-8", "backslashreplace") for part in (result, case.comparisons)]
        at = self._write(b"%b%b%b%b}\n" % (_RESULT, texts[0], _COMPARISONS, texts[1])) + len(_RESULT)
        middle = at + len(texts[0])
        # Without the brackets: the items are those of a longer list elsewhere.
        rows = (middle + len(_COMPARISONS) + 1, middle + len(_COMPARISONS) + len(texts[1]) - 1)
        self._written.append(_Written(case, (at, middle), rows))

    def end(self, *, finished: str, seconds: float, complete: bool) -> None:
        """Close the journal: the run ended by itself, and its record is written."""
        self._synced = -math.inf
        self._append({"end": _End(finished, seconds, complete)})

    def texts(self, run: Run) -> dict[str, Iterator[str]]:
        """The text of the run's results and comparisons, for `codec.pieces`.

        What stands in this journal is read from it instead of being written out once more, which is half of what a
        large run's `run.json` takes. It is known by identity: a record that was changed since is another object.
        """
        results = {id(one.case.result): one for one in self._written if one.case.result}
        rows = {id(one.case.comparisons[0]): one for one in self._written if one.case.comparisons}
        return {"results": self._results(run, results), "comparisons": self._comparisons(run, rows)}

    def _results(self, run: Run, written: Mapping[int, _Written]) -> Iterator[str]:
        with self.path.open("rb") as stream:
            for result in run.results:
                one = written.get(id(result))
                yield _part(stream, *one.result) if one else dumps(result)

    def _comparisons(self, run: Run, written: Mapping[int, _Written]) -> Iterator[str]:
        every, at = run.comparisons, 0
        with self.path.open("rb") as stream:
            while at < len(every):
                one = written.get(id(every[at]))
                rows = every[at : at + len(one.case.comparisons)] if one else ()
                if one and len(rows) == len(one.case.comparisons) and all(map(is_, rows, one.case.comparisons)):
                    yield _part(stream, *one.rows)
                    at += len(rows)
                else:
                    yield dumps(every[at])
                    at += 1

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
        run = _head(_entry(lines[0], f"{path}:1", {"run"}), f"{path}:1")
        results: list[Result] = []
        comparisons: list[Comparison] = []
        for number, line in enumerate(lines[1:], start=2):
            where = f"{path}:{number}"
            data = _entry(line, where, {"result", "comparisons"}, {"run"}, {"end"})
            if "run" in data:
                run = _head(data, where)
                continue
            if "end" in data:
                if number != len(lines):
                    raise RecordError(f"{where}: the run ends here, and more follows")
                run = _ended(run, data, where)
                break
            case: _Case = decode(_Case, data, where)
            results += [case.result] if case.result else []
            comparisons += case.comparisons
        return dataclasses.replace(run, results=tuple(results), comparisons=tuple(comparisons))

    @classmethod
    def outline(cls, folder: Path) -> Run | None:
        """The run of a journal that was ended, without its cases: its first line and its last alone are read.

        None where these don't tell: there is no journal, or no end, or it is damaged.
        """
        path = folder / JOURNAL_NAME
        try:
            with path.open("rb") as stream:
                first = stream.readline(MAX_BYTES)
                stream.seek(max(stream.tell(), path.stat().st_size - _END_BYTES))
                last = stream.read().splitlines()[-1]
            run = _head(_entry(first.decode("utf-8"), str(path), {"run"}), str(path))
            return _ended(run, _entry(last.decode("utf-8"), str(path), {"end"}), str(path))
        except (OSError, ValueError, IndexError, RecordError):
            return None

    @classmethod
    def began(cls, folder: Path) -> tuple[str, str, str] | None:
        """Id, start and commit of a journal's run, as its first line says, which is looked at no further: of thousands
        of runs that takes a fraction of what `outline` does. None where it does not tell.
        """
        try:
            with (folder / JOURNAL_NAME).open("rb") as stream:
                run = json.loads(stream.readline(MAX_BYTES))["run"]
            return str(run["id"]), str(run["started"]), str(run["environment"]["commit"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def _append(self, value: Any) -> None:
        self._write(f"{dumps(value)}\n".encode("utf-8", "backslashreplace"))

    def _write(self, data: bytes) -> int:
        """Add a line, and give the offset of its first byte."""
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
            except BaseException:
                # An interrupt as well: half a line would make the next one unreadable too.
                os.ftruncate(descriptor, length)
                raise
        finally:
            os.close(descriptor)
        return length


def _head(data: Mapping[str, Any], where: str) -> Run:
    run: Run = decode(Run, data["run"], f"{where}.run")
    return run


def _ended(run: Run, data: Mapping[str, Any], where: str) -> Run:
    end: _End = decode(_End, data["end"], f"{where}.end")
    return dataclasses.replace(run, **{f.name: getattr(end, f.name) for f in dataclasses.fields(end)})


def _part(stream: BinaryIO, start: int, end: int) -> str:
    stream.seek(start)
    return stream.read(end - start).decode("utf-8")


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
