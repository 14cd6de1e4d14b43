"""Which trees a run measures."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.hardware import cpu
from harness.plan import Plan
from harness.records import Environment
from harness.session import Session
from harness.settings import WORKING_TREE, Against, Settings
from harness.trees import candidate_tree, other_tree, with_known_commits, with_trees
from harness.worker.protocol import SUITE_FOLDERS
from tests.folder import Folder


@pytest.mark.parametrize(
    ("asked", "used"),
    [("env/bin/python", "{here}/env/bin/python"), ("/opt/bin/python", "/opt/bin/python"), ("python3", "python3")],
)
def test_the_other_interpreter_is_found_from_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, used: str
) -> None:
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    settings = Settings(project, project / "baselines", project / "reports", project / ".harness", Plan(), "pytest")
    assert other_tree(settings, Against(WORKING_TREE, asked)).python == used.format(here=tmp_path)


def test_what_pytest_imports_from_by_itself_is_no_part_of_pythonpath(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a file of the suites would hide one of the same name that is installed."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    folders = {"paths": ("src",), "folders": ("ml", "ml/plain")}
    settings = Settings(
        tmp_path, tmp_path / "baselines", tmp_path / "reports", tmp_path / ".harness", Plan(), **folders
    )
    tree = candidate_tree(settings)
    assert tree.paths == (tmp_path / "src",), "the project's own sources count already"
    assert tree.variables == {
        "PYTHONPATH": str(tmp_path / "src"),
        SUITE_FOLDERS: os.pathsep.join([str(tmp_path / "ml"), str(tmp_path / "ml" / "plain")]),
    }


def settings(folder: Folder) -> Settings:
    path = folder.path
    return Settings(path, path / "baselines", path / "reports", path / ".harness", Plan())


@pytest.fixture
def project(tmp_path: Path) -> Folder:
    """A project with two commits of the same files, and nothing that is not committed."""
    folder = Folder(tmp_path / "project")
    folder.commit("first")
    folder.commit("second")
    return folder


BEFORE = "name the commit before what was pushed, such as its parent"


@pytest.mark.parametrize(
    ("against", "cure"),
    [
        (Against("HEAD"), f"{BEFORE} (HEAD~1), or . to compare the tree with itself"),
        (Against("pushed"), f"{BEFORE} (pushed~1), or . to compare the tree with itself"),
        (Against("origin/main"), f"{BEFORE} (origin/main~1), or . to compare the tree with itself"),
        (Against("FETCH_HEAD"), f"{BEFORE} (FETCH_HEAD~1), or . to compare the tree with itself"),
        (Against("HEAD", at="."), f"{BEFORE} (HEAD~1), or . to compare the tree with itself"),
        (Against("HEAD", at="released"), f"{BEFORE} (HEAD~1)"),
    ],
)
def test_the_measured_commit_is_not_compared_with_itself_by_mistake(
    project: Folder, against: Against, cure: str
) -> None:
    """A job on main that was told to compare with main found nothing worse, whatever was pushed."""
    project.git("tag", "released")
    project.git("branch", "pushed")
    project.git("update-ref", "refs/remotes/origin/main", "HEAD")
    (project.path / ".git" / "FETCH_HEAD").write_text(f"{project.git('rev-parse', 'HEAD')}\t\tbranch 'main'\n")
    with pytest.raises(SuiteError) as caught:
        other_tree(settings(project), against)
    said = f"--against {against.revision} is the commit that is measured, so nothing could be found; {cure}"
    assert str(caught.value) == said
    assert not (project.path / ".harness").exists(), "nothing was checked out for it"


@pytest.mark.parametrize(("named", "at"), [("released", ""), ("HEAD~0", "HEAD"), ("its own name", "")])
def test_a_tag_or_a_commit_that_is_the_measured_one_is_compared_and_told(project: Folder, named: str, at: str) -> None:
    """A nightly that compares with the last release was red on each day on which nothing had come since."""
    project.git("tag", "released")
    revision = project.git("rev-parse", "HEAD") if named == "its own name" else named
    asked = dataclasses.replace(settings(project), against=Against(revision, at=at))
    session = Session(asked, [cpu], 0, {}, lambda _: None)
    assert session.environment.state["same"] == revision
    assert session.notice == f"{revision} is the commit that is measured, so nothing could be found."


@pytest.mark.parametrize(
    "against", [Against("."), Against(".", at="HEAD"), Against("HEAD~1"), Against("HEAD", at="HEAD~1")]
)
def test_what_is_another_tree_or_asked_for_by_its_own_name_is_compared(project: Folder, against: Against) -> None:
    assert other_tree(settings(project), against).root.is_dir()


@pytest.mark.parametrize("hidden", [False, True], ids=["", "status shows nothing untracked"])
@pytest.mark.parametrize("file", ["suites/test_new.py", "suites/__init__.py"], ids=["untracked", "edited"])
def test_a_tree_that_was_edited_is_compared_with_its_commit(project: Folder, file: str, hidden: bool) -> None:
    if hidden:
        project.git("config", "status.showUntrackedFiles", "no")
    (project.path / file).write_text("# edited\n")
    asked = dataclasses.replace(settings(project), against=Against("HEAD"))
    assert other_tree(asked, Against("HEAD")).revision == project.git("rev-parse", "HEAD")
    here = Environment({}, {}, {})
    assert with_trees(here, asked, candidate_tree(asked), None).state == {"against": "HEAD"}


def test_a_file_that_git_calls_edited_in_a_fresh_clone_makes_no_edited_tree(project: Folder) -> None:
    """A rule for line ends had come after it: on main, each job compared the commit with itself and was green."""
    files = [project.path / name for name in ("data.txt", "über uns.txt")]
    for file in files:
        file.write_bytes(b"a\r\n")
    project.commit("files with line ends of Windows")
    (project.path / ".gitattributes").write_text("*.txt text\n")
    project.git("add", ".gitattributes")  # alone, since git would mend the files as well
    project.git("commit", "-q", "-m", "a rule for line ends")
    for file in files:
        os.utime(file, (1, 1))
    assert project.git("diff", "--name-only", "HEAD").count(".txt") == 2
    with pytest.raises(SuiteError, match="is the commit that is measured"):
        other_tree(settings(project), Against("HEAD"))
    files[1].write_bytes(b"b\r\n")
    assert other_tree(settings(project), Against("HEAD")).root.is_dir()


@pytest.mark.parametrize("how", ["deleted", "added", "executable"])
def test_a_tree_with_other_files_or_modes_is_compared_with_its_commit(project: Folder, how: str) -> None:
    if how == "deleted":
        (project.path / "pytest.ini").unlink()
    elif how == "added":
        (project.path / "notes.md").touch()
        project.git("add", "notes.md")
    else:
        (project.path / "pytest.ini").chmod(0o755)
    assert other_tree(settings(project), Against("HEAD")).root.is_dir()


@pytest.mark.parametrize("file", ["junit.xml", "venv/pyvenv.cfg", ".env/settings.py", "reports/data.json"])
def test_a_file_that_is_no_source_makes_no_edited_tree(project: Folder, file: str) -> None:
    """A job's own output was enough for main to be compared with itself."""
    (project.path / file).parent.mkdir(exist_ok=True)
    (project.path / file).touch()
    with pytest.raises(SuiteError, match="is the commit that is measured"):
        other_tree(settings(project), Against("HEAD"))


