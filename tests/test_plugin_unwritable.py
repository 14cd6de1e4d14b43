"""A run whose files can't be written or read ends with a sentence that names them, wherever that is found out."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.baseline.store import Store
from harness.plan import Plan
from harness.plugin.progress import writing
from harness.plugin.state import State
from harness.report.record import read_run
from harness.settings import Against
from tests.folder import PLAN, Folder
from tests.judge_samples import a_portable

USAGE = 4
SUITE = """
@grid(model=[tiny], technique=[reference], hardware=[cpu])
def test_it(case, bench):
    bench(case)
    {body}
"""
SKIPPED = """
skipped = pytest.mark.skip(reason="not today")

@skipped
@grid(model=[tiny], technique=[reference], hardware=[cpu])
def test_first(case, bench):
    bench(case)

def test_that_takes_the_journal():
    (models.parent / 'reports/latest/journal.jsonl').unlink()

@skipped
@grid(model=[tiny], technique=[batched(2)], hardware=[cpu])
def test_second(case, bench):
    bench(case)
"""

UNREADABLE = """
import errno
import os
from pathlib import Path

read = Path.read_bytes


def refuse(path):
    if path.name == "portable.json":
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return read(path)


Path.read_bytes = refuse
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "project")


def ended(folder: Folder, body: str, *arguments: str) -> tuple[str, str]:
    """What pytest says when it runs a test that measures its case and then does this: all of it, and the error."""
    folder.suite("test_it", SUITE.format(body=body))
    return broken_off(folder, *arguments)


def broken_off(folder: Folder, *arguments: str) -> tuple[str, str]:
    code, text = folder.pytest("suites", *PLAN, *arguments)
    assert code == USAGE, text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    (said,) = (line for line in text.splitlines() if line.startswith("ERROR: "))
    return text, said


@pytest.mark.parametrize("mode", ["compare", "off"])
def test_a_folder_of_reports_that_is_none(folder: Folder, mode: str) -> None:
    """It is found out at collection where baselines may be missing, and else by the first case."""
    reports = folder.path / "reports"
    reports.touch()
    _, said = ended(folder, "pass", f"--baseline={mode}")
    assert f"make {reports} a folder that can be written, or name another with --reports" in said


def test_a_source_that_cant_be_read(folder: Folder) -> None:
    (folder.path / "table.bin").symlink_to("/proc/self/mem")
    _, said = ended(folder, "pass")
    assert "table.bin can't be read" in said


def test_a_baseline_that_cant_be_read_is_an_error_beside_the_other_cases(folder: Folder) -> None:
    """It was an internal error of pytest's, and nothing was measured."""
    Store(folder.path / "baselines").write(a_portable({"size": 4.0}))
    (folder.path / "conftest.py").write_text(UNREADABLE)
    folder.suite("test_it", SUITE.format(body="pass"))
    code, text = folder.pytest("suites", *PLAN)
    assert code == 1, text
    assert "INTERNALERROR" not in text
    assert "1 failed, 1 passed" in text
    (error,) = (one for one in folder.run()["comparisons"] if one["verdict"] == "error")
    assert "portable.json: can't be read: Permission denied" in error["reason"]
    assert folder.result("tiny_onnx/reference/cpu")["outcome"] == "completed"


def test_a_file_that_the_session_cant_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "table.bin")

    monkeypatch.setattr("harness.session.Session", refused)
    monkeypatch.setattr(State, "_settings", lambda self: None)
    with pytest.raises(pytest.UsageError, match=r"Permission denied: 'table\.bin'"):
        _ = State(None, Plan()).session  # type: ignore[arg-type]


def test_a_report_that_cant_be_written_leaves_the_summary_of_the_tests(folder: Folder) -> None:
    body = "(models.parent / 'reports/latest/index.html/full').mkdir(parents=True); assert not models"
    text, said = ended(folder, body, "--baseline=off")
    assert f"draw it with: harness report {(folder.path / 'reports' / 'latest').resolve()}" in said
    assert "--resume" not in said, "its record is that of a finished run, which would begin anew"
    assert "FAILED suites/test_it.py" in text


def test_a_run_whose_record_cant_be_written_is_gone_on_with(folder: Folder) -> None:
    """As its error says: it did not end, and its journal lacks what only the record has."""
    body = "(models.parent / 'reports/latest/run.json/full').mkdir(parents=True)"
    _, said = ended(folder, body, "--baseline=off")
    latest = (folder.path / "reports" / "latest").resolve()
    assert f"{latest}: this run can't be written" in said
    assert "go on with --resume" in said
    shutil.rmtree(latest / "run.json")
    assert not read_run(latest).complete
    text, _ = ended(folder, body, "--baseline=off", "--resume")
    assert "--resume: 1 cases were measured before the run was interrupted" in text


def test_a_run_in_turns_that_cant_be_written_is_not_gone_on_with(tmp_path: Path) -> None:
    """The error named --resume, which is refused beside --against."""
    session = cast(Any, SimpleNamespace(folder=tmp_path, settings=SimpleNamespace(against=Against("main"))))
    with pytest.raises(pytest.UsageError, match="No space left") as caught, writing(session):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "--resume" not in str(caught.value)
    assert str(caught.value).endswith(f"draw it with: harness report {tmp_path}")


def test_a_journal_that_cant_be_written_any_more(folder: Folder) -> None:
    body = "(models.parent / 'reports/latest/journal.jsonl').unlink(); assert not models"
    _, said = ended(folder, body, "--baseline=off")
    assert f"{(folder.path / 'reports' / 'latest').resolve()}: this run can't be written" in said


def test_a_journal_that_cant_be_written_any_more_at_a_case_that_a_mark_skips(folder: Folder) -> None:
    folder.suite("test_it", SKIPPED)
    text, said = broken_off(folder, "--baseline=off")
    assert f"{(folder.path / 'reports' / 'latest').resolve()}: this run can't be written" in said
    assert "1 passed, 1 skipped" in text
