"""Runs of pytest that keep themselves in the history."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("alembic")

from harness.history.store import Store
from tests.folder import PLAN, Folder
from tests.test_report_html import plain

SUITE = """
@grid(model=[tiny], technique=[reference], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""
OFF = ("suites", "--baseline=off", *PLAN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A project with one run, kept in the usual store."""
    found = Folder(tmp_path_factory.mktemp("project"), history="")
    found.suite("test_toys", SUITE)
    code, said = found.pytest(*OFF)
    assert code == 0, said
    return found


def names(file: Path) -> set[str]:
    return {name for name, *_ in Store(str(file)).known()}


def test_a_run_is_kept_beside_the_reports(folder: Folder) -> None:
    file = folder.path / "reports" / "history.db"
    (entry,) = Store(str(file)).entries(10)
    assert entry.run == folder.run()["id"]
    assert entry.mode == "off"
    (kept,) = entry.cases
    measured = folder.result("tiny_onnx/reference/cpu")["measurements"]
    assert {value.metric: value.point for value in kept.values} == {
        one["metric"]: one["estimate"]["point"] for one in measured
    }


def test_the_next_run_draws_the_one_before(folder: Folder) -> None:
    code, said = folder.pytest(*OFF)
    assert code == 0, said
    page = plain((folder.path / "reports" / "latest" / "index.html").read_text())
    assert re.search(r"latency\.p50: 2 runs, (from|each)", page), "two medians may be the same number"
    assert "accuracy: 2 runs, each" in page


def test_a_smoke_test_is_not_kept(folder: Folder) -> None:
    kept = names(folder.path / "reports" / "history.db")
    code, said = folder.pytest("suites", "--quick")
    assert code == 0, said
    assert folder.run()["id"] not in kept
    assert names(folder.path / "reports" / "history.db") == kept


def test_another_store(folder: Folder) -> None:
    kept = names(folder.path / "reports" / "history.db")
    code, said = folder.pytest(*OFF, "--history", ".team/runs.db")
    assert code == 0, said
    assert names(folder.path / ".team" / "runs.db") == {folder.run()["id"]}
    assert names(folder.path / "reports" / "history.db") == kept


def test_a_store_that_fails_is_a_warning_and_no_verdict(folder: Folder) -> None:
    # Nobody listens there; and without psycopg the same address stands beside what to install.
    url, cause = "postgresql://someone:secret@127.0.0.1:1/runs", "127.0.0.1:1/runs"
    code, said = folder.pytest(*OFF, "--history", url)
    assert code == 0, said
    (warning,) = (line for line in said.splitlines() if "warning: this run was not kept in the history" in line)
    assert cause in warning
    record = (folder.path / "reports" / "latest" / "run.json").read_text()
    assert "secret" not in said.replace(f"--history {url}", "")
    assert "secret" not in record
    page = (folder.path / "reports" / "latest" / "index.html").read_text()
    assert "secret" not in page
    assert cause in page
