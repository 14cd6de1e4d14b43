"""Which files ask for other packages in one tree than in another."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.measure.pins import unlike
from harness.measure.tree import Tree, worktree
from tests.folder import Folder

PROJECT = '[project]\nname = "mine"\ndependencies = ["onnxruntime==1.30.0"]\n\n[tool.ruff]\nline-length = 100\n'


@pytest.fixture
def project(tmp_path: Path) -> Folder:
    """A project that pins packages in several files, as committed."""
    folder = Folder(tmp_path / "project")
    for name in ("constraints.txt", "requirements/dev.txt", "uv.lock", "gone/requirements.txt", "notes.txt"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text("onnxruntime==1.30.0\n")
    (folder.path / "pyproject.toml").write_text(PROJECT)
    folder.commit("start")
    return folder


def found(project: Folder, *, below: str = "") -> tuple[str, ...]:
    """What is not the same in the working tree as at HEAD, for the project in a folder of this repository."""
    root = project.path / below
    return unlike(Tree(root), worktree(root, "HEAD", project.path / ".harness" / "trees"))


def test_what_pins_packages_is_told_by_name_where_it_differs(project: Folder) -> None:
    assert found(project) == ()
    for name in ("constraints.txt", "requirements/dev.txt", "uv.lock", "notes.txt"):
        (project.path / name).write_text("onnxruntime==1.31.0\n")
    (project.path / "gone" / "requirements.txt").unlink()
    (project.path / "setup.cfg").touch()
    project.git("add", "setup.cfg")
    assert found(project) == (
        *("constraints.txt", "gone/requirements.txt", "requirements/dev.txt", "setup.cfg", "uv.lock"),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("1.30.0", "1.31.0", True),
        ("[tool.ruff]", '[build-system]\nrequires = ["hatchling"]\n\n[tool.ruff]', True),
        ("[tool.ruff]", '[dependency-groups]\ndev = ["torch"]\n\n[tool.ruff]', True),
        ("[tool.ruff]", '[project.optional-dependencies]\ngpu = ["torch"]\n\n[tool.ruff]', True),
        ("[project]", "[project", True),
        ("line-length = 100", "line-length = 120", False),
        ('name = "mine"', 'name = "mine"\nversion = "2"', False),
    ],
    ids=["dependency", "build", "group", "extra", "damaged", "tool", "version"],
)
def test_of_a_pyproject_only_what_it_says_of_packages_counts(project: Folder, old: str, new: str, told: bool) -> None:
    (project.path / "pyproject.toml").write_text(PROJECT.replace(old, new))
    assert found(project) == (("pyproject.toml",) if told else ())


def test_a_project_in_a_folder_has_the_files_of_the_repository_too_and_not_those_of_others(project: Folder) -> None:
    for folder in ("ml", "web"):
        (project.path / folder).mkdir()
        (project.path / folder / "requirements.txt").write_text("onnxruntime==1.30.0\n")
    project.commit("two projects")
    for name in ("ml/requirements.txt", "web/requirements.txt", "constraints.txt"):
        (project.path / name).write_text("onnxruntime==1.31.0\n")
    assert found(project, below="ml") == ("constraints.txt", "ml/requirements.txt")


def test_a_folder_that_the_other_commit_lacks_ends_no_run(project: Folder) -> None:
    """A pull request that added or moved the project was refused whole, for want of a folder to call git in."""
    (project.path / "ml").mkdir()
    (project.path / "ml" / "requirements.txt").write_text("onnxruntime==1.31.0\n")
    project.git("add", "ml")
    assert found(project, below="ml") == ()


def test_a_tree_beside_itself_asks_for_the_same(project: Folder) -> None:
    here = Tree(project.path)
    (project.path / "constraints.txt").write_text("onnxruntime==1.31.0\n")
    assert unlike(here, here) == ()
