"""An update that can't be written, or has nothing sound to extend, is said of its case, in a run that is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.folder import PLAN, Folder

UPDATE = ("suites", "--baseline=update", "--reason", "first figures", *PLAN)
CASE = "tiny_onnx/reference/cpu"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "project")
    grid = "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_it(case, bench): bench(case)"
    folder.suite("test_first", grid)
    return folder


def errors(folder: Folder) -> list[dict]:
    return [one for one in folder.run()["comparisons"] if one["verdict"] == "error"]


def test_a_baseline_that_cant_be_written_is_an_error_of_its_case(folder: Folder) -> None:
    folder.suite("test_second", (folder.path / "suites" / "test_first.py").read_text())
    (folder.path / "baselines").mkdir()
    (folder.path / "baselines" / "first").write_text("a file, where the folder of the suite should be")
    code, text = folder.pytest(*UPDATE)
    assert code == 1, text
    assert "Traceback" not in text
    assert f"FAILED: the baselines of 1 case were not written: first/{CASE}" in text
    (error,) = errors(folder)
    assert (error["suite"], error["case_id"]) == ("first", CASE)
    assert "can't be written" in error["reason"]
    latest = (folder.path / "reports" / "latest").resolve().name
    assert f"harness accept --case first/{CASE} --from reports/{latest} " in error["reason"]
    assert folder.run()["complete"]
    assert (folder.path / "reports" / "latest" / "index.html").exists()
    assert list((folder.path / "baselines" / "second").rglob("portable.json"))


def test_a_result_beside_a_damaged_baseline_is_kept(folder: Folder) -> None:
    code, text = folder.pytest(*UPDATE)
    assert code == 0, text
    (portable,) = (folder.path / "baselines").rglob("portable.json")
    damaged = "<<<<<<< ours\n" + portable.read_text()
    portable.write_text(damaged)
    code, text = folder.pytest(*UPDATE)
    assert code == 1, text
    assert folder.result(CASE)["outcome"] == "completed"
    (error,) = errors(folder)
    assert "portable.json" in error["reason"]
    assert portable.read_text() == damaged
