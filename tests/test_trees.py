"""Which trees a run measures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.plan import Plan
from harness.settings import WORKING_TREE, Against, Settings
from harness.trees import candidate_tree, other_tree
from harness.worker.protocol import SUITE_FOLDERS


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
