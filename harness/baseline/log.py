"""Every version of a case's baseline, in the history of git and in the working tree."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from harness.baseline.records import Portable, Times, written
from harness.baseline.store import PORTABLE, TIMES, folder_of
from harness.baseline.text import parse
from harness.baseline.tree import Disk, contents_of, git
from harness.errors import BaselineError

__all__ = ["Versions", "versions"]

Versions = dict[tuple[str, str], list[Portable | Times]]

WRITTEN = re.compile(r":[0-7]+ 100[0-7]+ [0-9a-f]+ (?P<blob>[0-9a-f]+) [AM]\t(?P<path>.*)")
"""A line of `git log --raw` (git-diff(1), "raw output format") in which a plain file was added or modified."""


def versions(root: Path, cases: Collection[tuple[str, str]]) -> Versions:
    """By (suite, case id) every record that was the baseline, in the order in which they were written.

    Commits that are not here (a shallow clone) are not known, and outside a repository only the working tree is. What
    can't be read, such as a version of another schema, is left out: it is history, and judges nothing. So is what is
    younger than the file of the working tree: a revert took it back, or the other side of a conflict was taken.
    """
    folders = {folder_of(*case): case for case in cases}
    now = _on_disk(root, folders)
    parsed = {one: _parsed(*one) for one in dict.fromkeys([*_committed(root, folders), *now])}
    newest = {path: written(record) for path, payload in now if (record := parsed[path, payload])}
    found: Versions = {}
    for (path, _), record in parsed.items():
        if record and written(record) <= newest.get(path, written(record)):
            found.setdefault(folders[path.rpartition("/")[0]], []).append(record)
    for records in found.values():
        records.sort(key=written)
    return found


def _parsed(path: str, payload: bytes) -> Portable | Times | None:
    try:
        return parse(Portable, payload, path) if path.endswith(f"/{PORTABLE}") else parse(Times, payload, path)
    except BaselineError:
        return None


def _committed(root: Path, folders: Collection[str]) -> list[tuple[str, bytes]]:
    """The files of these folders below `root` with the contents that commits gave them and none took back; none without
    git.
    """
    log = ("log", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", ".")
    try:
        prefix = git(root, "rev-parse", "--show-prefix").decode("utf-8", "surrogateescape").rstrip("\n")
        lines = git(root, "-c", "core.quotePath=false", *log).decode("utf-8", "surrogateescape").splitlines()
        blobs = _standing(
            (path, found["blob"])
            for found in map(WRITTEN.fullmatch, lines)
            if found and _is_ours(path := found["path"].removeprefix(prefix), folders)
        )
        contents = contents_of(root, list(dict.fromkeys(blob for _, blob in blobs)))
    except BaselineError:
        return []
    return [(path, contents[blob]) for path, blob in blobs]


def _standing(blobs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of the (path, blob) pairs, newest first, those that no commit took back: what lies between two with one blob."""
    kept: dict[str, list[str]] = defaultdict(list)
    for path, blob in blobs:
        if blob in kept[path]:
            del kept[path][kept[path].index(blob) + 1 :]
        else:
            kept[path].append(blob)
    return [(path, blob) for path, several in kept.items() for blob in several]


def _on_disk(root: Path, folders: Collection[str]) -> list[tuple[str, bytes]]:
    disk = Disk(root)
    paths = [path for folder in folders for name in disk.names(folder) if _is_ours(path := f"{folder}/{name}", folders)]
    return [(path, payload) for path in paths if (payload := disk.load(path)) is not None]


def _is_ours(path: str, folders: Collection[str]) -> bool:
    folder, _, name = path.rpartition("/")
    return folder in folders and (name == PORTABLE or TIMES.fullmatch(name) is not None)
