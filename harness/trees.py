"""Which trees a run measures: the working tree or `--at` a commit, and the one that it is compared with."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from harness.errors import SuiteError
from harness.git import in_another_repository
from harness.measure.interpreter import names_of, python_with
from harness.measure.pins import unlike
from harness.measure.sources import sources
from harness.measure.tree import Tree, commit_of, git, worktree
from harness.records import Environment
from harness.settings import WORKING_TREE, Against, Settings, path_variables
from harness.worker.protocol import SUITE_FOLDERS

__all__ = ["candidate_tree", "other_tree", "with_known_commits", "with_trees"]


def candidate_tree(settings: Settings) -> Tree:
    """The tree whose cases are judged. Raises `SuiteError` where it can't be checked out."""
    return _tree(settings, settings.against.at if settings.against else "", sys.executable)


def other_tree(settings: Settings, against: Against) -> Tree:
    """The tree to compare with. Raises `SuiteError` where it, or the environment for it, can't be made, and where a
    name that follows what is pushed leads to the very commit that is measured.
    """
    _check_differs(settings.root, against)
    python = against.python or sys.executable
    if os.sep in python:
        python = str(Path(python).absolute())  # children run in the folder of their tree
    if against.packages:
        python = python_with(against.packages, settings.cache / "environments", python)
    return dataclasses.replace(_tree(settings, against.revision, python), packages=names_of(against.packages))


def with_trees(here: Environment, settings: Settings, tree: Tree, other: Tree | None) -> Environment:
    """The environment of a run of these trees, `here` being the working tree's: which commit is measured, what it is
    compared with, that it is the same commit, and which files ask for packages that neither arm has for it.
    """
    state, against = dict(here.state), settings.against
    if tree.revision:
        here = dataclasses.replace(here, commit=tree.revision, dirty=False)
        state["at"] = tree.revision
    if against:
        state["against"] = str(against)
        if _is_measured(settings.root, against):
            state["same"] = against.revision
    if against and other and not (against.packages or against.python) and (pins := unlike(tree, other)):
        state["pins"] = "\n".join(pins)
    return dataclasses.replace(here, state=state)


def with_known_commits(root: Path, origins: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """The origins of baselines, with "" for the commit of times that is not in this clone.

    What merging by squash or rebase leaves behind is in the clone alone that made it, and can't be measured again.
    """
    commits = {found for one in origins.values() if re.fullmatch("[0-9a-f]+", found := one.get("times", ""))}
    gone = _gone(root, commits) if commits else set()
    return {name: {**one, "times": ""} if one.get("times") in gone else one for name, one in origins.items()}


def _gone(root: Path, commits: Collection[str]) -> set[str]:
    """Those of these commits that a clone lacks; none where git does not say, and of a shallow clone, which may fetch
    them yet.
    """
    try:
        if git(root, "rev-parse", "--is-shallow-repository") == "true":
            return set()
        found = git(root, "cat-file", "--batch-check", payload="".join(f"{one}\n" for one in commits).encode())
    except SuiteError:
        return set()
    return {line.removesuffix(" missing") for line in found.splitlines() if line.endswith(" missing")}


def _check_differs(root: Path, against: Against) -> None:
    """Raise `SuiteError` where both arms would be one commit since the name follows what is pushed.

    A tag or a commit, as of a scheduled run, is the measured one on each day on which nothing came; that is told.
    """
    if not _is_measured(root, against):
        return
    revision = against.revision
    name = git(root, "rev-parse", "--verify", "--symbolic-full-name", "--end-of-options", revision)
    if name in ("HEAD", "FETCH_HEAD") or name.startswith(("refs/heads/", "refs/remotes/")):
        cure = f"name the commit before what was pushed, such as its parent ({revision}~1)"
        if against.at in ("", WORKING_TREE):
            cure += f", or {WORKING_TREE} to compare the tree with itself"
        raise SuiteError(f"--against {revision} is the commit that is measured, so nothing could be found; {cure}")


def _is_measured(root: Path, against: Against) -> bool:
    """Whether both arms are one commit with the same packages, which nobody asked for. Raises `SuiteError`."""
    revision, at = against.revision, against.at
    if revision == WORKING_TREE or against.packages or against.python:
        return False
    there = at in ("", WORKING_TREE)
    if commit_of(root, revision) != commit_of(root, "HEAD" if there else at):
        return False
    return not (there and _is_edited(root))


def _is_edited(root: Path) -> bool:
    """Whether the working tree has another source than its commit: a file that git knows, or one that it does not."""
    if _is_changed(Path(git(root, "rev-parse", "--show-toplevel"))):
        return True
    new = {root / name for name in git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0") if name}
    return bool(new) and any(path in new for path in sources(root))


def _is_changed(top: Path) -> bool:
    """Whether a file that git knows is not as in the commit. A rule for line ends that came after a file, or a filter
    such as that of LFS, makes git call it edited in a fresh clone: its bytes are the commit's.
    """
    kept, names = [], []
    for line in filter(None, git(top, "diff", "--raw", "--no-abbrev", "--no-renames", "HEAD").split("\n")):
        told, _, name = line.partition("\t")
        before, after, digest, _, how = told.removeprefix(":").split(" ")
        if how != "M" or before != after or not before.startswith("100"):  # another mode, or no plain file
            return True
        kept.append(digest)
        names.append(name)
    found = git(top, "hash-object", "--no-filters", "--stdin-paths", payload=os.fsencode("\n".join(names)))
    return found.split() != kept


def _tree(settings: Settings, revision: str, python: str) -> Tree:
    if revision in ("", WORKING_TREE):
        tree = Tree(settings.root, python)
    else:
        tree = worktree(settings.root, revision, settings.cache / "trees", python)
    paths = tuple(_in_tree(settings.root / path, path, tree.origin) for path in settings.paths)
    variables = {**tree.variables, **path_variables(tree.root, paths)}
    if settings.folders:
        variables[SUITE_FOLDERS] = os.pathsep.join(str(tree.root / folder) for folder in settings.folders)
    return dataclasses.replace(tree, variables=variables, paths=tuple(tree.root / path for path in paths))


def _in_tree(folder: Path, path: str, origin: Path | None) -> str:
    """An import path, relative to the project, for a tree: a `folder` outside of the repository, or in a submodule, is
    the same for every commit, and is not in a checkout.
    """
    found = folder.resolve()
    shared = origin and (not found.is_relative_to(origin) or in_another_repository(origin, found))
    return str(found) if shared else path
