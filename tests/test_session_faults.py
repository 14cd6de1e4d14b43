"""A session that goes wrong: by many faults among its cases, an interrupt, a disk that refuses, a clock that is set."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import io
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import harness.session
from harness.baseline.store import Store, folder_of
from harness.errors import RecordError
from harness.grid import Address, Case
from harness.hardware import Cpu, cpu
from harness.history.entries import entry_of
from harness.history.past import past_of
from harness.history.sources import Sources
from harness.measure.budget import Budget
from harness.measure.case import Measuring
from harness.measure.environment import environment
from harness.names import run_id
from harness.plan import Plan
from harness.records import Environment, Outcome, Result, Run, Verdict
from harness.report.journal import Journal
from harness.report.record import read_run
from harness.report.write import draw
from harness.session import Session
from harness.settings import Decision, Settings
from harness.techniques import reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model
from tests.folder import Folder
from tests.judge_samples import a_portable, a_result, portables

CASES = 500
KNOWN = {"size": 4.0, "parameters": 7.0}
FILE = "suites/test_it.py"

ENDED = {
    Outcome.FAILED: Verdict.ERROR,
    Outcome.OOM: Verdict.ERROR,
    Outcome.KILLED: Verdict.ERROR,
    Outcome.CRASHED: Verdict.ERROR,
    Outcome.TIMEOUT: Verdict.ERROR,
    Outcome.PREMATURE_EXIT: Verdict.ERROR,
    Outcome.INTERRUPTED: Verdict.ERROR,
    Outcome.INVALID: Verdict.INVALID,
    Outcome.UNAVAILABLE: Verdict.MISSING,
}
"""How measuring ends without a number, and what that comes to where there is a baseline."""
SIZES = {
    "larger": Verdict.REGRESSED,
    "smaller": Verdict.IMPROVED,
    "nothing": Verdict.INVALID,
    "lost": Verdict.MISSING,
}
"""Numbers that are not the baseline's."""
BASELINES = {"no baseline": Verdict.NEW, "damaged": Verdict.ERROR}
FAULTS = {**ENDED, **SIZES, **BASELINES}


def measured(
    case: Case, suite: str, nodeid: str, numbers: Mapping[str, Sequence[float]], p50: Sequence[float] = ()
) -> Result:
    """A result with these numbers; `p50` are the latencies over the anchor's."""
    model, technique, hardware = case.words
    names = {"model": model, "technique": technique, "hardware": hardware}
    return a_result(
        numbers, {"latency.p50": p50} if p50 else None, suite=suite, case_id=case.id, nodeid=nodeid, **names
    )


class Told:
    """Measures every case alike, once it has told which: who is told may raise."""

    def __init__(self, tell: Callable[[Case], None], size: float) -> None:
        self._tell, self._size = tell, size

    def measure(
        self, case: Case, _address: Address, suite: str, nodeid: str, _metrics: Mapping[str, object]
    ) -> tuple[Result, None]:
        self._tell(case)
        ratios = [self._size * one for one in (1.0, 1.01, 0.99)]
        numbers = {"size": [self._size], "parameters": [7.0], "latency.p50": [one / 1000 for one in ratios]}
        return measured(case, suite, nodeid, numbers, ratios), None


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment(tmp_path_factory.mktemp("nowhere"), [cpu])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Environment) -> Path:
    """Where sessions are quick: they look at the machine once, at no sources, wait for no disk and draw no report.

    Their ids follow one another.
    """
    numbers = itertools.count(1)
    monkeypatch.setattr(harness.session, "environment", lambda *_: here)
    monkeypatch.setattr(harness.session, "versions_of", lambda _: {})
    monkeypatch.setattr("harness.measure.artefacts.contents", lambda *_, **__: {})
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(harness.session, "run_id", lambda: f"2026-01-01_{next(numbers):06}_1")
    monkeypatch.setattr("harness.history.publish.draw", lambda *_: None)
    return tmp_path


