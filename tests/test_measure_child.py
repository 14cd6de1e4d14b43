"""Whatever a child does ends as one typed outcome, and never as a result."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import MeasurementError
from harness.hardware import cpu
from harness.measure.child import Child
from harness.measure.sources import relevant_environment
from harness.measure.tree import Tree
from harness.specs import spec_of
from harness.worker.protocol import Load, Loaded, Prepared, Settle, Settled, Stop, Stopped, Turn, TurnDone
from harness.worker.serve import Arm
from harness.worker.serving import Worker, multiply_in_float32, search, untrace
from tests.artefacts import make_artefact
from tests.faulty import Faulty, FaultySession

ROOT = Path(__file__).parent.parent


def child(tmp_path: Path) -> Child:
    return Child("test arm", tmp_path / "log", cpu.environment(), Tree(ROOT))


def load(one: Child, folder: Path) -> Loaded:
    one.ask(Load(str(folder), str(ROOT), spec_of(cpu)))
    return one.reply(Loaded, 30)


def take_turn(one: Child) -> TurnDone:
    one.ask(Turn(discard=0, calls=5))
    return one.reply(TurnDone, 30)


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def runs(group: int) -> bool:
    """Whether a process of the group still runs. What has ended and is reaped by nobody is a zombie, and does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            state, _, of_group, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(of_group) == group and state != "Z":
                return True
    return False


def load_and_turn(one: Child, folder: Path) -> None:
    load(one, folder)
    take_turn(one)


def test_serves_turns_and_ends_with_a_completion_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"):
        monkeypatch.setenv(name, "BF16")
    with child(tmp_path) as one:
        loaded = load(one, make_artefact(tmp_path / "a"))
        one.ask(Settle())
        settled = one.reply(Settled, 10)
        one.ask(Turn(discard=2, calls=5))
        done = one.reply(TurnDone, 10)
        stopped = one.stop(10)
    assert 0 < settled.call_seconds < 0.1
    assert settled.calls >= 5
    assert loaded.harness_file == str(ROOT / "harness" / "__init__.py")
    assert len(done.nanoseconds) == 5
    assert min(done.nanoseconds) > 0
    assert stopped.turns == 1
    assert "loading on standard output" in (tmp_path / "log").read_text()
    assert "oneDNN's products: STRICT" in (tmp_path / "log").read_text(), "or what is float32 by its facts is rounded"


@pytest.mark.parametrize(
    ("fault", "outcome", "words"),
    [
        ("abort", "crashed", "SIGABRT"),
        ("segfault", "crashed", "SIGSEGV"),
        ("exit", "premature_exit", "exit code 0"),
        ("system_exit", "premature_exit", "exit code 0"),
        ("exit_code", "crashed", "exit code 137"),
        ("kill", "killed", "SIGKILL"),
        ("orphan", "killed", "SIGKILL"),
        ("raise", "failed", "the network said no"),
        ("memory", "oom", "Unable to allocate"),
        ("nan", "invalid", "differs from the expected values by nan"),
        ("shape", "invalid", "float32[4, 1] instead of float32[4, 3]"),
        ("dtype", "invalid", "float64[4, 3] instead of float32[4, 3]"),
        ("cached", "invalid", "does not compute what was prepared"),
    ],
)
def test_each_fault_has_its_outcome(tmp_path: Path, fault: str, outcome: str, words: str) -> None:
    folder = make_artefact(tmp_path / "a", fault, after=3)
    with child(tmp_path) as one, pytest.raises(MeasurementError) as caught:
        load_and_turn(one, folder)
    assert caught.value.outcome == outcome
    assert words in str(caught.value)


@pytest.mark.parametrize(("kills", "outcome"), [(4, "oom"), (3, "killed"), (None, "killed")])
def test_only_the_counter_of_the_kernel_tells_a_kill_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int | None, outcome: str
) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 9\noom_kill 3\noom_group_kill 0\n")
    monkeypatch.setattr("harness.measure.child._oom_files", lambda: [tmp_path / "gone", events])
    folder = make_artefact(tmp_path / "a", "kill", after=3)
    with child(tmp_path) as one:
        events.write_text("oom 9\n" if kills is None else f"oom 9\noom_kill {kills}\n")
        with pytest.raises(MeasurementError) as caught:
            load_and_turn(one, folder)
    assert caught.value.outcome == outcome
    assert ("out of memory" in str(caught.value)) == (outcome == "oom")


def test_a_hang_that_holds_the_interpreter_and_ignores_sigterm_is_ended(tmp_path: Path) -> None:
    with child(tmp_path) as one:
        folder = make_artefact(tmp_path / "a", "hang", after=2)
        one.ask(Load(str(folder), str(ROOT), spec_of(cpu)))
        wait_for(lambda: "hanging" in one.tail())
        with pytest.raises(MeasurementError) as caught:
            one.reply(Loaded, 0.5)
    assert caught.value.outcome == "timeout"
    assert "faulty.py" in caught.value.log
    assert one._process.returncode == -signal.SIGKILL, "it did not come to the end of its hang"
    assert not runs(one._process.pid)


def test_a_reply_out_of_turn_is_no_result(tmp_path: Path) -> None:
    with child(tmp_path) as one:
        one.ask(Load(str(make_artefact(tmp_path / "a")), str(ROOT), spec_of(cpu)))
        with pytest.raises(MeasurementError, match="answered Loaded out of turn"):
            one.reply(Prepared, 30)


