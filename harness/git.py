"""Calling git, which is told nothing of where it is called from, so that it works in the folder that a call names; and
what is no part of a repository although it lies in its folder.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

__all__ = ["GIT_SECONDS", "git_variables", "ignored", "in_another_repository", "is_own", "run_git"]

GIT_SECONDS = 120.0

_OF_A_CALLER = {
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
}


def git_variables() -> dict[str, str]:
    """This process's environment without the variables that lead git to its caller's repository and index.

    Git sets them for its hooks. There a worktree that is added would be checked out into the index of the commit that
    the hook is about.
    """
    return {name: value for name, value in os.environ.items() if name not in _OF_A_CALLER}


def run_git(
    folder: Path, *arguments: str, payload: bytes = b"", seconds: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    """A git command in a folder, whether it fails or not. What it says is in English, it takes no lock that it can do
    without, and no hook of the repository runs.

    Raises `OSError` where there is no git, and `subprocess.TimeoutExpired` after `seconds`.
    """
    # A hook is for its developer's own checkouts: in one that is made for a measurement it may fail, or install it.
    command = ["git", "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *arguments]
    variables = {**git_variables(), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return subprocess.run(command, input=payload, capture_output=True, check=False, timeout=seconds, env=variables)


def is_own(top: Path, path: Path) -> bool:
    """Whether a path below `top` is of that repository's commits. What lies in a submodule or another clone is of none,
    nor is what git is told to ignore.
    """
    return path.is_relative_to(top) and not in_another_repository(top, path) and not ignored(top, path)


def in_another_repository(top: Path, path: Path) -> bool:
    """Whether a file below `top` lies in a submodule, or in another clone: it is of no commit of this repository."""
    folders = (folder for folder in (path, *path.parents) if folder != top and folder.is_relative_to(top))
    return any((folder / ".git").exists() for folder in folders)


def ignored(top: Path, path: Path) -> bool:
    """Whether git is told to ignore a file: then it is none of the project's sources, wherever it lies."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return run_git(top, "check-ignore", "--quiet", str(path), seconds=GIT_SECONDS).returncode == 0
    return False