def some_cases(folder: Path, count: int) -> list[Case]:
    model, pipeline = tiny_onnx_model(folder), as_pipeline(reference)
    return [Case(dataclasses.replace(model, name=f"m{number}"), pipeline, cpu) for number in range(count)]


def begun(
    folder: Path,
    cases: Sequence[Case],
    tell: Callable[[Case], None] = lambda _: None,
    size: float = 4.0,
    measurer: Measuring | None = None,
    **said: Any,
) -> Session:
    """A session of these cases, each of this size, which are told of as they are measured; or what `measurer` gives."""
    project = folder / "project"
    project.mkdir(parents=True, exist_ok=True)
    places = (project, folder / "baselines", folder / "reports", folder / "cache")
    settings = Settings(*places, Plan(), history="off", **said)
    own, measures = {"it": ()}, measurer or Told(tell, size)
    return Session(settings, [cpu], len(cases), own, lambda _: None, cases=cases, measuring=lambda _: measures)


def measure(session: Session, case: Case) -> Decision:
    address = Address(str(session.settings.root), FILE, "test_it", case.id)
    return session.measure(case, address, "it", f"{FILE}::test_it[{case.id}]")


def measure_all(session: Session, cases: Iterable[Case]) -> list[Decision]:
    return [measure(session, case) for case in cases]


def ids(of: Iterable[Case | Result]) -> list[str]:
    return [one.id if isinstance(one, Case) else one.case_id for one in of]


class Faulty:
    """Measures cases with these faults by id, and the others as they are known."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        self._faults = faults

    def measure(
        self, case: Case, _address: Address, suite: str, nodeid: str, _metrics: Mapping[str, object]
    ) -> tuple[Result, None]:
        fault = self._faults.get(case.id, "")
        if isinstance(fault, Outcome):
            return Result(suite, case.id, nodeid, *case.words, fault, f"it was {fault}"), None
        numbers = {"size": [{"larger": 5.0, "smaller": 3.0, "nothing": 0.0}.get(fault, 4.0)], "parameters": [7.0]}
        if fault == "lost":
            del numbers["size"]
        return measured(case, suite, nodeid, numbers), None


def test_each_of_many_faults_is_told_of_its_own_case(folder: Path) -> None:
    cases = some_cases(folder, CASES)
    # Three of each, far apart: the first and the last case of the run are among them.
    at = [round(place * (CASES - 1) / (3 * len(FAULTS) - 1)) for place in range(3 * len(FAULTS))]
    faults = {cases[place].id: [*FAULTS][count % len(FAULTS)] for count, place in enumerate(at)}
    assert len(faults) == 3 * len(FAULTS)
    assert {cases[0].id, cases[-1].id} <= faults.keys()

    baselines = folder / "baselines"
    store = Store(baselines)
    for case in cases:
        if faults.get(case.id) != "no baseline":
            store.write(a_portable(KNOWN, suite="it", case_id=case.id, nodeid=f"{FILE}::test_it[{case.id}]"))
        if faults.get(case.id) == "damaged":
            (baselines / folder_of("it", case.id) / "portable.json").write_text("{}")
    gone = "gone/reference/cpu"
    store.write(a_portable(KNOWN, suite="it", case_id=gone, nodeid=f"{FILE}::test_it[{gone}]"))

    session = begun(folder, cases, measurer=Faulty(faults))
    for row, portable in session.missing({"suites"}, {("it", case.id) for case in cases}):
        session.add_missing(row, portable)
    decisions = measure_all(session, cases)
    fails = {case.id for case, decision in zip(cases, decisions, strict=True) if decision.fails}
    run, _ = session.finish(complete=True)

    assert {result.case_id: result.outcome for result in run.results} == {
        case.id: fault if isinstance(fault := faults.get(case.id), Outcome) else Outcome.COMPLETED for case in cases
    }
    worst = dict[str, Verdict]()
    for row in run.comparisons:
        worst[row.case_id] = max(row.verdict, worst.get(row.case_id, row.verdict), key=lambda one: one.severity)
        fault = faults.get(row.case_id)
        assert not isinstance(fault, Outcome) or f"it was {fault}" in row.reason
    expected = {case.id: FAULTS.get(faults.get(case.id, ""), Verdict.UNCHANGED) for case in cases}
    assert worst == expected | {gone: Verdict.MISSING}
    assert fails == {case for case, verdict in expected.items() if verdict.fails(strict=False)}
    for kept in (read_run(session.folder), Journal.load(session.folder)):
        assert (kept.results, set(kept.comparisons)) == (run.results, set(run.comparisons))


def test_what_is_made_ahead_asks_of_the_hardware_as_much_as_one_case_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's files were read several times for each case: for ten thousand, most of a minute."""
    asked: list[str] = []
    for name in ("available", "describe"):
        member = getattr(Cpu, name)
        monkeypatch.setattr(Cpu, name, lambda self, name=name, member=member: asked.append(name) or member(self))
    monkeypatch.setattr(harness.session, "time", SimpleNamespace(monotonic=lambda: 100.0))
    cases = some_cases(folder, 20)
    session = begun(folder, cases)
    asked.clear()
    cases[0].unavailable()
    once = [*asked]
    asked.clear()
    address = Address(str(session.settings.root), FILE, "test_it", cases[0].id)
    session.make_ahead([(case, dataclasses.replace(address, case_id=case.id), "it") for case in cases], lambda *_: None)
    assert asked == once