def test_a_folder_of_pythonpath_outside_of_the_repository_is_the_same_for_every_commit(
    project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked for beside the checkout: in the other arm nothing of it could be imported."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    common = project.path.parent / "common"
    common.mkdir()
    theirs = project.path / "libs" / "theirs"
    (theirs / ".git").mkdir(parents=True)  # as in a submodule, whose folder is empty in a checkout
    asked = dataclasses.replace(settings(project), paths=("../common", "libs/theirs", "src"))
    tree = other_tree(asked, Against("HEAD~1"))
    assert tree.paths == (common, theirs, tree.root / "src")
    assert tree.variables["PYTHONPATH"] == os.pathsep.join(map(str, tree.paths))
    assert candidate_tree(asked).paths == tuple(project.path / path for path in asked.paths)


def test_another_interpreter_is_compared_at_the_measured_commit(project: Folder) -> None:
    assert other_tree(settings(project), Against("HEAD", "python3")).python == "python3"


@pytest.mark.parametrize("revision", [WORKING_TREE, "HEAD"])
def test_other_packages_are_compared_at_the_measured_commit(
    project: Folder, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    """Without an environment of their own the upgrade would be compared with itself."""
    asked: list[tuple[object, ...]] = []

    def python_with(packages: tuple[str, ...], folder: Path, python: str) -> str:
        asked.append((packages, folder, python))
        return "/env/bin/python"

    monkeypatch.setattr("harness.trees.python_with", python_with)
    against = Against(revision, packages=("a==1",))
    tree = other_tree(settings(project), against)
    assert (tree.python, tree.packages) == ("/env/bin/python", ("a",))
    assert asked == [(("a==1",), project.path / ".harness" / "environments", sys.executable)]


def test_a_run_in_turns_says_that_both_arms_have_the_packages_that_one_of_them_asks_for(
    project: Folder,
) -> None:
    """The pull request of an upgrade found nothing worse, whatever the upgrade cost."""
    (project.path / "constraints.txt").write_text("onnxruntime==1.31.0\n")
    project.commit("upgrade")
    asked = dataclasses.replace(settings(project), against=Against("HEAD~1"))
    session = Session(asked, [cpu], 0, {}, lambda _: None)
    assert session.environment.state["pins"] == "constraints.txt"
    assert session.environment.state["against"] == "HEAD~1"
    assert session.notice == (
        "constraints.txt is not as in HEAD~1, and both arms have the packages that are installed here: "
        "--against-with 'NAME==OLD' compares an upgrade."
    )


@pytest.mark.parametrize(
    ("against", "told"),
    [
        (Against("HEAD~1"), {"against": "HEAD~1", "pins": "constraints.txt"}),
        (Against("HEAD~1", python="python3"), {"against": "HEAD~1"}),
        (Against("HEAD", at="HEAD~1"), {"against": "HEAD", "at": "HEAD~1", "pins": "constraints.txt"}),
        (Against("HEAD~1", at="HEAD~2"), {"against": "HEAD~1", "at": "HEAD~2"}),
        (Against("."), {"against": "."}),
    ],
)
def test_what_a_run_says_of_its_trees(project: Folder, against: Against, told: dict[str, str]) -> None:
    (project.path / "constraints.txt").write_text("onnxruntime==1.31.0\n")
    project.commit("upgrade")
    asked = dataclasses.replace(settings(project), against=against)
    here = Environment({}, {}, {"kernel": "6"}, commit="abc", dirty=True)
    found = with_trees(here, asked, candidate_tree(asked), other_tree(asked, against))
    commit = project.git("rev-parse", against.at) if against.at else ""
    assert found.state == {"kernel": "6", **told, **({"at": commit} if commit else {})}
    assert (found.commit, found.dirty) == ((commit, False) if commit else ("abc", True))


def test_a_run_against_baselines_says_nothing_of_trees(project: Folder) -> None:
    here = Environment({}, {}, {"kernel": "6"})
    assert with_trees(here, settings(project), candidate_tree(settings(project)), None) == here


def test_a_commit_that_a_squash_left_behind_is_none_to_measure_again(project: Folder, tmp_path: Path) -> None:
    """The report named it in a command, and git knew it in the clone alone that had made it."""
    known, gone = project.git("rev-parse", "HEAD~1"), "b" * 40
    origins = {
        "gone": {"commit": gone, "when": "", "times": gone},
        "known": {"commit": gone, "when": "", "times": known},
        "edited": {"commit": known, "when": "", "times": f"{gone}-dirty"},
        "without times": {"commit": gone, "when": ""},
    }
    told = {**origins, "gone": {**origins["gone"], "times": ""}}
    assert with_known_commits(project.path, origins) == told
    session = Session(dataclasses.replace(settings(project), history="off"), [cpu], 0, {}, lambda _: None)
    session._baselines.origins |= origins
    run, _ = session.finish(complete=False)
    assert run.baselines == told
    project.git("clone", "-q", "--depth", "1", project.path.as_uri(), str(tmp_path / "shallow"))
    assert with_known_commits(tmp_path / "shallow", origins) == origins, "it may be fetched"
    assert with_known_commits(tmp_path, origins) == origins, "git does not say"
