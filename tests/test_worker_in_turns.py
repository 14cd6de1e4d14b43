"""The turns of a test of pytest-benchmark's: what is counted as the time of its calls."""

from __future__ import annotations

import inspect
import logging
import time
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.hardware import cpu
from harness.worker import in_turns
from harness.worker.in_turns import Conversation
from harness.worker.protocol import Message, Settle, Settled, Stop, Turn, TurnDone

US, MS = 1_000, 1_000_000


class Scripted(Conversation):
    """Asks for the turns that it is given."""

    def __init__(self, *turns: Turn, iterations: int) -> None:
        super().__init__(cpu, cast(Any, None), cast(Any, None), iterations)
        self.asked: list[Message] = [Settle(), *turns, Stop()]
        self.said: list[Message] = []

    def ask(self) -> Message:
        return self.asked.pop(0)

    def say(self, message: Message) -> None:
        self.said.append(message)

    def ready(self) -> None:
        self.called = True


def fixture_in(talk: Conversation, timer: Callable[[], float] = time.perf_counter) -> Any:
    """pytest-benchmark's own fixture, led through the turns of a talk."""
    made = BenchmarkFixture(
        SimpleNamespace(name="test_it", nodeid="test_it"), disable_gc=False,
        timer=SimpleNamespace(target=timer), min_rounds=5, min_time=0.0, max_time=1.0,
        precision=None, confidence=None, warmup=False, warmup_iterations=0,
        calibration_precision=10, add_stats=lambda _: None, logger=logging.getLogger(), warner=None, disabled=False,
        cprofile=None, cprofile_loops=None, cprofile_dump=None,
    )  # fmt: skip
    made.__class__ = in_turns._in_turns(BenchmarkFixture, talk)
    return made


class Clock:
    """The time of a process that spends what it is told to, and all of it on the processor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._spent = 0
        monkeypatch.setattr(in_turns.time, "process_time_ns", lambda: self._spent)
        monkeypatch.setattr(in_turns, "CLOCK", (self.seconds,))

    def seconds(self) -> float:
        return self._spent / 1e9

    def spending(self, nanoseconds: int) -> Callable[[], None]:
        def spend() -> None:
            self._spent += nanoseconds

        return spend


@pytest.mark.parametrize("warmup_rounds", [0, 3])
@pytest.mark.parametrize("ends", ["neither", "setup", "teardown", "both"])
def test_the_processor_time_is_that_of_the_calls(
    ends: str, warmup_rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setup takes a thousand times as long as a call, a teardown too."""
    clock = Clock(monkeypatch)
    talk = Scripted(Turn(2, 3), Turn(0, 2), Turn(1, 1), iterations=1)
    fixture_in(talk).pedantic(
        clock.spending(US),
        setup=clock.spending(MS) if ends in ("setup", "both") else None,
        teardown=clock.spending(MS) if ends in ("teardown", "both") else None,
        warmup_rounds=warmup_rounds,
    )
    done = [message for message in talk.said if isinstance(message, TurnDone)]
    assert [len(one.nanoseconds) for one in done] == [3, 2, 1]
    assert [one.cpu_nanoseconds for one in done] == [3 * US, 2 * US, 1 * US]


def test_a_round_of_several_calls_has_the_time_of_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Scripted(Turn(1, 4), iterations=5)
    fixture_in(talk)(Clock(monkeypatch).spending(US))
    (done,) = (message for message in talk.said if isinstance(message, TurnDone))
    assert (len(done.nanoseconds), done.cpu_nanoseconds) == (4, 4 * 5 * US)