@pytest.mark.parametrize(
    ("revision", "verdict", "accepted"), [("v1", Verdict.REGRESSED, False), ("", Verdict.UNCHANGED, True)]
)
def test_a_run_is_judged_by_the_baselines_of_the_commit_that_it_names(
    folder: Path, revision: str, verdict: Verdict, accepted: bool
) -> None:
    """By those of the working tree what got worse since a release would be unchanged; nor is it advised to accept into
    those of a commit.
    """
    (case,) = some_cases(folder, 1)
    repository, store = Folder(folder), Store(folder / "baselines")
    known = a_portable({"size": 4.0}, suite="it", case_id=case.id, nodeid=f"{FILE}::test_it[{case.id}]")
    store.write(known)
    repository.commit("released")
    repository.git("tag", "v1")
    store.write(dataclasses.replace(known, values={"size": 5.0}))
    session = begun(folder, [case], measurer=Faulty({case.id: "larger"}), revision=revision)
    decision = measure(session, case)
    rows = {row.metric: row for row in decision.comparisons}
    assert rows["size"].verdict is verdict
    assert decision.fails is (verdict is Verdict.REGRESSED)
    assert rows["parameters"].verdict is Verdict.NEW
    assert ("harness accept" in rows["parameters"].reason) is accepted
    assert "harness accept" not in decision.message


UPDATE = {"mode": "update", "reason": "first figures"}
WRITE = os.write


