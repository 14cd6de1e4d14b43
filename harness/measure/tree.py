"""The sources that an arm serves, and the interpreter that runs them.

A child is a worker of the running harness over some tree: models, techniques and runtimes are the tree's, the protocol
and the way of timing are ours, so that two trees are measured by one ruler.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness.errors import MeasurementError, SuiteError

__all__ = ["Tree", "git", "versions_of", "worktree"]

GIT_SECONDS = 120.0


@dataclass(frozen=True)
class Tree:
    """A project's folder and the interpreter for it; `revision` is "" for the working tree.

    `variables` are environment variables of its children.
    """

    root: Path
    python: str = sys.executable
    revision: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def check(self, harness_file: str, suite_file: str = "") -> None:
        """Raise `MeasurementError` where a child imported the suite, or a harness of the tree's own, from elsewhere."""
        own = self.root / "harness" / "__init__.py"
        running = Path(harness.__file__) if self.python == sys.executable else None
        for what, found, right in (
            ("harness", harness_file, own if own.exists() else running),
            ("the suite", suite_file, self.root if suite_file else None),
        ):
            if right and not Path(found).resolve().is_relative_to(right.resolve()):
                raise MeasurementError(
                    f"a child that should serve {self.revision or 'the working tree'} imported {what} from {found}, "
                    f"not from {right}: a path in PYTHONPATH or an installed copy hides it",
                    outcome="invalid",
                )


def worktree(root: Path, revision: str, folder: Path, python: str = sys.executable) -> Tree:
    """A project's tree at another commit, checked out below `folder` and kept for the next time.

    Raises `SuiteError` where the project is not in git, or has no such revision.
    """
    top = Path(git(root, "rev-parse", "--show-toplevel"))
    commit = git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    place = folder / commit
    if not (place / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        git(root, "worktree", "prune")
        git(root, "worktree", "add", "--detach", "--force", str(place), commit)
    if git(place, "status", "--porcelain", "--untracked-files=no"):
        raise SuiteError(f"{place} was edited, so it is no longer {revision}; remove it: git worktree remove --force")
    # What was fetched at set-up lies beside the working tree, and is the same for every commit that pins the same.
    data = os.environ.get("HARNESS_DATA", str(root / ".harness" / "data"))
    return Tree(place / root.resolve().relative_to(top.resolve()), python, commit, {"HARNESS_DATA": data})


def versions_of(tree: Tree) -> dict[str, str]:
    """Every distribution that the tree's interpreter finds, by name, with its version. Raises `SuiteError`."""
    from harness.measure.environment import library_versions

    if tree.python == sys.executable:
        return library_versions()
    code = "from importlib.metadata import distributions as d; [print(x.metadata['Name'], x.version) for x in d()]"
    try:
        done = subprocess.run(
            [tree.python, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SuiteError(f"{tree.python} can't be run as the other arm's Python: {error}") from None
    pairs = (line.split(" ", 1) for line in reversed(done.stdout.splitlines()) if " " in line)
    return dict(sorted((name.lower().replace("_", "-"), version) for name, version in pairs))


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints in a folder. Raises `SuiteError` where it fails or there is no git."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SuiteError(f"git {arguments[0]} failed: {error}") from None
    if done.returncode:
        raise SuiteError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()
