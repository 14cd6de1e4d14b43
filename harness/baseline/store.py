"""The committed baselines: `<folder>/<suite>/<case>/portable.json` and one `times.<class>.json` a class of machine.

Reading is strict: a file is what `text.dump` wrote for the case whose folder it lies in, or an error that names it.
There is no empty default: only a case without a folder has no baseline.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.baseline.records import MACHINE, Baseline, Portable, Times, machine_class
from harness.baseline.text import dump, parse
from harness.baseline.tree import Disk, Revision, Tree
from harness.errors import BaselineError
from harness.names import PORTABLE, file_name
from harness.records import Scalar

__all__ = ["PORTABLE", "TIMES", "Store", "folder_of"]

TIMES = re.compile(rf"times\.(?P<machine>{MACHINE})\.json")
PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]*")

Record = TypeVar("Record", Portable, Times)


class Store:
    """The baselines in a folder of the working tree, or those of another commit (`at_revision`)."""

    def __init__(self, folder: Path) -> None:
        self._tree: Tree = Disk(folder)
        self._parsed: dict[str, tuple[bytes, Any]] = {}

    @classmethod
    def at_revision(cls, folder: Path, revision: str) -> Store:
        """The baselines that the commit `revision` holds in this folder, for reading only.

        Raises `BaselineError` where the revision is not known, or holds none: a typing error must not open the gate.
        """
        store = cls(folder)
        store._tree = Revision(folder, revision)
        return store

    def read(self, suite: str, case_id: str, identity: Mapping[str, Scalar]) -> Baseline:
        """What is known of a case on a machine with this identity. Raises `BaselineError` for damaged files."""
        folder = folder_of(suite, case_id)
        times, others = None, []
        known: dict[str, Times] = {}
        for machine in self._machines(folder):
            found = self._times(folder, machine)
            if found is None:
                path = f"{folder}/times.{machine}.json"
                raise BaselineError(f"{self._tree.where(path)}: went while it was read; restore it from git")
            known[machine] = found
            if machine == machine_class(identity):
                times = found
            else:
                others.append(found.identity)
        portable = self._portable(folder)
        last = max(known.values(), key=lambda one: one.accepted.when, default=None)
        home = known.get(portable.made_on, last) if portable else last
        return Baseline(portable, times, tuple(others), home.software if home else {})

    def each(self) -> Iterator[tuple[str, Portable | BaselineError]]:
        """The folder of every baseline, `suite/case` below that of all, in the order of suites and file names, and its
        portable part, or what is wrong where one is damaged.

        Where the folder of a suite, or that of all, can't be read, `*` stands for the names in it.
        """
        for folder, wrong in self._folders():
            try:
                if wrong:
                    raise wrong
                portable = self._portable(folder)
            except BaselineError as error:
                yield folder, error
            else:
                if portable:
                    yield folder, portable

    def times_of(self, machine: str) -> Iterator[Times]:
        """The times of every case on a class of machine (see `machine_class`). Raises `BaselineError`."""
        for folder, wrong in self._folders():
            if wrong:
                raise wrong
            times = self._times(folder, machine)
            if times:
                yield times

    def write(self, record: Portable | Times) -> Path:
        """Write one file, whole or not at all. Gives its path."""
        return self._tree.save(_path(record), dump(record))

    def preview(self, record: Portable | Times) -> tuple[str, str, str]:
        """What `write` would do: the file's path, the text that it has ("" where there is none), and the new one."""
        path = _path(record)
        old = self._tree.load(path) or b""
        return self._tree.where(path), old.decode("utf-8", "replace"), dump(record)

    def remove(self, suite: str, case_id: str) -> list[Path]:
        """Delete the baseline of a case. Gives the paths of the files that were deleted."""
        folder = folder_of(suite, case_id)
        names = [f"times.{machine}.json" for machine in self._machines(folder)]
        # The portable part last: a folder that is half deleted still says what it is.
        if PORTABLE in self._tree.names(folder):
            names.append(PORTABLE)
        return [self._tree.delete(f"{folder}/{name}") for name in names]

    def _folders(self) -> Iterator[tuple[str, BaselineError | None]]:
        """The folder of each case; with a `*` for the names that can't be read, and what is wrong there."""
        try:
            suites = self._tree.names("")
        except BaselineError as error:
            yield "*/*", error
            return
        for suite in suites:
            try:
                yield from ((f"{suite}/{case}", None) for case in self._tree.names(suite))
            except BaselineError as error:
                yield f"{suite}/*", error

    def _machines(self, folder: str) -> list[str]:
        found = (TIMES.fullmatch(name) for name in self._tree.names(folder))
        return [match["machine"] for match in found if match]

    def _portable(self, folder: str) -> Portable | None:
        path = f"{folder}/{PORTABLE}"
        payload = self._tree.load(path)
        if payload is None:
            if self._machines(folder):
                raise BaselineError(
                    f"{self._tree.where(path)}: is missing, and there are times; restore it from git, or delete the "
                    "folder where its case is gone"
                )
            return None
        return self._once(path, payload, lambda: self._parsed_portable(folder, path, payload))

    def _times(self, folder: str, machine: str) -> Times | None:
        path = f"{folder}/times.{machine}.json"
        payload = self._tree.load(path)
        if payload is None:
            return None
        return self._once(path, payload, lambda: self._parsed_times(folder, path, payload, machine))

    def _once(self, path: str, payload: bytes, parsed: Callable[[], Record]) -> Record:
        """A run asks for the same files again and again: what is parsed is kept while the file's bytes are the same."""
        digest = hashlib.sha256(payload).digest()
        if self._parsed.get(path, (b"",))[0] != digest:
            self._parsed[path] = (digest, parsed())
        record: Record = self._parsed[path][1]
        return record

    def _parsed_portable(self, folder: str, path: str, payload: bytes) -> Portable:
        portable: Portable = parse(Portable, payload, self._tree.where(path))
        self._check_home(portable, folder, path)
        return portable

    def _parsed_times(self, folder: str, path: str, payload: bytes, machine: str) -> Times:
        where = self._tree.where(path)
        times: Times = parse(Times, payload, where)
        self._check_home(times, folder, path)
        if machine_class(times.identity) != machine:
            raise BaselineError(f"{where}: holds the times of {machine_class(times.identity)}; restore it from git")
        lists = [values for block in times.blocks for values in (*block.values.values(), *block.relative.values())]
        if not times.blocks or not all(lists):
            raise BaselineError(f"{where}: holds an empty list of blocks or values; restore it from git")
        return times

    def _check_home(self, record: Portable | Times, folder: str, path: str) -> None:
        if folder_of(record.suite, record.case_id) != folder:
            raise BaselineError(
                f"{self._tree.where(path)}: holds the case {record.case_id} of suite {record.suite}, which belongs "
                f"into {folder_of(record.suite, record.case_id)}; restore it from git"
            )


def _path(record: Portable | Times) -> str:
    name = PORTABLE if isinstance(record, Portable) else f"times.{machine_class(record.identity)}.json"
    return f"{folder_of(record.suite, record.case_id)}/{name}"


def folder_of(suite: str, case_id: str) -> str:
    """The folder of a case's baseline, below that of all baselines."""
    return f"{suite if PLAIN.fullmatch(suite) else file_name(suite)}/{file_name(case_id)}"