@pytest.mark.parametrize("complete", [True, False])
def test_an_update_that_is_cut_short_moves_no_baseline(folder: Path, complete: bool) -> None:
    cases = some_cases(folder, 1)
    session = begun(folder, cases, **UPDATE)
    assert not any(one.fails for one in measure_all(session, cases))
    session.finish(complete=complete)
    assert [one.case_id for one in portables(Store(folder / "baselines"))] == (ids(cases) if complete else [])


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("writing", [False, True], ids=["before its number", "in its line of the journal"])
def test_an_interrupt_at_any_case_loses_nothing_that_was_decided(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writing: bool, number: int
) -> None:
    """What is decided and has no line yet is in the record, and of half a line nothing stays in the journal."""
    cases = some_cases(folder, 6)
    lines = itertools.count(-1)  # the first one is of the run

    def tell(case: Case) -> None:
        if not writing and case is cases[number]:
            raise KeyboardInterrupt

    def write(descriptor: int, data: bytes) -> int:
        if writing and next(lines) == number:
            WRITE(descriptor, data[: len(data) // 2])
            raise KeyboardInterrupt
        return WRITE(descriptor, data)

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", write)
        session = begun(folder, cases, tell, **UPDATE)
        with pytest.raises(KeyboardInterrupt):
            measure_all(session, cases)
    run, why = session.finish(complete=False)
    decided, left = cases[: number + writing], cases[number + writing :]
    assert (ids(run.results), run.complete, why) == (ids(decided), False, None)
    assert read_run(session.folder) == run
    journal = Journal.load(session.folder)
    assert (ids(journal.results), journal.complete) == (ids(cases[:number]), False)
    assert (folder / "reports" / "latest").resolve() == session.folder.resolve()
    assert not (folder / "baselines").exists()

    measured: list[Case] = []
    again = begun(folder, cases, measured.append, resume=True, **UPDATE)
    assert not any(one.fails for one in measure_all(again, cases))
    whole, why = again.finish(complete=True)
    assert ids(measured) == ids(left)
    assert whole.results[: len(decided)] == run.results
    assert (ids(whole.results), whole.complete, why) == (ids(cases), True, None)
    assert {one.case_id for one in portables(Store(folder / "baselines"))} == {*ids(cases)}


class Disk:
    """A disk that takes half of what is written with this number, or nothing where it is no write; the first is 1.

    Where it is `full`, that holds for all that follows, too.
    """

    def __init__(self, last: int, *, full: bool) -> None:
        self.last, self.full = last, full
        self.asked = 0

    def check(self, half: Callable[[], object] = lambda: None) -> None:
        self.asked += 1
        if self.asked == self.last or (self.full and self.asked > self.last):
            half()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, descriptor: int, data: bytes) -> int:
        self.check(lambda: WRITE(descriptor, data[: len(data) // 2]))
        return WRITE(descriptor, data)

    def checked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def asking(*arguments: Any, **options: Any) -> Any:
            self.check()
            return call(*arguments, **options)

        return asking

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let all that the harness writes go to this disk."""
        for module, name in ((os, "fsync"), (os, "replace"), (os, "symlink"), (tempfile, "mkstemp")):
            monkeypatch.setattr(module, name, self.checked(getattr(module, name)))
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fdopen", lambda descriptor, _: io.BufferedWriter(OnDisk(descriptor, self)))


class OnDisk(io.FileIO):
    """An open file of a `Disk`."""

    def __init__(self, descriptor: int, disk: Disk) -> None:
        super().__init__(descriptor, "wb")
        self._disk = disk

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._disk.check(lambda: io.FileIO.write(self, part[: len(part) // 2]))
        return super().write(part)


def ends_red(folder: Path, cases: Sequence[Case], size: float) -> bool:
    """Whether a run of an update fails, as the plugin drives it: what can't be written fails its test, and where not
    even that can be said, it ends the run.
    """
    try:
        session = begun(folder, cases, size=size, **UPDATE)
    except OSError:
        return True
    except RecordError as error:
        return str(folder) in str(error)
    red, complete = False, True
    for case in cases:
        try:
            red |= measure(session, case).fails
        except OSError as error:
            red = True
            try:
                session.object_to("it", case.id, f"the test failed: {error}")
            except OSError:
                complete = False
                break
    try:
        run, why = session.finish(complete=complete)
    except OSError:
        return True
    return red or not run.complete or why is not None


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("full", [False, True], ids=["once", "from then on"])
def test_whichever_write_fails_nothing_is_half_there_and_nothing_passes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    monkeypatch.setattr("harness.report.journal.SYNC_SECONDS", 0.0)
    monkeypatch.setattr(harness.session, "timestamp", lambda: "2026-01-01T00:00:00+00:00")
    cases = some_cases(folder, 2)
    assert not ends_red(folder / "old", cases, 4.0)
    shutil.copytree(folder / "old" / "baselines", folder / "new" / "baselines")
    assert not ends_red(folder / "new", cases, 3.0)
    old, new = (files_in(folder / name / "baselines") for name in ("old", "new"))
    assert old.keys() == new.keys()
    assert len(old) == 4, "what is the same everywhere, and the times of this machine"
    assert not [name for name, data in old.items() if new[name] == data]

    for number in itertools.count(1):
        disk, place = Disk(number, full=full), folder / str(number)
        shutil.copytree(folder / "old" / "baselines", place / "baselines")
        with monkeypatch.context() as patched:
            disk.put(patched)
            red = ends_red(place, cases, 3.0)
        if disk.asked < number:
            break
        assert red, number
        now = files_in(place / "baselines")
        assert now.keys() == old.keys()
        assert all(data in (old[name], new[name]) for name, data in now.items())
        latest = place / "reports" / "latest"
        if latest.is_symlink():
            run = read_run(latest)
            assert Journal.load(latest).id == run.id
            assert ids(run.results) == ids(cases) or not run.complete
            assert not list(latest.resolve().glob(".*")), "half a file"
        else:
            assert number < 6, "it is made before the first case is measured"
    assert not red
    assert files_in(place / "baselines") == new
    assert number > 30, "with so many writes at the least, each file has a way to fail"


class WallClock:
    """What clocks on walls show, which people and time servers set."""

    def __init__(self) -> None:
        self.time = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)

    def now(self, zone: datetime.tzinfo | None = None) -> datetime.datetime:
        return self.time if zone else self.time.replace(tzinfo=None)

    def move(self, **by: float) -> None:
        self.time += datetime.timedelta(**by)

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the harness see this clock."""
        shown = SimpleNamespace(datetime=SimpleNamespace(now=self.now), UTC=datetime.UTC)
        monkeypatch.setattr("harness.names.datetime", shown)
        monkeypatch.setattr(harness.session, "run_id", run_id)
        monkeypatch.setattr(time, "time", lambda: self.time.timestamp())
        monkeypatch.setattr(time, "time_ns", lambda: int(self.time.timestamp() * 1e9))


@pytest.mark.parametrize("hours", [1, -1])
def test_a_wall_clock_that_is_set_during_a_run_changes_nothing_but_what_it_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Three runs in which it is set at the first case, the second of which is interrupted and gone on with."""
    cases, clock = some_cases(folder, 4), WallClock()
    monkeypatch.setattr("harness.history.publish.draw", draw)
    clock.put(monkeypatch)
    measured: list[Case] = []
    interrupted: list[Case] = []

    def tell(case: Case) -> None:
        if case in interrupted:
            raise KeyboardInterrupt
        if not measured:
            clock.move(hours=hours)
        measured.append(case)

    def run_of(number: int, **said: Any) -> Run:
        clock.move(minutes=10)
        measured.clear()
        interrupted[:] = cases[number:]
        session = begun(folder, cases, tell, mode="off", **said)
        with contextlib.suppress(KeyboardInterrupt):
            measure_all(session, cases)
        run, why = session.finish(complete=number == len(cases))
        assert (why, session.notice) == (None, "")
        assert read_run(folder / "reports" / "latest") == run
        assert (session.folder / "index.html").is_file()
        assert 0 <= run.seconds < 1800
        assert (run.finished > run.started) is (hours > 0)
        return run

    first, cut, resumed, last = run_of(4), run_of(2), run_of(4, resume=True), run_of(4)
    assert len({run.id for run in (first, cut, resumed, last)}) == 4
    assert resumed.results[:2] == cut.results
    assert [ids(run.results) for run in (first, cut, resumed, last)] == [ids(cases[:n]) for n in (4, 2, 4, 4)]
    sources = Sources(folder / "reports", folder / "baselines", "off")
    runs = sorted((first, resumed, last), key=lambda run: run.started)
    assert [entry.run for entry in sources.entries().entries] == [run.id for run in runs]
    past = past_of(runs[-1], entry_of(runs[-1]), sources)
    assert past.notes == ()
    assert {len(one.points) for case in cases for one in past.of("it", case.id)} == {3}

    budget = Budget(600.0, 1)
    budget.begin()
    clock.move(hours=hours)
    assert 0 < budget.end() - time.perf_counter() < 600
