"""Which trees a run measures: the working tree or `--at` a commit, and the one that it is compared with."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from harness.errors import SuiteError
from harness.measure.interpreter import python_with
from harness.measure.pins import unlike
from harness.measure.tree import Tree, commit_of, git, worktree
from harness.records import Environment
from harness.settings import WORKING_TREE, Against, Settings, path_variables
from harness.worker.protocol import SUITE_FOLDERS

__all__ = ["candidate_tree", "other_tree", "with_trees"]


def candidate_tree(settings: Settings) -> Tree:
    """The tree whose cases are judged. Raises `SuiteError` where it can't be checked out."""
    return _tree(settings, settings.against.at if settings.against else "", sys.executable)


def other_tree(settings: Settings, against: Against) -> Tree:
    """The tree to compare with. Raises `SuiteError` where it, or the environment for it, can't be made, and where it
    would be the very commit that is measured.
    """
    _check_differs(settings.root, against)
    python = against.python or sys.executable
    if os.sep in python:
        python = str(Path(python).absolute())  # children run in the folder of their tree
    if against.packages:
        python = python_with(against.packages, settings.cache / "environments", python)
    return _tree(settings, against.revision, python)


def with_trees(here: Environment, settings: Settings, tree: Tree, other: Tree | None) -> Environment:
    """The environment of a run of these trees, `here` being the working tree's: which commit is measured, what it is
    compared with, and which files ask for packages that neither arm has for it.
    """
    state, against = dict(here.state), settings.against
    if tree.revision:
        here = dataclasses.replace(here, commit=tree.revision, dirty=False)
        state["at"] = tree.revision
    if against:
        state["against"] = str(against)
    if against and other and not (against.packages or against.python) and (pins := unlike(tree, other)):
        state["pins"] = "\n".join(pins)
    return dataclasses.replace(here, state=state)


def _check_differs(root: Path, against: Against) -> None:
    """Raise `SuiteError` where both arms would be one commit with the same packages, which nobody asked for."""
    revision, at = against.revision, against.at
    if revision == WORKING_TREE or against.packages or against.python:
        return
    measured = "HEAD" if at in ("", WORKING_TREE) else at
    if commit_of(root, revision) != commit_of(root, measured):
        return
    if measured == at:
        cure = f"name its parent ({revision}~1)"
    elif git(root, "status", "--porcelain"):
        return
    else:
        cure = f"name its parent ({revision}~1), or {WORKING_TREE} to compare the tree with itself"
    raise SuiteError(f"--against {revision} is the commit that is measured, so nothing could be found; {cure}")


def _tree(settings: Settings, revision: str, python: str) -> Tree:
    if revision in ("", WORKING_TREE):
        tree = Tree(settings.root, python)
    else:
        tree = worktree(settings.root, revision, settings.cache / "trees", python)
    variables = {**tree.variables, **path_variables(tree.root, settings.paths)}
    if settings.folders:
        variables[SUITE_FOLDERS] = os.pathsep.join(str(tree.root / folder) for folder in settings.folders)
    return dataclasses.replace(tree, variables=variables, paths=tuple(tree.root / path for path in settings.paths))
