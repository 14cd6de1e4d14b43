"""Which trees a run measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.plan import Plan
from harness.settings import WORKING_TREE, Against, Settings
from harness.trees import other_tree


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
