"""What is read back: the folder of reports, the store beside it, the baselines in git."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.baseline.accept import accept
from harness.baseline.log import versions
from harness.baseline.records import Portable, Times, machine_class
from harness.baseline.store import Store as Baselines
from harness.errors import UnavailableError
from harness.files import point_latest
from harness.history import folder
from harness.history.changes import CURE, with_changes
from harness.history.entries import EVERYTHING, Entry, Wanted, entry_of
from harness.history.folder import read_entry
from harness.history.past import baselines_of, levels_of, past_of, series_of
from harness.history.publish import publish, redraw
from harness.history.sources import Sources
from harness.judge import estimate
from harness.plan import Plan
from harness.records import Measurement, Result, Run
from harness.report.journal import Journal
from harness.report.past import Series
from harness.report.record import write_run
from harness.runtimes import packages
from harness.settings import Settings
from tests.bare import run_bare
from tests.cli_runs import IDENTITY, a_case
from tests.folder import git
from tests.history_runs import STEP, a_day, days, steady
from tests.judge_samples import CASE, a_block, a_portable, some_times

ROOT = Path(__file__).parent.parent


def on_disk(reports: Path, runs: list[Run]) -> None:
    for run in runs:
        write_run(run, reports / run.id)
    point_latest(reports / runs[-1].id)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose records the folder reads, in order."""
    found: list[str] = []

    def counted(record: Path) -> Entry | str:
        found.append(record.parent.name)
        return read_entry(record)

    monkeypatch.setattr(folder, "read_entry", counted)
    return found


def test_the_folder_gives_each_run_once_and_oldest_first(tmp_path: Path) -> None:
    runs = days([0.0012, 0.0013, 0.0014])
    on_disk(tmp_path, runs)
    found = folder.entries(tmp_path, 10)
    assert found.entries == tuple(entry_of(run) for run in runs)
    assert found.notes == ()
    assert [entry.run for entry in folder.entries(tmp_path, 2).entries] == [run.id for run in runs[1:]]
    assert [entry.run for entry in folder.entries(tmp_path, 10, at_hand=runs[0].id).entries] == [r.id for r in runs[1:]]
    assert folder.entries(tmp_path / "nowhere", 10) == folder.Found()


def test_what_is_no_history_is_left_out(tmp_path: Path) -> None:
    good, quick, cut = days([0.0012] * 3)
    on_disk(tmp_path, [good, dataclasses.replace(quick, mode="quick"), dataclasses.replace(cut, complete=False)])
    (tmp_path / "2026-09-01_damaged").mkdir()
    (tmp_path / "2026-09-01_damaged" / "run.json").write_text('{"results": [1')
    found = folder.entries(tmp_path, 10)
    assert [entry.run for entry in found.entries] == [good.id]
    (note,) = found.notes
    assert "2026-09-01_damaged" in note


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ('"seconds":0.0', '"seconds":NaN', "NaN is not allowed"),
        ('"schema":', '"schema":1,"schema":', "key 'schema' stands twice"),
        ('"schema":', '"schema":9', "by a newer harness"),
    ],
)
def test_a_record_that_the_report_refuses_is_none_of_the_history(
    tmp_path: Path, old: str, new: str, cause: str
) -> None:
    good, odd = days([0.0012, 0.0013])
    on_disk(tmp_path, [good, odd])
    record = tmp_path / odd.id / "run.json"
    text = record.read_text()
    record.write_text(text.replace(old, new, 1))
    assert record.read_text() != text
    found = folder.entries(tmp_path, 10)
    assert [entry.run for entry in found.entries] == [good.id]
    (note,) = found.notes
    assert cause in note