@pytest.mark.parametrize("own", [1, 5, 20])
def test_rounds_of_a_test_that_insists_on_its_own_number_are_told_as_those_asked_for(
    own: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent divides by one number, that of the working tree, what it hears of two trees."""
    clock = Clock(monkeypatch)
    talk = Scripted(Turn(1, 4), iterations=10)
    fixture_in(talk, clock.seconds).pedantic(clock.spending(US), iterations=own)
    assert talk.iterations == own
    (done,) = (message for message in talk.said if isinstance(message, TurnDone))
    assert done.nanoseconds == (10 * US,) * 4
    assert done.cpu_nanoseconds == 4 * 10 * US


def test_a_test_that_stops_the_clock_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under freezegun each call took no time, so that a round had 50,000 of them."""
    real = time.perf_counter
    for module in (time, in_turns):
        for name in [name for name, value in vars(module).items() if value is real]:
            monkeypatch.setattr(module, name, lambda: 0.0)
    talk = Scripted(Turn(0, 1), iterations=0)
    fixture_in(talk, real)(sum, range(100))
    (settled,) = (message for message in talk.said if isinstance(message, Settled))
    assert settled.call_seconds > 0
    assert talk.iterations < in_turns.iterations_for(0)


class Result:
    """Takes time to be freed, as a large one does."""

    def __init__(self, free: Callable[[], None]) -> None:
        self.free = free

    def __del__(self) -> None:
        self.free()


@pytest.mark.parametrize(("way", "iterations", "seen"), [("call", 1, 3), ("call", 5, 3), ("pedantic", 1, 1)])
def test_what_frees_the_result_is_timed_as_pytest_benchmark_times_it(
    way: str, iterations: int, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call was quicker by that in a round of its own than among others."""
    clock = Clock(monkeypatch)
    spend, free = clock.spending(US), clock.spending(2 * US)

    def work() -> Result:
        spend()
        return Result(free)

    talk = Scripted(Turn(1, 4), iterations=iterations)
    fixture = fixture_in(talk, clock.seconds)
    (fixture if way == "call" else fixture.pedantic)(work)
    (done,) = (message for message in talk.said if isinstance(message, TurnDone))
    assert done.nanoseconds == (iterations * seen * US,) * 4


@pytest.mark.parametrize("iterations", [1, 5])
def test_the_test_is_given_the_result_of_the_last_call_and_none_is_held_until_then(
    iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was one of the warm-up's, which lay in memory through the launch."""
    clock = Clock(monkeypatch)
    spend = clock.spending(US)
    alive: weakref.WeakSet[Result] = weakref.WeakSet()

    def work() -> Result:
        assert not list(alive)
        spend()
        made = Result(lambda: None)
        alive.add(made)
        return made

    talk = Scripted(Turn(1, 4), iterations=iterations)
    result = fixture_in(talk, clock.seconds)(work)
    assert list(alive) == [result]


def test_the_last_call_is_set_up_and_torn_down(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    spend = Clock(monkeypatch).spending(MS)

    def setup() -> tuple[tuple[int], dict[str, object]]:
        done.append("setup")
        return (len(done),), {}

    def work(number: int) -> int:
        spend()
        done.append("call")
        return number

    talk = Scripted(Turn(0, 1), iterations=1)
    result = fixture_in(talk).pedantic(work, setup=setup, teardown=lambda number: done.append("teardown"))
    assert done == ["setup", "call", "teardown"] * (len(done) // 3)
    assert result == len(done) - 2


@pytest.mark.parametrize("ends", ["setup", "teardown"])
def test_a_slow_setup_is_made_a_few_times_only(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that took little were made by the hundred until they were steady, and as many setups of a sixth of a second
    ended the case as a timeout.
    """
    clock = Clock(monkeypatch)
    talk = Scripted(Turn(0, 2), iterations=1)
    slow: dict[str, Callable[[], None]] = {ends: clock.spending(1000 * MS // 6)}
    fixture_in(talk, clock.seconds).pedantic(clock.spending(US), **slow)
    (settled,) = (message for message in talk.said if isinstance(message, Settled))
    (done,) = (message for message in talk.said if isinstance(message, TurnDone))
    assert settled.calls == 6
    assert settled.call_seconds == pytest.approx(1 / 6, rel=1e-4)
    assert done.nanoseconds == (US, US), "what is told is the time of calls alone"


@pytest.mark.parametrize("way", ["__call__", "pedantic"])
def test_parameters_are_named_as_those_of_pytest_benchmark(way: str) -> None:
    """A function with a parameter `function` could not be given it: the name was taken."""
    ours = type(fixture_in(Scripted(iterations=1)))
    own, usual = (list(inspect.signature(getattr(kind, way)).parameters) for kind in (ours, BenchmarkFixture))
    assert own == usual


def test_a_function_is_given_what_its_parameters_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"function": 1, "target": 2, "args": 3, "setup": 4}
    talk = Scripted(Turn(0, 1), iterations=1)
    assert fixture_in(talk, Clock(monkeypatch).seconds)(dict, **given) == given
