"""Where baseline files lie: a folder on disk, or the same folder at another commit."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from harness.errors import BaselineError
from harness.files import write_atomic
from harness.git import run_git

__all__ = ["Disk", "Revision", "Tree", "contents_of", "git"]

MAX_FILE = 16 * 2**20
"""Bytes that a baseline file can have; one of ten million examples has a third of it."""


class Tree(Protocol):
    """Files by their path below the baselines' folder, with `/` between its parts."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; empty where there is none. Raises `BaselineError` where it can't be read."""

    def load(self, path: str) -> bytes | None:
        """A file's contents, None where there is none. Raises `BaselineError` for what is no plain, small file, or
        can't be read.
        """

    def where(self, path: str) -> str:
        """The path as people know it."""

    def save(self, path: str, text: str) -> Path:
        """Write a file so that it is there whole or not at all."""

    def delete(self, path: str) -> Path:
        """Delete a file, and its folders as far as they are empty then."""


class Disk:
    """A folder in the working tree, which need not exist before the first file is saved."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = os.path.realpath(root)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(entry.name for entry in self._inside(folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise self._unreadable(folder, error) from error

    def load(self, path: str) -> bytes | None:
        file = self._inside(path)
        try:
            status = file.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE:
                return file.read_bytes()
        except OSError as error:
            if not os.path.islink(file):  # noqa: PTH114 (the other raises where this is not known)
                if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                    return None
                raise self._unreadable(path, error) from error
        # A link that leads nowhere is none either.
        raise BaselineError(f"{self.where(path)}: no plain file of at most {MAX_FILE} bytes; restore it from git")

    def where(self, path: str) -> str:
        return os.path.relpath(self._root / path)

    def save(self, path: str, text: str) -> Path:
        file = self._inside(path)
        try:
            # A lone surrogate, as from a command line that is no UTF-8, becomes the JSON escape for itself.
            write_atomic(file, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise BaselineError(f"{self.where(path)}: can't be written: {error.strerror}; it is as it was") from error
        return file

    def delete(self, path: str) -> Path:
        file = self._inside(path)
        file.unlink()
        for folder in list(file.parents)[: len(Path(path).parts) - 1]:
            if any(folder.iterdir()):
                break
            folder.rmdir()
        return file

    def _unreadable(self, path: str, error: OSError) -> BaselineError:
        return BaselineError(
            f"{self.where(path)}: can't be read: {error.strerror}; make it readable (chmod, chown), or restore it from "
            "git"
        )

    def _inside(self, path: str) -> Path:
        """The place of a path. Raises `BaselineError` for one that leads out of the folder."""
        found = self._root / path
        # What has no link in it stays inside; to resolve paths takes most of the time of reading small files.
        parts = path.split("/")
        steps = (f"{self._real}/{'/'.join(parts[:depth])}" for depth in range(1, len(parts) + 1))
        if not {"", ".."} & set(parts) and not any(map(os.path.islink, steps)):
            return found
        if os.path.commonpath([self._real, os.path.realpath(found)]) != self._real:
            raise BaselineError(f"{self.where(path)}: leads out of the baselines' folder; it must be no symbolic link")
        return found


class Revision:
    """The folder as it was committed in a git revision. Everything is read at once; nothing can be written."""

    def __init__(self, root: Path, revision: str) -> None:
        self._revision = revision
        above = next(folder for folder in [root.resolve(), *root.resolve().parents] if folder.is_dir())
        top = Path(git(above, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
        self._folder = root.resolve().relative_to(top.resolve()).as_posix()
        commit = git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        listing = git(top, "ls-tree", "-r", "-z", "--full-tree", commit.decode().strip(), "--", f"{self._folder}/")
        entries = [entry.split("\t", 1) for entry in listing.decode("utf-8", "surrogateescape").split("\0") if entry]
        if not entries:
            raise BaselineError(f"{revision} holds no baselines in {self._folder}/; name a commit that does")
        self._blobs: dict[str, str] = {}
        for facts, path in entries:
            mode, _, blob = facts.split()
            if not mode.startswith("100"):
                raise BaselineError(f"{revision}:{path}: is no plain file; a baseline must be no symbolic link")
            self._blobs[path.removeprefix(f"{self._folder}/")] = blob
        self._contents = contents_of(top, list(self._blobs.values()))

    def names(self, folder: str) -> list[str]:
        prefix = f"{folder}/" if folder else ""
        return sorted({path[len(prefix) :].split("/")[0] for path in self._blobs if path.startswith(prefix)})

    def load(self, path: str) -> bytes | None:
        blob = self._blobs.get(path)
        return self._contents[blob] if blob else None

    def where(self, path: str) -> str:
        return f"{self._revision}:{self._folder}/{path}"

    def save(self, path: str, text: str) -> Path:  # noqa: ARG002
        raise BaselineError(f"{self.where(path)}: a commit can't be changed; accept without --baseline-rev")

    def delete(self, path: str) -> Path:
        raise BaselineError(f"{self.where(path)}: a commit can't be changed; prune without --baseline-rev")


def contents_of(top: Path, blobs: Sequence[str]) -> dict[str, bytes]:
    """The contents of git objects, all through one process."""
    output = git(top, "cat-file", "--batch", payload="".join(f"{blob}\n" for blob in blobs).encode())
    contents, at = {}, 0
    for blob in blobs:
        end = output.index(b"\n", at)
        size = int(output[at:end].split()[2])
        if size > MAX_FILE:
            raise BaselineError(f"git object {blob}: no baseline has {size} bytes")
        contents[blob] = output[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return contents


def git(folder: Path, *arguments: str, payload: bytes = b"") -> bytes:
    """What a git command in a folder writes. Raises `BaselineError` where it fails or there is no git."""
    try:
        done = run_git(folder, *arguments, payload=payload)
    except FileNotFoundError:
        raise BaselineError("reading baselines from another revision needs git, and it is not installed") from None
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip() or "no such revision here; fetch it first"
        raise BaselineError(f"git {arguments[0]} {arguments[-1]}: {message}")
    return done.stdout
