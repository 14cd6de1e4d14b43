"""`harness history` shows what was measured before, and keeps runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.baseline.accept import accept
from harness.baseline.store import Store
from harness.cli.main import main
from harness.report.journal import Journal
from harness.report.record import write_run
from tests.history_runs import STEP, a_day, days


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose case became slower at the eleventh of eighteen runs, and whose baseline is the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_HISTORY_URL", raising=False)
    for run in days(STEP):
        write_run(run, tmp_path / "reports" / run.id)
    first = a_day(1, STEP[0])
    accept(Store(tmp_path / "baselines"), first.results[0], first.environment, "first baseline", first.started)
    return tmp_path


def test_a_case_over_runs_and_baselines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ruptures")
    assert main(["history", "a/*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("latency.p50 of toys/a/reference/cpu on cpu-")
    assert ": 18 runs, from 1.1" in lines[0]
    runs = [line for line in lines if ", run 2026-" in line]
    assert len(runs) == 18
    assert "1 Jan 2026, 10:00 UTC" in runs[0]
    (change,) = (line for line in lines if line.startswith("  -- "))
    assert lines.index(change) == lines.index(runs[10]) - 1
    assert "latency.p50 went from 1.20 ms to 1.40 ms" in change
    (baseline,) = (line for line in lines if "baseline 1." in line)
    assert baseline.endswith("accepted at 0000000000: first baseline")


def test_all_cases_on_a_line_each(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(a_day(19, 0.005, name="b"), here / "reports" / "2026-01-19_b")
    assert main(["history"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("toys/a/reference/cpu")
    assert "18 runs on cpu-" in first
    assert "▁" in first
    assert "█" in first
    assert second.startswith("toys/b/reference/cpu")
    assert "1 run on" in second


def test_metrics_and_runs_can_be_chosen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "toys/a/reference/cpu", "--metric", "size", "--metric", "accuracy", "--last", "3"]) == 0
    printed = capsys.readouterr().out
    assert "size of toys/a/reference/cpu" in printed
    assert "3 runs, each 977 KiB" in printed
    assert "accuracy of toys/a/reference/cpu" in printed
    assert "no changes were looked for: 8 runs are needed to look for changes" in printed
    assert printed.count("first baseline") == 2


def test_the_newest_runs_are_those_of_the_case(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(19, 23):
        write_run(a_day(number, name="b"), here / "reports" / f"2026-01-{number}_b")
    assert main(["history", "a/*", "--last", "3"]) == 0
    assert ": 3 runs" in capsys.readouterr().out
    assert main(["history", "toys/a/*", "--metric", "latency.p51"]) == 2
    assert "no run has the metric latency.p51" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1"])
def test_less_than_one_run_is_wrong_usage(here: Path, capsys: pytest.CaptureFixture[str], number: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["history", "--last", number])
    assert end.value.code == 2
    assert "--last: a number of runs is needed, 1 at least" in capsys.readouterr().err


def test_what_shows_nothing_is_given_nothing_to_show(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["history", "a/*", "--metric", "size", "--json", "--history", "team.db", "--record", "reports/x"])
    assert end.value.code == 2
    assert "--record keeps runs and shows nothing: leave out CASE, --metric, --json" in capsys.readouterr().err
    assert not (here / "team.db").exists()


def test_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ruptures")
    assert main(["history", "--json"]) == 0
    (series,) = json.loads(capsys.readouterr().out)["series"]
    assert [point["value"] for point in series["points"]] == pytest.approx(STEP, rel=1e-4)
    assert [change["at"] for change in series["changes"]] == [10]
    assert [level["reason"] for level in series["levels"]] == ["first baseline"]


def test_baselines_alone_are_a_history_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "a/*", "--reports", "nowhere"]) == 0
    printed = capsys.readouterr().out
    assert ": no run" in printed
    assert "first baseline" in printed


def test_a_damaged_baseline_is_a_note(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As where one branch has pruned a case to which another one has added the times of a class."""
    (portable,) = (here / "baselines").rglob("portable.json")
    portable.unlink()
    assert main(["history"]) == 0
    said = capsys.readouterr()
    assert "18 runs on cpu-" in said.out
    assert "portable.json: is missing, and there are times; restore it from git, or delete the folder" in said.err


def test_a_mistyped_case_and_an_empty_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "a/referense/cpu"]) == 2
    assert "no run has the case a/referense/cpu; did you mean a/reference/cpu?" in capsys.readouterr().err
    assert main(["history", "a/*", "--metric", "latency.p51"]) == 2
    assert "no run has the metric latency.p51" in capsys.readouterr().err
    assert main(["history", "--reports", "nowhere", "--baselines", "nowhere"]) == 2
    assert "no run is kept in nowhere or the store; make one with: pytest suites/" in capsys.readouterr().err


def test_runs_are_kept_in_a_store_and_read_without_the_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("alembic")
    runs = sorted(str(path) for path in (here / "reports").iterdir())
    assert main(["history", "--history", "team.db", "--record", *runs]) == 0
    assert capsys.readouterr().out.count(": kept in sqlite:///team.db") == 18
    assert main(["history", "--history", "team.db", "--record", f"{runs[0]}/run.json"]) == 0
    assert ": is kept already in sqlite:///team.db" in capsys.readouterr().out
    assert main(["history", "a/*", "--history", "team.db", "--reports", "nowhere"]) == 0
    assert ": 18 runs" in capsys.readouterr().out


def test_what_can_t_be_kept_is_named_and_the_rest_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("alembic")
    write_run(a_day(20, mode="quick"), here / "quick")
    good = str(next((here / "reports").iterdir()))
    assert main(["history", "--history", "team.db", "--record", "nowhere", str(here / "quick"), good]) == 2
    said = capsys.readouterr()
    assert "nowhere" in said.err
    assert "left out, since it was a smoke test" in said.out
    assert said.out.count(": kept in") == 1


def test_a_run_is_kept_by_its_journal_and_left_out_where_it_did_not_finish(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal alone was no run, so that one that was killed made the command end with 2."""
    pytest.importorskip("alembic")
    Journal(here / "killed").start(a_day(20, complete=False, finished=""))
    run = a_day(1, STEP[0])
    journal = Journal(here / "reports" / run.id)
    journal.start(run)
    journal.append(run.results[0], ())
    journal.end(finished=run.finished, seconds=run.seconds, complete=True)
    good = f"reports/{run.id}"
    record = ["killed", "killed/journal.jsonl", good, f"{good}/journal.jsonl"]
    assert main(["history", "--history", "team.db", "--record", *record]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{path}: left out, since it did not finish" for path in record[:2]]
    assert [line.split(" in ")[0] for line in lines[2:]] == [f"{good}: kept", f"{good}/journal.jsonl: is kept already"]


def test_a_store_that_is_not_there_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("alembic")
    assert main(["history", "a/*", "--history", "mysql://host/runs"]) == 0
    assert "is of an unknown kind" in capsys.readouterr().err
    for typed in ("data/typo.db", "sqlite:///data/typo.db"):
        assert main(["history", "a/*", "--history", typed]) == 0
        said = capsys.readouterr()
        assert ": 18 runs" in said.out
        assert "there is no store at sqlite:///data/typo.db yet; harness history --record makes it" in said.err
    assert not (here / "data").exists(), "who reads makes nothing, least of all a source of every artefact"
    assert main(["history", "--history", "off", "--record", "reports/x"]) == 2
    assert "--record: there is no store" in capsys.readouterr().err