def test_asking_a_child_that_is_gone_says_how_it_ended(tmp_path: Path) -> None:
    with child(tmp_path) as one:
        one._process.kill()
        one._process.wait()
        with pytest.raises(MeasurementError) as caught:
            take_turn(one)
    assert caught.value.outcome == "killed"


def test_children_of_a_child_do_not_outlive_it(tmp_path: Path) -> None:
    with child(tmp_path) as one:
        folder = make_artefact(tmp_path / "a", "orphan", after=2)
        one.ask(Load(str(folder), str(ROOT), spec_of(cpu)))
        with pytest.raises(MeasurementError):
            one.reply(Loaded, 60)
        group = one._process.pid
    wait_for(lambda: not runs(group))


def test_what_an_arm_holds_is_freed_before_it_says_that_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is ended with that reply, and what a package of AOTInductor had unpacked stayed for ever."""
    monkeypatch.setattr(type(cpu), "settle", lambda _: None)  # which pins the process, here that of the tests
    monkeypatch.setattr(gc, "freeze", lambda: None)
    worker = Worker()
    assert isinstance(worker.answer(Load(str(make_artefact(tmp_path / "a")), "", spec_of(cpu))), Loaded)
    session = weakref.ref(cast(Arm, worker._arm)._loading.session)
    assert isinstance(worker.answer(Settle()), Settled)
    assert isinstance(worker.answer(Turn(discard=2, calls=5)), TurnDone)
    assert session() is not None
    assert worker.answer(Stop()) == Stopped(1)
    assert session() is None


@pytest.mark.parametrize("limited", [False, True])
def test_a_load_makes_no_full_collection_but_the_arms_own_unless_memory_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: bool
) -> None:
    """What libraries make when they are imported lasts, and was looked through each time that it had grown."""
    kept: list[Any] = []
    full: list[str] = []

    def load(runtime: Faulty, folder: Path, hardware: Any) -> FaultySession:
        kept.extend([number] for number in range(5000))
        return FaultySession(runtime)

    def note(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 2:
            full.append(phase)

    folder = make_artefact(tmp_path / "a")
    monkeypatch.setattr(type(cpu), "settle", lambda _: None)  # which pins the process, here that of the tests
    monkeypatch.setattr(Faulty, "load", load)
    if limited:
        monkeypatch.setattr(type(cpu), "limits", lambda _: {}, raising=False)
    usual = gc.get_threshold()
    gc.freeze()  # what else this process holds, of which these objects would be too small a part
    gc.collect()
    monkeypatch.setattr(gc, "freeze", lambda: None)
    gc.set_threshold(50, 2, 2)
    gc.callbacks.append(note)
    try:
        assert isinstance(Worker().answer(Load(str(folder), "", spec_of(cpu))), Loaded)
        after = gc.get_threshold()
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*usual)
        gc.unfreeze()
    assert after == (50, 2, 2)
    assert (full.count("start") > 1) == limited
    assert full.count("start") >= 1, "the arm's own"


def test_what_is_served_keeps_the_collector_that_it_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is set for the latency of the calls, and these are what is timed."""

    def load(runtime: Faulty, folder: Path, hardware: Any) -> FaultySession:
        gc.set_threshold(9000, 8, 7)
        return FaultySession(runtime)

    monkeypatch.setattr(type(cpu), "settle", lambda _: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(Faulty, "load", load)
    usual = gc.get_threshold()
    try:
        assert isinstance(Worker().answer(Load(str(make_artefact(tmp_path / "a")), "", spec_of(cpu))), Loaded)
        assert gc.get_threshold() == (9000, 8, 7)
    finally:
        gc.set_threshold(*usual)


def test_coverage_that_a_process_was_started_with_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-cov starts it in every process, and each arm was timed under its tracer."""
    stopped: list[str] = []
    running = SimpleNamespace(stop=lambda: stopped.append("it"))
    for current in (running, None):
        module = SimpleNamespace(Coverage=SimpleNamespace(current=lambda found=current: found))
        monkeypatch.setitem(sys.modules, "coverage", cast(Any, module))
        untrace()
    monkeypatch.setitem(sys.modules, "coverage", cast(Any, SimpleNamespace()))
    untrace()  # a package of the project's own
    monkeypatch.delitem(sys.modules, "coverage")
    untrace()
    assert stopped == ["it"]


def test_what_keeps_products_in_float32_is_no_part_of_an_artefacts_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each artefact would have been made again, also of who has no such variable."""
    for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"):
        monkeypatch.delenv(name, raising=False)
    assert not any("FPMATH" in name for name in {**cpu.environment(), **relevant_environment()})
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    multiply_in_float32()
    assert os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] == "STRICT"


@pytest.mark.parametrize("own", ["alpha", "beta", ""])
def test_what_lies_beside_the_own_suite_comes_before_the_projects_folder_and_beside_others_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    """And neither before the standard library. Without a suite of its own, a child runs pytest, which sees to that."""
    for name in ("in_each.py", "alpha/in_each.py", "beta/in_each.py", "alpha/this.py", "beta/in_one.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    search([str(tmp_path / own)] if own else [], [str(tmp_path / folder) for folder in ("alpha", "beta")])

    def found(name: str) -> Path:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin)

    assert found("in_each") == tmp_path / own / "in_each.py"
    assert found("in_one") == tmp_path / "beta" / "in_one.py"
    assert not found("this").is_relative_to(tmp_path)
