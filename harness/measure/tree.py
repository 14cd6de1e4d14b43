"""The sources that an arm serves, and the interpreter that runs them.

A child is a worker of the running harness over some tree: models, techniques and runtimes are the tree's, the protocol
and the way of timing are ours, so that two trees are measured by one ruler.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import AbsentError, SuiteError
from harness.files import imported_from, locked, write_atomic
from harness.git import GIT_SECONDS, run_git
from harness.measure.distributions import names_in
from harness.measure.imports import check_imports
from harness.worker.protocol import OWN_FOLDERS, SUITE_FOLDERS

__all__ = ["Tree", "commit_of", "git", "worktree"]

FRESH = "harness-fresh"
"""A file in git's own directory of a finished checkout: what git called edited in it from the start."""


@dataclass(frozen=True)
class Tree:
    """A project's folder and the interpreter for it; `revision` is "" for the working tree.

    variables  environment variables of its children
    packages   names of distributions that the interpreter has in other versions for it
    paths      folders that they import from beside `root` and installed packages
    checkout   of another commit, the folder that it was checked out into
    origin     and the working tree's top folder, from which nothing may be imported then
    """

    root: Path
    python: str = sys.executable
    revision: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    checkout: Path | None = None
    origin: Path | None = None

    def for_suite(self, file: str) -> Tree:
        """The tree for the children of a suite file, given relative to `root`: they take from the folders that pytest
        imports it from what the project's own folder has as well. Those of other suites come after that.
        """
        told = self.variables.get(SUITE_FOLDERS, "").split(os.pathsep)
        if str(self.root) in told:  # --import-mode=append
            return self
        own = [str(folder) for folder in imported_from(self.root / file, self.root) if str(folder) in told]
        variables = {**self.variables, OWN_FOLDERS: os.pathsep.join(own)}
        return dataclasses.replace(self, variables=variables) if own else self

    def check_folder(self) -> None:
        """Raise `AbsentError` where another commit lacks the project's folder: no child could be started there."""
        if self.checkout is not None and not self.root.is_dir():
            raise AbsentError(f"that commit has no folder {self.root.relative_to(self.checkout)}")

    def check(self, harness_file: str, suite_file: str = "", modules: Mapping[str, str] | None = None) -> None:
        """Raise `WrongTreeError` where a child imported what this tree should not serve (`check_imports`)."""
        check_imports(self, harness_file, suite_file, modules or {})

    def distributions(self) -> tuple[str, ...]:
        """The names of the distributions that its commit makes, wherever in the repository their packages lie; none of
        the working tree. Raises `SuiteError` where git fails.
        """
        return _distributions(self.checkout) if self.checkout else ()


def worktree(root: Path, revision: str, folder: Path, python: str = sys.executable) -> Tree:
    """A project's tree at another commit, checked out below `folder` and kept for the next time.

    Raises `SuiteError` where the project is not in git or has no such revision, and where what was kept can't be used.
    """
    top = Path(git(root, "rev-parse", "--show-toplevel"))
    commit = commit_of(root, revision)
    place = folder / commit
    fresh = _fresh(place)
    if fresh is None:
        fresh = _make(root, commit, place)
    moved = git(place, "rev-parse", "HEAD") != commit
    if moved or _edited(place) != fresh:
        cure = shlex.join(["git", "worktree", "remove", "--force", "--force", str(place)])
        change = "is at another commit" if moved else "was edited"
        raise SuiteError(f"{place} {change}, so it is no longer {revision}; remove it: {cure}")
    # What was fetched at set-up lies beside the working tree, and is the same for every commit that pins the same.
    # Its children stand in the checkout, where a relative path would lead elsewhere.
    data = str(root / (os.environ.get("HARNESS_DATA") or ".harness/data"))
    own = place / root.resolve().relative_to(top.resolve())
    return Tree(own, python, commit, {"HARNESS_DATA": data}, checkout=place, origin=top.resolve())


def commit_of(folder: Path, revision: str) -> str:
    """The commit that a revision names. Raises `SuiteError` where it names none."""
    try:
        return git(folder, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except SuiteError as error:
        # All that git says of a name that it does not know. Of one that is ambiguous it says more.
        if str(error).endswith("failed: fatal: Needed a single revision"):
            raise SuiteError(
                f"there is no commit {revision} in this clone; fetch it (in CI: fetch-depth: 0, and origin/NAME for "
                "a branch), or name another"
            ) from None
        raise


def _make(root: Path, commit: str, place: Path) -> str:
    """Check a commit out, and give what git calls edited in it. Another session that needs a checkout beside it waits,
    and takes it over where it is its own.

    Raises `SuiteError`.
    """
    with locked(place.parent / ".lock"):
        fresh = _fresh(place)
        if fresh is None:
            _remove(place)
            # Twice: where a checkout was cut off, git has the place locked. And however large the repository is, a
            # limit of time would cut it off.
            git(root, "worktree", "add", "--detach", "--force", "--force", str(place), commit, seconds=None)
            fresh = _edited(place)
            try:
                write_atomic(_directory(place) / FRESH, os.fsencode(fresh))
            except OSError as error:
                raise SuiteError(f"{place} can't be kept: {error.strerror or error}") from None
        return fresh


def _fresh(place: Path) -> str | None:
    """What git called edited in a checkout that was kept when it was made; None where git does not know it: it does not
    in another clone, nor once the project was moved.

    Nor is one known whose making goes on, or was cut off. Raises `SuiteError` where git does not say, as of another
    user's.
    """
    # Not the path's own method, which raises where another user's folder is closed.
    if not os.access(place / ".git", os.F_OK):
        return None
    try:
        return os.fsdecode((_directory(place) / FRESH).read_bytes())
    except OSError:
        return None
    except SuiteError as error:
        # The second of a file that a full disk or a lost machine left empty.
        if any(words in str(error) for words in ("not a git repository", "gitfile")):
            return None
        raise


def _directory(place: Path) -> Path:
    """Git's own directory of a checkout. Raises `SuiteError`."""
    return place / git(place, "rev-parse", "--git-dir")


def _edited(place: Path) -> str:
    """What git calls edited in a checkout, with digests of it. A filter such as that of LFS, and a rule for line ends
    that came after the files, leave some in a fresh one. Raises `SuiteError`.
    """
    return git(place, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--full-index", "HEAD")


def _remove(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except FileNotFoundError:
        pass
    except OSError as error:
        reason = error.strerror or error
        raise SuiteError(f"{place} can't be removed ({reason}): remove it, or make it yours (chown)") from None


@functools.cache
def _distributions(checkout: Path) -> tuple[str, ...]:
    listed = git(checkout, "ls-files", "-z", "--", ":(glob)**/pyproject.toml").split("\0")
    return names_in(checkout / path for path in listed if path)


def git(folder: Path, *arguments: str, payload: bytes = b"", seconds: float | None = GIT_SECONDS) -> str:
    """What a git command that reads `payload` prints in a folder, in whatever time where `seconds` is None.

    Raises `SuiteError` where it fails, takes longer, or there is no git.
    """
    try:
        done = run_git(folder, *arguments, payload=payload, seconds=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SuiteError(f"git {arguments[0]} failed: {error}") from None
    if done.returncode:
        raise SuiteError(f"git {' '.join(arguments)} failed: {os.fsdecode(done.stderr).strip()}")
    return os.fsdecode(done.stdout).strip()
