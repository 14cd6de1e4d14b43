"""Whether an arm served the tree that it should: of what it imported, nothing may be the other tree's."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from harness.errors import AbsentError, SuiteError, WrongTreeError
from harness.grid import Address
from harness.hardware import cpu
from harness.measure import timed_test
from harness.measure.artefacts import Artefact
from harness.measure.passes import evaluate
from harness.measure.tree import Tree, worktree
from harness.plan import Plan
from harness.timed_test import TimedTest
from harness.worker import imported
from harness.worker.protocol import (
    OWN_FOLDERS,
    SUITE_FOLDERS,
    Evaluate,
    Evaluated,
    Loaded,
    Message,
    Settled,
    Stopped,
    TurnDone,
)
from tests.folder import Folder

ROOT = Path(__file__).parent.parent
OURS = str(ROOT / "harness" / "__init__.py")
SUITE = """
from own_network import LAYERS


@grid(model=[tiny], technique=[reference], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""
SHORT = ("--plan", "screen=2", "--plan", "confirm=2", "--plan", "seconds=0.1", "--plan", "repeats=0")


@pytest.fixture
def project(tmp_path: Path) -> Folder:
    """A project whose package lies in `src`, with an environment of its own beside it."""
    folder = Folder(tmp_path / "project")
    (folder.path / "src" / "own_network").mkdir(parents=True)
    (folder.path / "src" / "own_network" / "__init__.py").write_text("LAYERS = 1\n")
    folder.suite("test_it", SUITE)
    folder.commit("start")
    (folder.path / ".gitignore").write_text(".harness\n.model\nreports\n__pycache__\nvendor\n")
    return folder


@pytest.fixture
def other(project: Folder) -> Tree:
    return worktree(project.path, "HEAD", project.path / ".harness" / "trees")


def check(tree: Tree, name: str, found: Path) -> None:
    tree.check(OURS, modules={name: str(found)})


@pytest.mark.parametrize(
    ("told", "file", "own"),
    [
        (["alpha", "beta"], "alpha/test_it.py", ["alpha"]),
        (["alpha", "beta"], "beta/test_it.py", ["beta"]),
        (["alpha", "beta"], "test_it.py", []),
        (["alpha", "beta"], "packed/test_it.py", []),
        (["alpha/deep", "alpha", "beta"], "alpha/deep/test_it.py", ["alpha/deep", "alpha"]),
        (["beta", "beta/deep"], "beta/deep/test_it.py", ["beta/deep"]),  # beta has no conftest, and another suite
        ([".", "alpha", "beta"], "alpha/test_it.py", []),  # --import-mode=append
        ([], "alpha/test_it.py", []),  # --import-mode=importlib
    ],
)
def test_the_folders_of_a_suite_are_those_that_pytest_has_before_the_projects_for_it(
    tmp_path: Path, told: list[str], file: str, own: list[str]
) -> None:
    """Another suite's would hide the project's own files, which this one imports."""
    for name in ("conftest.py", "alpha/conftest.py", "packed/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def joined(folders: list[str]) -> str:
        return os.pathsep.join(str(tmp_path / folder) for folder in folders)

    tree = Tree(tmp_path, variables={"MINE": "1", **({SUITE_FOLDERS: joined(told)} if told else {})})
    found = tree.for_suite(file)
    assert found.variables == {**tree.variables, **({OWN_FOLDERS: joined(own)} if own else {})}
    assert dataclasses.replace(found, variables=tree.variables) == tree


def test_a_hook_of_gits_keeps_its_index(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git tells its hooks where the index is, and the harness's own calls are about another working tree."""
    (project.path / "src" / "added.py").touch()
    project.git("add", "src/added.py")
    monkeypatch.setenv("GIT_INDEX_FILE", str(project.path / ".git" / "index"))
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    assert project.git("diff", "--cached", "--name-only") == "src/added.py"
    assert (other.root / "src" / "own_network" / "__init__.py").exists()
    monkeypatch.setenv("GIT_DIR", str(project.path / "nowhere"))
    assert worktree(project.path, "HEAD", project.path / ".harness" / "trees") == other


def test_a_revision_that_the_clone_lacks_is_named_with_the_cure(project: Folder) -> None:
    """A shallow clone has no other commit, and a full one the branches of the server's under another name."""
    for revision in ("released", "0" * 40, "HEAD~1"):
        with pytest.raises(SuiteError) as caught:
            worktree(project.path, revision, project.path / ".harness" / "trees")
        assert str(caught.value) == (
            f"there is no commit {revision} in this clone; fetch it (in CI: fetch-depth: 0, and origin/NAME for a "
            "branch), or name another"
        )


def test_no_hook_of_the_repository_runs_in_a_checkout(project: Folder) -> None:
    """Such as one that installs what was checked out, into the environment that measures."""
    hook = project.path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(project.path / 'ran'))}\nexit 1\n")
    hook.chmod(0o755)
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    assert (other.root / "src" / "own_network" / "__init__.py").exists()
    assert not (project.path / "ran").exists()


def test_a_checkout_that_git_no_longer_knows_is_made_anew(project: Folder, other: Tree, tmp_path: Path) -> None:
    """Git keeps paths, and the project was moved with the checkout in it. What a CI's cache brings back is the same."""
    moved = project.path.rename(tmp_path / "moved")
    found = worktree(moved, "HEAD", moved / ".harness" / "trees")
    assert found.root == moved / ".harness" / "trees" / other.revision
    assert (found.root / "src" / "own_network" / "__init__.py").exists()
    assert worktree(moved, "HEAD", moved / ".harness" / "trees") == found


def test_a_worktree_of_a_developers_own_is_kept_while_it_is_not_there(project: Folder, tmp_path: Path) -> None:
    """A container has the repository and not what lies beside it. Its index, HEAD and branch were gone then."""
    own, away = tmp_path / "wt", tmp_path / "away"
    project.git("worktree", "add", "-q", str(own), "-b", "feature")
    (own / "staged.py").touch()
    project.git("-C", str(own), "add", "staged.py")
    own.rename(away)
    worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    away.rename(own)
    assert project.git("-C", str(own), "diff", "--cached", "--name-only") == "staged.py"


def test_a_checkout_that_was_deleted_is_made_anew(project: Folder, other: Tree) -> None:
    """Git has it still registered."""
    shutil.rmtree(other.root)
    assert worktree(project.path, "HEAD", project.path / ".harness" / "trees") == other
    assert (other.root / "src" / "own_network" / "__init__.py").exists()


def test_a_checkout_that_was_cut_short_is_made_anew(project: Folder, other: Tree) -> None:
    (other.root / ".git").write_text("")
    assert worktree(project.path, "HEAD", project.path / ".harness" / "trees") == other
    assert (other.root / ".git").read_text()


def slowly(project: Folder, then: str) -> Path:
    """Have the project's next commit be checked out slowly: `then` gives a file's contents. Gives what tells of it."""
    begun = project.path.parent / "begun"
    (project.path / ".gitattributes").write_text("*.slow filter=slow\n")
    (project.path / "data.slow").write_text("of the commit\n")
    project.commit("a file that is filtered")
    project.git("config", "filter.slow.smudge", f"touch {shlex.quote(str(begun))}; {then}")
    return begun


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_checkout_whose_making_was_killed_is_made_anew(project: Folder) -> None:
    """Git knew it, and had not all of its files: it "was edited" in every later run, and locked against the cure."""
    begun = slowly(project, "exec sleep 60")
    place = project.path / ".harness" / "trees" / project.git("rev-parse", "HEAD")
    command = ["git", "-C", str(project.path), "worktree", "add", "--detach", str(place)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as making:
        wait_for(begun)
        os.killpg(making.pid, signal.SIGKILL)
    project.git("config", "--remove-section", "filter.slow")
    tree = worktree(project.path, "HEAD", place.parent)
    assert (tree.root / "data.slow").read_text() == "of the commit\n"
    assert worktree(project.path, "HEAD", place.parent) == tree


def test_a_session_waits_for_the_checkout_that_another_one_makes(project: Folder) -> None:
    begun = slowly(project, "sleep 0.3; cat")
    trees = project.path / ".harness" / "trees"
    with ThreadPoolExecutor(1) as other:
        made = other.submit(worktree, project.path, "HEAD", trees)
        wait_for(begun)
        found = worktree(project.path, "HEAD", trees)
        assert made.result() == found
    assert (found.root / "data.slow").read_text() == "of the commit\n"


def test_a_checkout_is_made_where_the_lock_of_others_can_not_be_opened(project: Folder) -> None:
    """As another user's. A folder stands for it, which not even root can open."""
    trees = project.path / ".harness" / "trees"
    (trees / ".lock").mkdir(parents=True)
    assert (worktree(project.path, "HEAD", trees).root / "src" / "own_network" / "__init__.py").exists()


def test_where_no_checkout_can_be_made_git_says_why(project: Folder) -> None:
    (project.path / ".harness").mkdir()
    (project.path / ".harness" / "trees").symlink_to("gone")
    with pytest.raises(SuiteError, match=r"git worktree add .* failed: (.|\n)*create leading directories"):
        worktree(project.path, "HEAD", project.path / ".harness" / "trees")


def test_however_long_a_checkout_takes_it_is_not_cut_off(project: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run
    limits: list[float | None] = []

    def noted(command: list[str], **options: Any) -> Any:
        limits.extend([options["timeout"]] if "add" in command else [])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", noted)
    worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    assert limits == [None]


def test_a_relative_folder_of_data_is_the_projects_in_every_tree(
    project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, found in (("data", "data"), ("", ".harness/data"), ("/mnt/data", "/mnt/data")):
        monkeypatch.setenv("HARNESS_DATA", value)
        tree = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
        assert tree.variables == {"HARNESS_DATA": str(project.path / found)}


def test_a_checkout_of_another_users_is_left_alone_with_gits_cure(
    project: Folder, other: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    # The project alone is allowed: an empty value clears the user's list.
    for number, allowed in enumerate(["", str(project.path.resolve())]):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", "safe.directory")
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", allowed)
    with pytest.raises(SuiteError, match=r"dubious ownership(.|\n)*git config --global --add safe\.directory"):
        worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    assert (other.root / "src" / "own_network" / "__init__.py").exists()


def test_a_checkout_that_git_is_too_slow_to_know_is_left_alone(
    project: Folder, other: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run

    def slow(command: list[str], **options: Any) -> Any:
        if "--git-dir" in command:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(SuiteError, match=r"git rev-parse failed: .* timed out"):
        worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    assert (other.root / "src" / "own_network" / "__init__.py").exists()


def test_what_is_no_checkout_and_can_not_be_removed_is_named_with_the_cure(project: Folder) -> None:
    """A file stands where the checkout should."""
    place = project.path / ".harness" / "trees" / project.git("rev-parse", "HEAD")
    place.parent.mkdir(parents=True)
    place.touch()
    with pytest.raises(SuiteError) as caught:
        worktree(project.path, "HEAD", place.parent)
    assert str(caught.value) == f"{place} can't be removed (Not a directory): remove it, or make it yours (chown)"


def test_an_edited_checkout_is_named_with_the_command_that_removes_it(project: Folder, other: Tree) -> None:
    (other.root / "src" / "own_network" / "__init__.py").write_text("LAYERS = 2\n")
    with pytest.raises(SuiteError, match=r"was edited.*remove it: git worktree remove --force --force ") as caught:
        worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    project.git("worktree", "lock", str(other.root))  # as what a checkout that was cut off leaves
    project.git(*shlex.split(str(caught.value).partition("remove it: git ")[2]))
    assert worktree(project.path, "HEAD", project.path / ".harness" / "trees") == other


def test_a_checkout_in_which_git_calls_files_edited_from_the_start_is_used(project: Folder) -> None:
    """It was red for nothing, and the checkout that the cure led to was the same. So is LFS without its filter."""
    (project.path / "data.txt").write_bytes(b"a\r\n")
    project.commit("a file with line ends of Windows")
    (project.path / ".gitattributes").write_text("*.txt text\n")
    project.git("add", ".gitattributes")  # alone, since git would mend the file as well
    project.git("commit", "-q", "-m", "a rule for line ends")
    trees = project.path / ".harness" / "trees"
    tree = worktree(project.path, "HEAD", trees)
    assert worktree(project.path, "HEAD", trees) == tree
    assert (tree.root / "data.txt").read_bytes() == b"a\r\n"
    (tree.root / "data.txt").write_bytes(b"b\r\n")
    with pytest.raises(SuiteError, match="was edited"):
        worktree(project.path, "HEAD", trees)


def test_a_checkout_that_is_at_another_commit_is_none_of_its_own(project: Folder) -> None:
    """Someone looked around in it: what was measured was the other commit, under the name of this one."""
    project.commit("another")
    trees = project.path / ".harness" / "trees"
    other = worktree(project.path, "HEAD", trees)
    project.git("-C", str(other.root), "checkout", "-q", "--detach", "HEAD~1")
    with pytest.raises(SuiteError, match=r"is at another commit, so it is no longer HEAD; remove it: git worktree rem"):
        worktree(project.path, "HEAD", trees)
    project.git("-C", str(other.root), "checkout", "-q", "--detach", other.revision)
    assert worktree(project.path, "HEAD", trees) == other


def test_a_commit_without_the_projects_folder_has_none_of_its_cases(project: Folder, other: Tree) -> None:
    (project.path / "ml").mkdir()
    added = worktree(project.path / "ml", "HEAD", project.path / ".harness" / "trees")
    with pytest.raises(AbsentError, match=r"^that commit has no folder ml$"):
        added.check_folder()
    other.check_folder()
    Tree(project.path).check_folder()


@pytest.mark.parametrize("place", ["src/own_network/__init__.py", "src/added.py"])
def test_what_is_the_working_trees_is_not_the_other_trees(project: Folder, other: Tree, place: str) -> None:
    with pytest.raises(WrongTreeError, match="pythonpath"):
        check(other, "own_network", project.path / place)


def test_where_its_own_is_on_the_path_already_the_cure_is_another_one(project: Folder, other: Tree) -> None:
    """What scikit-build-core and meson-python install in place comes before every path."""
    there = dataclasses.replace(other, paths=(other.root / "src",))
    with pytest.raises(WrongTreeError) as caught:
        check(there, "own_network", project.path / "src" / "own_network" / "__init__.py")
    assert f"that commit's in {other.root / 'src'} is on the path" in str(caught.value)
    assert "without -e, and give the other arm an environment" in str(caught.value)
    assert "(--against-python)" in str(caught.value)
    assert "pythonpath" not in str(caught.value)


def test_a_module_that_the_commit_lacks_is_not_taken_from_the_working_tree(project: Folder, other: Tree) -> None:
    package = Path("src", "own_network")
    modules = {
        "own_network": str(other.root / package / "__init__.py"),
        "own_network.blocks": str(project.path / package / "blocks.py"),
    }
    with pytest.raises(WrongTreeError, match=r"imported own_network\.blocks from .*: it has own_network without that"):
        other.check(OURS, modules=modules)


@pytest.mark.parametrize("place", [".venv/lib/python3.11/site-packages/torch/__init__.py", "vendor/torch/__init__.py"])
def test_what_others_made_may_lie_inside_of_a_project(project: Folder, other: Tree, place: str) -> None:
    (project.path / place).parent.mkdir(parents=True)
    (project.path / place).touch()
    check(other, "torch", project.path / place)


def test_what_is_the_other_trees_own_is_right(project: Folder, other: Tree) -> None:
    check(other, "own_network", other.root / "src" / "own_network" / "__init__.py")
    check(Tree(project.path), "own_network", project.path / "src" / "own_network" / "__init__.py")


def test_an_installed_copy_of_what_the_tree_has_is_not_the_trees(other: Tree, tmp_path: Path) -> None:
    with pytest.raises(WrongTreeError, match="own_network"):
        check(other, "own_network", tmp_path / "site-packages" / "own_network" / "__init__.py")
    check(other, "numpy", tmp_path / "site-packages" / "numpy" / "__init__.py")


def test_another_environment_may_have_the_project_in_another_version(
    other: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was installed there from a folder, such as a checkout of the commit, was refused as the working tree's."""
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    python = tmp_path / "environment" / "bin" / "python"
    python.symlink_to(sys.executable)
    there = dataclasses.replace(other, python=str(python))
    site = Path("lib", "python3.11", "site-packages")
    found = installed(tmp_path / "environment" / site, "own_network", "own_network/__init__.py", {})
    monkeypatch.syspath_prepend(tmp_path / "environment" / site)
    check(there, "own_network", as_told(monkeypatch, "own_network", found))
    with pytest.raises(WrongTreeError, match="own_network"):  # a copy in the environment underneath
        check(there, "own_network", tmp_path / "underneath" / site / "own_network" / "__init__.py")


@pytest.mark.parametrize("file", ["mypkg/__init__.py", "mypkg.py", "mypkg.cpython-311-x86_64-linux-gnu.so"])
def test_a_package_that_was_asked_for_in_another_version_comes_from_its_environment(tmp_path: Path, file: str) -> None:
    """The working tree's was imported before it, and a version that never ran was reported as unchanged."""
    root, python = tmp_path / "project", tmp_path / "environment" / "bin" / "python"
    tree = Tree(root, str(python), packages=("My_Pkg",))
    right = installed(tmp_path / "environment" / "lib" / "python3.11" / "site-packages", "my_pkg", file)
    for name, found, wrong in (("mypkg", right, False), ("numpy", root / file, False), ("mypkg", root / file, True)):
        with pytest.raises(WrongTreeError) if wrong else contextlib.nullcontext() as caught:
            check(tree, name, found)
        if caught:
            assert f"imported it from {root / file}, not from {right}: " in str(caught.value)


def test_tests_that_a_distribution_leaves_beside_its_package_are_the_projects_own(tmp_path: Path) -> None:
    """torchao installs a package `test`: in a project that has one, each case was invalid for another torchao."""
    root, python = tmp_path / "project", tmp_path / "environment" / "bin" / "python"
    installed(tmp_path / "environment" / "lib" / "python3.11" / "site-packages", "my_pkg", "test/__init__.py")
    check(Tree(root, str(python), packages=("my-pkg",)), "test", root / "test" / "__init__.py")


@pytest.mark.parametrize("said", ["src/__init__.py", "pyproject.toml"])
def test_a_file_in_src_makes_no_package_of_that_name_the_projects(project: Folder, tmp_path: Path, said: str) -> None:
    (project.path / "src" / "datasets.py").touch()
    (project.path / said).write_text('[project]\nname = "own-network"\n' if said == "pyproject.toml" else "")
    project.commit("files of src")
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    check(other, "datasets", tmp_path / "site-packages" / "datasets" / "__init__.py")
    with pytest.raises(WrongTreeError, match="datasets"):
        check(other, "datasets", project.path / "src" / "datasets.py")


@pytest.mark.parametrize(
    ("own", "installed", "foreign"),
    [
        ("evaluate.py", "evaluate/__init__.py", False),
        ("evaluate/__init__.py", "evaluate.py", False),
        ("evaluate.py", "evaluate.py", True),
        ("evaluate/__init__.py", "evaluate/__init__.py", True),
        ("evaluate/__init__.py", "evaluate.so", True),  # compiled, as either may be
        ("evaluate.py", "evaluate.so", True),
    ],
)
def test_a_script_is_no_copy_of_a_package_of_its_name(
    project: Folder, tmp_path: Path, own: str, installed: str, foreign: bool
) -> None:
    """evaluate.py beside the suites, and Hugging Face's evaluate, which the evaluation imports."""
    (project.path / own).parent.mkdir(exist_ok=True)
    (project.path / own).touch()
    project.commit("a script")
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    with pytest.raises(WrongTreeError, match="evaluate") if foreign else contextlib.nullcontext():
        check(other, "evaluate", tmp_path / "site-packages" / installed)


def test_a_submodule_is_of_no_commit_of_the_project(project: Folder, tmp_path: Path) -> None:
    theirs = Folder(tmp_path / "theirs")
    theirs.commit("start")
    project.git("-c", "protocol.file.allow=always", "submodule", "add", str(theirs.path), "libs/theirs")
    project.commit("a submodule")
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    check(other, "common", project.path / "libs" / "theirs" / "suites" / "common.py")
    with pytest.raises(WrongTreeError, match="own_network"):
        check(other, "own_network", project.path / "libs" / "theirs" / "own_network" / "__init__.py")


MINE = "file:///of/mine/my%20project"


def installed(folder: Path, name: str, file: str, told: dict[str, object] | None = None, url: str = MINE) -> Path:
    """Describe a file in a folder of installed packages as that of a distribution, which was made from a folder."""
    information = folder / f"{name}-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (information / "RECORD").write_text(f"{file},,\n")
    if told is not None:
        (information / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": told}))
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).touch()  # newer Pythons tell of files that are there alone
    return folder / file


def as_told(monkeypatch: pytest.MonkeyPatch, name: str, file: Path) -> Path:
    """What a process that imported a module from a file tells of it."""
    module = ModuleType(name)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)
    return Path(imported.imported()[name])


def test_a_copy_of_what_the_project_distributes_is_not_the_trees_wherever_it_lies(
    project: Folder, tmp_path: Path
) -> None:
    (project.path / "parts" / "deep").mkdir(parents=True)
    (project.path / "parts" / "deep" / "pyproject.toml").write_text('[project]\nname = "Own.Parts"\n')
    (project.path / "parts" / "pyproject.toml").write_text('project = "of a test"\n')
    project.commit("a distribution")
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    for number, (told, wrong) in enumerate([(None, True), ({}, True), ({"editable": True}, False)]):
        site = tmp_path / str(number) / "site-packages"
        found = installed(site, "own_parts", "parts_of_mine/__init__.py", told)
        with pytest.raises(WrongTreeError, match="parts_of_mine") if wrong else contextlib.nullcontext():
            check(other, "parts_of_mine", found)
        check(other, "others", installed(site, "others", "others.py"))


def test_a_copy_is_known_by_its_distribution_whichever_folder_it_was_made_from(
    project: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`COPY . /build; pip install /build` in an image: that folder was judged in the place of the file, and both arms
    ran the same code.
    """
    (project.path / "pyproject.toml").write_text('[project]\nname = "acme"\n')
    project.commit("a distribution")
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    found = installed(tmp_path / "site-packages", "acme", "acme/__init__.py", {})
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    with pytest.raises(WrongTreeError, match="imported acme from"):
        check(other, "acme", as_told(monkeypatch, "acme", found))


def test_what_is_installed_in_place_from_another_clone_is_not_the_trees(
    project: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A linked worktree with the environment of the main clone: both arms ran that one's code."""
    (project.path / "pyproject.toml").write_text('[project]\nname = "acme"\n')
    project.commit("a distribution")
    other = worktree(project.path, "HEAD", project.path / ".harness" / "trees")
    clone = tmp_path / "clone"
    installed(tmp_path / "site-packages", "acme", "acme.pth", {"editable": True}, clone.as_uri())
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    with pytest.raises(WrongTreeError, match="imported acme from"):
        check(other, "acme", clone / "python" / "acme" / "__init__.py")
    check(other, "torch", clone / ".venv" / "lib" / "python3.11" / "site-packages" / "torch" / "__init__.py")


@pytest.mark.parametrize("place", ["site-packages", "given"])
def test_a_copy_that_was_made_from_the_working_tree_is_its_code(
    project: Folder, other: Tree, tmp_path: Path, place: str
) -> None:
    """No `pyproject.toml` says its name, and its package lies in neither folder that is looked into."""
    found = installed(tmp_path / place, "own", "parts_of_mine/__init__.py", {}, project.path.as_uri())
    with pytest.raises(WrongTreeError, match="parts_of_mine"):
        check(other, "parts_of_mine", found)


def test_what_was_imported_is_told_by_its_file(tmp_path: Path) -> None:
    for place in ("site/whole", "site/family/two", "parts/family/one"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "__init__.py").touch()
    code = (
        "import json, numpy, whole, family.one, family.two, sysconfig\n"
        "from harness.worker.imported import imported\n"
        "assert sysconfig.get_config_vars()\n"  # they lie in a module of the standard library with a name of its own
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(json.dumps(imported()))"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(tmp_path / name) for name in ("site", "parts"))},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["whole"] == str(tmp_path / "site" / "whole" / "__init__.py")
    assert found["family.two"] == str(tmp_path / "site" / "family" / "two" / "__init__.py")
    assert not [name for name in found if name.startswith("_sysconfigdata")]
    assert found["family.one"] == str(tmp_path / "parts" / "family" / "one" / "__init__.py")
    assert {"numpy"} <= found.keys()
    assert not {"json", "numpy.linalg", "harness", "harness.worker.imported"} & found.keys()
    assert set(imported.OURS) == {"__main__", "__mp_main__", "harness"}


def test_what_multiprocessing_calls_the_child_itself_is_none_of_the_trees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the harness runs from its own repository, each case in turns with a commit was invalid for it."""
    file = tmp_path / "bootstrap.py"
    file.touch()
    as_told(monkeypatch, "bootstrap", file)
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["bootstrap"])
    assert {"bootstrap", "__mp_main__"} & imported.imported().keys() == {"bootstrap"}


def test_what_a_package_has_from_elsewhere_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setuptools finds what a checkout lacks in the folder that is installed in place, the working tree: unseen, a
    bisect could name the wrong commit. What a package puts there itself, as six and torch do, was found nowhere.
    """
    here, there = tmp_path / "here" / "twofold", tmp_path / "there" / "twofold"
    for file in (here / "__init__.py", here / "own.py", there / "own.py", there / "blocks.py"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            return PathFinder.find_spec(name, [str(there)]) if name.startswith("twofold.") else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    monkeypatch.syspath_prepend(here.parent)
    names = ("twofold", "twofold.own", "twofold.blocks")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in names:
        del sys.modules[name]  # and again when the test ends
    for name in names:
        importlib.import_module(name)
    as_told(monkeypatch, "generated", there / "generated.py")
    for name, module in (("twofold.made", sys.modules["generated"]), ("twofold.named", pytest)):
        monkeypatch.setitem(sys.modules, name, module)
    found = {name: file for name, file in imported.imported().items() if name.startswith("twofold")}
    assert found == {"twofold": str(here / "__init__.py"), "twofold.blocks": str(there / "blocks.py")}


class Answering:
    """A child whose replies are there already, in the place of a process."""

    def __init__(self, *replies: Message) -> None:
        self.replies = list(replies)

    def start(self, *_: object) -> Any:
        return self

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, request: Message) -> None:
        if isinstance(request, Evaluate):
            arrays = {"scores": np.ones(4), "elements": np.zeros(0, np.int64)}
            np.savez(request.output, **arrays, lengths=np.zeros(0, str), asked=np.zeros((), str))

    def reply(self, *_: object) -> Message:
        return self.replies.pop(0)

    def stop(self, _: float) -> Message:
        return self.replies.pop(0)


def test_what_an_evaluation_alone_imports_is_looked_at(project: Folder, other: Tree, tmp_path: Path) -> None:
    """It may be what gives the scores: those of both trees came from one package, and a loss was unchanged."""
    case = cast(Any, SimpleNamespace(id="tiny/reference/cpu", hardware=cpu))
    artefact = Artefact(other, tmp_path, cast(Any, None), fresh=False)
    address = Address(str(other.root), "suites/test_it.py", "test_it", case.id)
    for root, wrong in ((project.path, True), (other.root, False)):
        modules = {"own_network": str(root / "src" / "own_network" / "__init__.py")}
        child = Answering(Evaluated(0.5, "accuracy", "data", {}, OURS, modules), Stopped(0))
        with pytest.raises(WrongTreeError, match="imported own_network from") if wrong else contextlib.nullcontext():
            found = evaluate(case, address, artefact, Plan(), tmp_path / "evaluate.log", child.start)
            assert found.reply.value == 0.5
        assert len(child.replies) == wrong, "what is wrong is told before the child is asked to end"


def test_what_the_calls_of_a_timed_test_alone_import_is_looked_at(
    project: Folder, other: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the test comes to its call, a package that is imported in it is not there yet."""
    nothing = cast(Any, None)
    measurer = timed_test.TestMeasurer(nothing, other, Plan(), tmp_path, nothing, nothing, nothing)
    for root, wrong in ((project.path, True), (other.root, False)):
        modules = {"own_network": str(root / "src" / "own_network" / "__init__.py")}
        ended = Stopped(1, {"iterations": 7}, modules)
        child = Answering(Loaded(0.1, OURS), Settled(1e-3, 9, True), TurnDone((1,), 1), ended)
        monkeypatch.setattr(timed_test, "Child", child.start)
        with pytest.raises(WrongTreeError, match="imported own_network from") if wrong else contextlib.nullcontext():
            facts = measurer._prepare(TimedTest("suites/test_it.py::test_it"), other, tmp_path, "")
            assert facts["iterations"] == 7


def test_two_arms_of_one_package_are_red_and_each_may_have_its_own(
    project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a test of pytest-benchmark's too."""
    (project.path / "suites" / "test_timed.py").write_text(
        "from own_network import LAYERS\n\n\ndef test_sum(benchmark):\n    benchmark(sum, range(1000 * LAYERS))\n"
    )
    project.commit("a timed test")
    (project.path / "src" / "own_network" / "__init__.py").write_text("LAYERS = 2\n")
    monkeypatch.setenv("PYTHONPATH", str(project.path / "src"))
    code, text = project.pytest("suites", "--against", "HEAD", *SHORT)
    assert code == 1, text
    rows = project.run()["comparisons"]
    (comparison,) = (row for row in rows if row["suite"] == "it")
    assert comparison["verdict"] == "invalid"
    assert "imported own_network from" in comparison["reason"]
    (timed,) = (row for row in rows if row["suite"] == "timed")
    assert timed["verdict"] == "invalid"
    assert "imported own_network from" in timed["reason"]
    monkeypatch.delenv("PYTHONPATH")
    (project.path / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    code, text = project.pytest("suites/test_it.py", "--against", "HEAD", *SHORT)
    assert {c["metric"]: c["verdict"] for c in project.run()["comparisons"]}["size"] == "unchanged", text


def test_a_harness_or_a_suite_from_elsewhere_is_not_the_trees(tmp_path: Path) -> None:
    running, tree = str(ROOT / "harness" / "__init__.py"), Tree(tmp_path / "checkout", revision="ab" * 20)
    suite = str(tree.root / "suites" / "test_it.py")
    tree.check(running, suite)
    copy = str(tmp_path / "site-packages" / "harness" / "__init__.py")
    for harness_file, suite_file, what in (
        (copy, suite, "harness"),
        (running, str(tmp_path / "project" / "suites" / "test_it.py"), "the suite"),
    ):
        with pytest.raises(WrongTreeError, match=f"imported {what} from .* hides it"):
            tree.check(harness_file, suite_file)
    own = tree.root / "harness" / "__init__.py"
    own.parent.mkdir(parents=True)
    own.touch()
    tree.check(str(own), suite)
    with pytest.raises(WrongTreeError, match="imported harness from"):
        tree.check(running, suite)  # it has one of its own
