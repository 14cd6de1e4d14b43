"""What git is told of where it is called from: nothing, so that it works in the folder that a call names."""

from __future__ import annotations

import os

__all__ = ["git_variables"]

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