def test_the_tests_keep_nothing_in_the_store_of_whoever_runs_them() -> None:
    code = "import os, tests.conftest; print(os.environ.get('HARNESS_HISTORY_URL'))"
    team = {"HARNESS_HISTORY_URL": "postgresql://team/runs"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | team, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


def test_large_records_are_not_all_read(tmp_path: Path) -> None:
    runs = days([0.0012] * 4)
    on_disk(tmp_path, runs)
    size = (tmp_path / runs[0].id / "run.json").stat().st_size
    found = folder.entries(tmp_path, 10, most=int(2.5 * size))
    assert [entry.run for entry in found.entries] == [run.id for run in runs[2:]]
    (note,) = found.notes
    assert f"runs before {runs[2].id} were left out" in note


def test_runs_without_a_wanted_value_and_later_ones_take_no_place(tmp_path: Path) -> None:
    wanted = days([0.0012, 0.0013, 0.0014, 0.0015])
    on_disk(tmp_path, [*wanted, *(a_day(number, name="b") for number in range(5, 8))])
    asked = Wanted(glob="a/*", metrics=["latency.p50"])
    assert [entry.run for entry in folder.entries(tmp_path, 2, asked).entries] == [run.id for run in wanted[2:]]
    found = folder.entries(tmp_path, 2, asked, before=wanted[2].started)
    assert [entry.run for entry in found.entries] == [run.id for run in wanted[1:3]]
    assert folder.entries(tmp_path, 2, Wanted(glob="a/*", metrics=["energy.per_call"])) == folder.Found()


def test_many_runs_of_one_case_do_not_hide_those_of_another(tmp_path: Path) -> None:
    runs = [*(a_day(number) for number in range(1, 11)), *(a_day(number, name="b") for number in range(11, 22))]
    on_disk(tmp_path, runs)
    found = folder.entries(tmp_path, 10)
    assert [entry.run for entry in found.entries] == [run.id for run in (*runs[:10], *runs[11:])]
    assert found.notes == ()
    several = Wanted(cases={("toys", "a/reference/cpu"), ("toys", "b/reference/cpu")}, metrics=["latency.p50"])
    assert folder.entries(tmp_path, 10, several).entries == found.entries


def test_runs_that_add_nothing_end_the_search(tmp_path: Path, read: list[str]) -> None:
    runs = [a_day(1, name="b"), *(a_day(number) for number in range(2, 10))]
    on_disk(tmp_path, runs)
    newest = [run.id for run in reversed(runs)]
    assert [entry.run for entry in folder.entries(tmp_path, 2).entries] == [run.id for run in runs[-2:]]
    assert read == newest[:4], "two runs of the case, and two that add none"
    read.clear()
    folder.entries(tmp_path, 2, Wanted(cases={("toys", "a/reference/cpu")}))
    assert read == newest[:2], "whoever names the cases has them all"


def with_journal(reports: Path, run: Run) -> Journal:
    """A run on disk as its session leaves it."""
    journal = Journal(reports / run.id)
    journal.start(run)
    write_run(run, journal.path.parent, journal)
    journal.end(finished=run.finished, seconds=run.seconds, complete=run.complete)
    return journal


def test_what_the_journal_says_is_refused_is_not_read(tmp_path: Path, read: list[str]) -> None:
    """No store knows it, so that each look back read it all once more, until older runs were left out for its size."""
    before = days([0.0012, 0.0013])
    for run in before:
        with_journal(tmp_path, run)
    for number, state in enumerate([{"against": "HEAD"}] * 3 + [{"against": "HEAD", "at": "abc1234"}], start=3):
        run = a_day(number)
        beside = dataclasses.replace(run.environment, state=state)
        with_journal(tmp_path, dataclasses.replace(run, environment=beside))
    with_journal(tmp_path, a_day(7, mode="quick"))
    cut = with_journal(tmp_path, a_day(8, complete=False))
    known = {(run.id, run.started, run.environment.commit) for run in before}
    assert folder.entries(tmp_path, 10, known=known, most=1) == folder.Found()
    assert read == []
    run = a_day(9)
    with_journal(tmp_path, run)
    assert folder.entries(tmp_path, 10, known=known) == folder.Found((entry_of(run),))
    assert read == [run.id]
    read.clear()
    cut.path.unlink()
    assert folder.entries(tmp_path, 10, known=known) == folder.Found((entry_of(run),))
    assert read == [run.id, a_day(8).id], "without a journal the record alone can tell"


def test_of_a_run_that_is_known_one_line_is_read_and_it_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look back decoded the journals of all runs that the store has."""
    runs = days([0.0012, 0.0013, 0.0014])
    for run in runs:
        with_journal(tmp_path, run)
    outline, decoded = Journal.outline, list[str]()

    def counted(place: Path) -> Run | None:
        decoded.append(place.name)
        return outline(place)

    monkeypatch.setattr(Journal, "outline", counted)
    known = {(run.id, run.started, run.environment.commit) for run in runs[1:]}
    assert folder.entries(tmp_path, 1, known=known).entries == (entry_of(runs[0]),)
    assert decoded == [runs[0].id]
    (tmp_path / runs[2].id / "journal.jsonl").write_text("[")
    assert folder.entries(tmp_path, 1, known=known).entries == (entry_of(runs[2]),), "which nothing tells from another"


def test_large_records_are_not_all_read_in_search_of_a_case(tmp_path: Path) -> None:
    first, *others = [a_day(1), *(a_day(number, name="b") for number in range(2, 6))]
    on_disk(tmp_path, [first, *others])
    size = (tmp_path / first.id / "run.json").stat().st_size
    found = folder.entries(tmp_path, 10, Wanted(glob="a/*"), most=int(2.5 * size))
    assert found.entries == ()
    (note,) = found.notes
    assert f"runs before {others[-2].id} were left out" in note


def test_the_store_and_the_folder_are_read_together(tmp_path: Path) -> None:
    pytest.importorskip("alembic")
    runs = days([0.0012, 0.0013, 0.0014])
    on_disk(tmp_path / "reports", runs[1:])
    sources = Sources(tmp_path / "reports", tmp_path / "baselines")
    assert sources.record(entry_of(runs[0]))
    assert sources.record(entry_of(runs[1]))
    assert (tmp_path / "reports" / "history.db").is_file()
    assert sources.entries(10).entries == tuple(entry_of(run) for run in runs)
    assert dataclasses.replace(sources, store="off").entries(10).entries == tuple(entry_of(run) for run in runs[1:])


def test_a_run_is_read_although_another_one_of_its_id_is_kept(tmp_path: Path) -> None:
    """Machines of a team that start one in the same second may share its id: the own one was gone from the history."""
    pytest.importorskip("alembic")
    own, other = a_day(1, 0.0012), a_day(1, 0.0024)
    other = dataclasses.replace(other, environment=dataclasses.replace(other.environment, commit="c" * 40))
    with_journal(tmp_path / "reports", own)
    sources = Sources(tmp_path / "reports", tmp_path / "baselines")
    assert sources.record(entry_of(other))
    assert sources.entries(10).entries == (entry_of(own), entry_of(other))
    on_disk(tmp_path / "copied", [own])  # whose journal was left behind
    copied = Sources(tmp_path / "copied", tmp_path / "baselines", str(tmp_path / "reports" / "history.db"))
    assert copied.entries(10).entries == (entry_of(own), entry_of(other))


def test_the_record_of_a_run_at_hand_is_not_read(tmp_path: Path) -> None:
    first, second = days([0.0012, 0.0013])
    on_disk(tmp_path, [first, second])
    (tmp_path / second.id / "run.json").write_text("no record")
    found = Sources(tmp_path, tmp_path, "off").entries(10, at_hand=second.id)
    assert found == folder.Found((entry_of(first),))


def test_a_store_that_can_t_be_read_is_a_note(tmp_path: Path) -> None:
    pytest.importorskip("alembic")
    runs = days([0.0012, 0.0013])
    on_disk(tmp_path / "reports", runs)
    (tmp_path / "reports" / "history.db").write_text("nothing of ours\n" * 200)
    found = Sources(tmp_path / "reports", tmp_path / "baselines").entries(10)
    assert found.entries == tuple(entry_of(run) for run in runs)
    (note,) = found.notes
    assert "history.db is damaged" in note


def test_a_run_is_kept_by_libraries_that_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors in these tests, as they may be in a project."""
    kept: list[Entry] = []

    def record(self: Sources, entry: Entry) -> None:
        warnings.warn("it will be dropped", DeprecationWarning, stacklevel=2)
        kept.append(entry)

    monkeypatch.setattr(Sources, "record", record)
    run = a_day(1)
    journal = Journal(tmp_path / "reports" / run.id)
    journal.start(run)
    settings = Settings(tmp_path, tmp_path / "baselines", tmp_path / "reports", tmp_path / ".harness", Plan())
    assert publish(run, journal.path.parent, settings, journal) == ""
    assert [entry.run for entry in kept] == [run.id]


def test_the_variable_names_the_store_and_the_option_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Sources(tmp_path, tmp_path)
    assert sources.asked == ""
    monkeypatch.setenv("HARNESS_HISTORY_URL", "postgresql://host/runs")
    assert sources.asked == "postgresql://host/runs"
    assert dataclasses.replace(sources, store="off").asked == "off"
    assert dataclasses.replace(sources, store="off").open() is None


def test_without_the_extra_only_who_asks_for_the_store_is_told(tmp_path: Path) -> None:
    on_disk(tmp_path, days([0.0012] * 9))
    code = f"""
from pathlib import Path
from harness.cli.main import main
from harness.history.sources import Sources
here = Path({str(tmp_path)!r})
assert Sources(here, here).open() is None
assert Sources(here, here).record(None) is False
code = main(["history", "a/*", "--reports", str(here), "--baselines", str(here / "none")])
print(code, main(["history", "--reports", str(here), "--record", str(here / "latest"), "--history", "x.db"]))
"""
    done = run_bare(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "9 runs" in done.stdout
    assert "change points need ruptures; pip install 'inference-harness[history]'" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 2"
    assert (
        "the history store can't be used: sqlalchemy and alembic are not installed "
        "(pip install 'inference-harness[history]')"
    ) in done.stderr


def test_libraries_that_are_too_old_are_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With SQLAlchemy 1.4, as of Airflow 2, each run told of a fault of ours, and `harness history` was a traceback."""
    pytest.importorskip("alembic")
    pytest.importorskip("ruptures")
    for name, version in (("SQLAlchemy", "1.4.54"), ("ruptures", "1.0")):
        information = tmp_path / f"{name}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(packages, "_too_old", packages._too_old.__wrapped__)  # what it keeps is of the real ones
    sources = Sources(tmp_path, tmp_path)
    assert sources.open() is None
    needed = r"sqlalchemy 1\.4\.54 is installed, and 2\.\S+ or newer is needed \(pip install --upgrade "
    with pytest.raises(UnavailableError, match=needed):
        dataclasses.replace(sources, store=str(tmp_path / "history.db")).open()
    runs = [entry_of(run) for run in days([0.0012] * 9)]
    (found,) = series_of(runs, len(runs), Wanted(metrics=["latency.p50"]))
    assert with_changes(found).note == CURE


def accepted(baselines: Path, number: int, latency: float, reason: str) -> None:
    run = a_day(number, latency)
    (result,) = run.results
    accept(Baselines(baselines), result, run.environment, reason, run.started)


def test_every_accepted_baseline_is_read_from_git_and_from_the_working_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    baselines = tmp_path / "some" / "baselines"
    accepted(baselines, 1, 0.0012, "first baseline")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    accepted(baselines, 2, 0.0024, "twice the layers")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "two")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "nothing")
    accepted(baselines, 3, 0.0006, "a kernel of its own")
    key = ("toys", "a/reference/cpu")
    found = versions(baselines, [key, ("toys", "unknown/reference/cpu")])
    assert found.keys() == {key}
    reasons = [record.accepted.reason for record in found[key] if isinstance(record, Times)]
    assert reasons == ["first baseline", "twice the layers", "a kernel of its own"]
    assert sum(isinstance(record, Portable) for record in found[key]) == 1
    series = series_of([entry_of(a_day(1, 0.0012))], 10, EVERYTHING)
    levelled = {one.metric: one for one in levels_of(series, Sources(tmp_path, baselines))}
    assert [(level.reason, round(level.value, 5)) for level in levelled["latency.p50"].levels] == [
        ("first baseline", 0.0012),
        ("twice the layers", 0.0024),
        ("a kernel of its own", 0.0006),
    ]
    assert [level.reason for level in levelled["size"].levels] == ["first baseline"]


def test_what_was_taken_back_is_no_version_any_more(tmp_path: Path) -> None:
    """The picture drew the reverted baseline as the one in force, since it was accepted last."""
    git(tmp_path, "init", "-q")
    baselines = tmp_path / "baselines"
    for number, latency, reason in ((1, 0.0012, "first baseline"), (2, 0.0024, "twice the layers")):
        accepted(baselines, number, latency, reason)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", reason)
    key = ("toys", "a/reference/cpu")

    def reasons() -> list[str]:
        return [one.accepted.reason for one in versions(baselines, [key])[key] if isinstance(one, Times)]

    git(tmp_path, "revert", "--no-edit", "HEAD")
    assert reasons() == ["first baseline"]
    accepted(baselines, 3, 0.0025, "twice the layers after all")
    assert reasons() == ["first baseline", "twice the layers after all"]
    git(tmp_path, "commit", "-q", "-a", "-m", "after all")
    assert reasons() == ["first baseline", "twice the layers after all"]
    shutil.rmtree(baselines / "toys")
    assert reasons() == ["first baseline", "twice the layers after all"], "of a case that is gone all is history"


def test_another_block_is_told_as_one_with_the_reason_of_the_change_before_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    baselines = tmp_path / "baselines"
    for number, latency, reason in ((1, 0.0012, "first baseline"), (2, 0.0024, "wider"), (3, 0.00241, "a third")):
        accepted(baselines, number, latency, reason)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", reason)
    series = series_of([entry_of(a_day(1, 0.0012))], 10, EVERYTHING)
    levelled = {one.metric: one for one in levels_of(series, Sources(tmp_path, baselines))}
    assert [(level.when, level.commit, level.reason) for level in levelled["latency.p50"].levels] == [
        (a_day(1).started, f"{1:040x}", "first baseline"),
        (a_day(2).started, f"{2:040x}", "wider"),
        (a_day(3).started, f"{3:040x}", "another block (wider)"),
    ]


def each_acceptance(baselines: Path, steps: Sequence[tuple[str, float, float]]) -> list[Portable | Times]:
    """The records of a case after each acceptance, one a day, by reason, size and memory; times drift a little."""
    records: list[Portable | Times] = []
    for number, (reason, size, memory) in enumerate(steps, start=1):
        run, result = a_day(number), with_memory(a_case("a", latency=0.0012 * (1 + number / 1000), size=size), memory)
        accept(Baselines(baselines), result, run.environment, reason, run.started)
        found = Baselines(baselines).read("toys", "a/reference/cpu", IDENTITY)
        records += [part for part in (found.portable, found.times) if part]
    return records


def with_memory(result: Result, memory: float) -> Result:
    return dataclasses.replace(
        result, measurements=(*result.measurements, Measurement("memory.peak", estimate([memory]), (memory,)))
    )


def test_a_level_has_the_reason_of_its_own_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of another one which was accepted at its side; and where nothing of it was accepted, there is none."""
    again = [("again", 2e6, 2e8)] * 8
    steps = [("first baseline", 1e6, 1e8), ("larger", 2e6, 1e8), ("buffers", 2e6, 2e8), *again]
    records = each_acceptance(tmp_path, steps)
    assert records[-1].accepted.reason == "buffers"
    run = dataclasses.replace(a_day(1), results=(with_memory(a_case("a"), 1e8),))
    series = series_of([entry_of(run)], 10, EVERYTHING)

    def levels(known: list[Portable | Times]) -> dict[str, list[tuple[str, str]]]:
        monkeypatch.setattr("harness.history.past.versions", lambda *_: {("toys", "a/reference/cpu"): known})
        found = levels_of(series, Sources(tmp_path, tmp_path))
        return {one.metric: [(level.when[:10], level.reason) for level in one.levels] for one in found}

    first, third = ("2026-01-01", "first baseline"), ("2026-01-03", "buffers")
    found = levels(records)
    assert found["accuracy"] == [first]
    assert found["size"] == [first, ("2026-01-02", "larger")]
    assert found["memory.peak"] == [first, third], "blocks of one value, and none where it is held at those it has"
    others = [(f"2026-01-{day:02}", "another block (first baseline)") for day in range(2, 12)]
    assert found["latency.p50"] == [first, *others], "also on the tenth day, whose oldest block is that of the buffers"
    found = levels(records[-1:])
    assert found["memory.peak"] == [("2026-01-05", "another block (buffers)")]
    assert found["latency.p50"] == [("2026-01-11", "another block (reason not known)")], "a shallow clone knows less"


def test_a_baseline_of_another_question_is_none_of_the_series(tmp_path: Path) -> None:
    accepted(tmp_path / "baselines", 1, 0.0012, "as it was asked")
    sources = Sources(tmp_path, tmp_path / "baselines")
    run = a_day(2)
    (result,) = run.results
    asked = dataclasses.replace(result, workload={**result.workload, "inputs": "other"})
    series = series_of([entry_of(dataclasses.replace(run, results=(asked,)))], 10, EVERYTHING)
    levelled = {one.metric: one for one in levels_of(series, sources)}
    assert levelled["latency.p50"].levels == ()
    # Inputs are no part of what a portable value was asked.
    assert [level.reason for level in levelled["size"].levels] == ["as it was asked"]
    found, _ = baselines_of([], sources, Wanted(metrics=["latency.p50"]))
    (alone,) = levels_of(found, sources)
    assert [level.reason for level in alone.levels] == ["as it was asked"]


def test_a_baseline_in_another_unit_is_none_of_the_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number was drawn in the unit of the runs."""
    times = some_times([a_block({"lag": [12.0, 12.1]})], units={"lag": "ms"})
    portable = a_portable({"cost": 12.0}, units={"cost": "ms"})
    monkeypatch.setattr("harness.history.past.versions", lambda *_: {("digits", CASE): [portable, times]})
    here, named = portable.made_on, [(name, unit) for name in ("cost", "lag") for unit in ("ms", "s")]
    series = [Series("digits", CASE, name, unit, "lower", here) for name, unit in named]
    found = levels_of(series, Sources(tmp_path, tmp_path))
    assert [len(one.levels) for one in found] == [1, 0, 1, 0]


def test_the_level_of_a_baseline_is_the_number_that_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All launches were pooled: a block with more of them drew the line to itself, and one odd memory moved it."""
    numbers = [
        {"latency.p50": [1.0] * 3, "memory.peak": [1.0]},
        {"latency.p50": [1.2] * 11, "memory.peak": [1.0]},
        {"memory.peak": [1.01]},
    ]
    times = some_times([a_block(values) for values in numbers])
    monkeypatch.setattr("harness.history.past.versions", lambda *_: {("digits", CASE): [times]})
    here = machine_class(times.identity)
    series = [
        Series("digits", CASE, *about, "lower", here) for about in (("latency.p50", "s"), ("memory.peak", "bytes"))
    ]
    found = [[level.value for level in one.levels] for one in levels_of(series, Sources(tmp_path, tmp_path))]
    assert found == [[pytest.approx(1.2**0.5)], [1.0]]


def test_damaged_versions_and_folders_without_git_are_no_error(tmp_path: Path) -> None:
    accepted(tmp_path / "baselines", 1, 0.0012, "first baseline")
    (times,) = (tmp_path / "baselines").rglob("times.*.json")
    key = ("toys", "a/reference/cpu")
    assert len(versions(tmp_path / "baselines", [key])[key]) == 2
    times.write_text(times.read_text().replace("0.0012", "0.0011"))
    assert len(versions(tmp_path / "baselines", [key])[key]) == 1
    assert versions(tmp_path / "nowhere", [key]) == {}


def test_a_report_looks_back_no_further_than_its_own_run(tmp_path: Path) -> None:
    pytest.importorskip("ruptures")
    runs = days(STEP)
    on_disk(tmp_path, runs)
    sources = Sources(tmp_path, tmp_path / "baselines", "off")
    redraw(runs[-1], tmp_path / runs[-1].id, sources)
    redraw(runs[9], tmp_path / runs[9].id, sources)
    last, before = ((tmp_path / run.id / "index.html").read_text() for run in (runs[-1], runs[9]))
    assert "latency.p50 went from 1.20" in last
    assert "What changed over time" not in before


def test_a_report_of_an_old_run_looks_back_past_the_newer_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.history.past.LAST", 3)
    runs = days([0.0012] * 9)
    on_disk(tmp_path, runs)
    past = past_of(runs[3], entry_of(runs[3]), Sources(tmp_path, tmp_path / "baselines", "off"))
    (latency,) = (one for one in past.series["toys", "a/reference/cpu"] if one.metric == "latency.p50")
    assert [point.run for point in latency.points] == [run.id for run in runs[1:4]]


def test_a_slower_machine_is_told_as_no_change_of_the_cases(tmp_path: Path) -> None:
    """The ratio to the anchor is steady; the throughput has none, and moves with the latency."""
    pytest.importorskip("ruptures")
    latencies = [*steady(10, around=0.0012), *steady(8, around=0.0015, seed=2)]
    runs = []
    for run, ratio in zip(days(latencies), steady(18, around=0.12, seed=3), strict=True):
        (result,) = run.results
        latency, *others = result.measurements
        items = tuple(1 / value for value in latency.values)
        times = [
            dataclasses.replace(latency, relative=(ratio,) * len(latency.values)),
            Measurement("throughput", estimate(items), items),
        ]
        measured = dataclasses.replace(result, measurements=(*times, *others))
        runs.append(dataclasses.replace(run, results=(measured,)))
    on_disk(tmp_path, runs)
    past = past_of(runs[-1], entry_of(runs[-1]), Sources(tmp_path, tmp_path / "baselines", "off"))
    assert past.of("toys", "a/reference/cpu")
    assert past.changed == []
    (throughput,) = series_of(map(entry_of, runs), 18, Wanted(metrics=["throughput"]))
    assert with_changes(throughput).changes


def test_a_run_that_is_drawn_again_is_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come from a fork."""
    kept: list[Entry] = []
    monkeypatch.setattr(Sources, "record", lambda _, entry: kept.append(entry))
    run = a_day(1)
    redraw(run, tmp_path / run.id, Sources(tmp_path, tmp_path / "baselines", "off"))
    assert (tmp_path / run.id / "index.html").is_file()
    assert kept == []
