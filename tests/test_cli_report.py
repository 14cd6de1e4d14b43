"""`harness report` draws from the record, wherever it lies."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.report.journal import Journal
from harness.report.record import read_run, write_run
from tests.cli_runs import a_case, a_run, on_disk


def test_into_the_run_s_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = on_disk(tmp_path, "run", [a_case("a")])
    assert main(["report", run]) == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.parent for path in written] == [Path(run)] * len(written)
    assert {path.name for path in written} == {"index.html", "summary.md"}
    assert "a/reference/cpu" in (Path(run) / "index.html").read_text(encoding="utf-8")


def test_into_another_folder_from_the_file(tmp_path: Path) -> None:
    run = Path(on_disk(tmp_path, "run", [a_case("a")]))
    assert main(["report", str(run / "run.json"), "--output", str(tmp_path / "there")]) == 0
    assert {path.name for path in run.iterdir()} == {"run.json"}
    assert read_run(tmp_path / "there") == read_run(run)


def test_a_run_that_was_cut_short(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.start(a_run([], complete=False, finished="", expected=2))
    journal.append(a_case("a"), ())
    assert main(["report", str(tmp_path)]) == 0
    assert "a/reference/cpu" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "there")]) == 0
    drawn = read_run(tmp_path / "there")
    assert not drawn.complete
    assert [result.case_id for result in drawn.results] == ["a/reference/cpu"]


def test_a_run_that_a_power_cut_ended_is_read_where_warnings_are_errors(tmp_path: Path) -> None:
    """With PYTHONWARNINGS=error it was a traceback, and the exit code that `compare` has for a regression."""
    journal = Journal(tmp_path)
    journal.start(a_run([], complete=False, finished="", expected=2))
    journal.append(a_case("a"), ())
    with journal.path.open("ab") as stream:
        stream.write(b'{"result":')
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("error")
        assert main(["report", str(tmp_path)]) == 0
    assert ["cut off while it was written" in str(one.message) for one in told] == [True]
    assert "a/reference/cpu" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_looking_at_a_run_while_it_goes_on_takes_nothing_from_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.start(a_run([], complete=False, finished="", expected=2))
    journal.append(a_case("a"), ())
    assert main(["report", str(tmp_path)]) == 0
    journal.append(a_case("b"), ())
    assert [result.case_id for result in read_run(tmp_path).results] == ["a/reference/cpu", "b/reference/cpu"]


@pytest.mark.parametrize("output", [(), ("--output", ".")])
def test_a_record_without_a_journal_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: tuple[str, ...]
) -> None:
    """As of one that was downloaded alone: it was written anew, as this version writes it."""
    record = Path(on_disk(tmp_path, "run", [a_case("a")])) / "run.json"
    record.write_text(f" {record.read_text(encoding='utf-8')}", encoding="utf-8")
    before = record.read_bytes()
    monkeypatch.chdir(record.parent)
    assert main(["report", str(record.parent), *output]) == 0
    assert record.read_bytes() == before
    assert (record.parent / "index.html").exists()


@pytest.mark.parametrize("source", ["", "run.json", "journal.jsonl"])
def test_the_record_that_a_run_wrote_at_its_end_stays(tmp_path: Path, source: str) -> None:
    """Its journal lacks what was compared with, and what it handed on of an earlier run."""
    run = a_run([a_case("a"), a_case("b")], complete=False, baselines={"toys/a/reference/cpu": {"commit": "abc"}})
    journal = Journal(tmp_path)
    journal.start(run)
    journal.append(run.results[0], ())
    journal.end(finished=run.finished, seconds=1.0, complete=False)
    record = write_run(run, tmp_path)
    before = record.read_bytes()
    assert main(["report", str(tmp_path / source)]) == 0
    assert record.read_bytes() == before
    assert (tmp_path / "index.html").exists()
