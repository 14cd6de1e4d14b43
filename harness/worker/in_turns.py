"""The fixture `benchmark` of a launch: pytest-benchmark's own, whose rounds begin when the parent says so.

What a test gives to it goes to `benchmark.pedantic`, with a `teardown` that answers the parent and waits for its next
request. pytest-benchmark so stays the stopwatch, and the test takes turns with the anchor as every other case does.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import harness
from harness.hardware.base import Hardware

from .imported import imported
from .protocol import Loaded, Message, Settle, Settled, Stop, Turn, TurnDone, receive, send
from .steady import settle

__all__ = ["Conversation", "InTurns", "iterations_for"]

ROUND_SECONDS = 50e-6
"""A round is at least this long: reading the clock, 50 ns, is then a thousandth of it."""
ENDLESS = 2**62
# Kept in a tuple, since a test may stop the clock: freezegun replaces not only `time.perf_counter`, but in every module
# each attribute that is this function.
CLOCK = (time.perf_counter,)


def iterations_for(call_seconds: float) -> int:
    """How many calls make a round long enough: 1, 2, 5, 10, 20 and so on."""
    needed = max(1.0, ROUND_SECONDS / max(call_seconds, 1e-9))
    power = 10 ** math.floor(math.log10(needed))
    return int(next(step * power for step in (1, 2, 5, 10) if step * power >= needed))


class Enough(BaseException):
    """The parent has seen enough. pytest-benchmark's loop is left with it; an `Exception` would be the test's error."""


class Conversation:
    """What the parent asks while the test is inside its call of `benchmark`, and what it is told.

    `iterations` are the calls in a round, 0 until they are known, and `agreed` those that the parent takes a round to
    have, 0 for as many as it has; `called` says whether the test came to its call, and `stopped` whether the parent
    then saw all that it wanted.
    """

    def __init__(self, hardware: Hardware, requests: BinaryIO, replies: BinaryIO, iterations: int) -> None:
        self.iterations = self.agreed = iterations
        self.turns = 0
        self.called = False
        self.stopped = False
        self._hardware = hardware
        self._requests = requests
        self._replies = replies
        self._began = CLOCK[0]()

    def say(self, message: Message) -> None:
        """Answer the last request."""
        send(self._replies, message)

    def ask(self) -> Message:
        """Wait for the next request."""
        line = self._requests.readline()
        if not line:
            raise SystemExit("the harness that started this process is gone")
        return receive(line)

    def ready(self) -> None:
        """The test has called `benchmark`: what it needs is made and loaded."""
        self.called = True
        self._hardware.settle()
        gc.collect()
        gc.freeze()
        modules = {} if self.iterations else imported()  # of the first process alone: the others import the same
        self.say(Loaded(CLOCK[0]() - self._began, str(Path(harness.__file__)), modules))

    def next_turn(self) -> Turn:
        """The next turn that is asked for. Raises `Enough` where there is none."""
        request = self.ask()
        if isinstance(request, Turn):
            return request
        self.stopped = isinstance(request, Stop)
        raise Enough


class InTurns:
    """The fixture `benchmark` of a talk."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk

    @pytest.fixture
    def benchmark(self, benchmark: Any) -> Any:
        """pytest-benchmark's own, whose rounds begin when the parent says so."""
        benchmark.__class__ = _in_turns(type(benchmark), self._talk)
        return benchmark


def _in_turns(kind: Any, talk: Conversation) -> type:
    """pytest-benchmark's class of fixture with the two ways to use it led through turns."""

    class Fixture(kind):
        def __call__(self, function_to_benchmark: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return self._take_turns(_Call(function_to_benchmark, args, kwargs), talk.iterations or None, drops=True)

        def pedantic(
            self,
            target: Callable[..., Any],
            args: Sequence[Any] = (),
            kwargs: Mapping[str, Any] | None = None,
            setup: Callable[[], Any] | None = None,
            teardown: Callable[..., Any] | None = None,
            rounds: int = 1,  # noqa: ARG002 (how many are made is the launch's to say)
            warmup_rounds: int = 0,
            iterations: int | None = 1,
        ) -> Any:
            return self._take_turns(_Call(target, args, kwargs, setup, teardown), iterations, warmup_rounds)

        def _take_turns(
            self, call: _Call, iterations: int | None, warmup_rounds: int = 0, *, drops: bool = False
        ) -> Any:
            target, setup, teardown = call.target, call.setup, call.teardown
            if self.stats is not None or self.disabled:
                return super().pedantic(target, call.args, call.kwargs, setup, teardown)
            talk.ready()
            _settle(talk, call, iterations)
            turns = _Turns(talk)

            def before() -> Any:
                given = setup() if setup else None
                turns.call_begins()
                return given

            def dropping(*args: Any, **kwargs: Any) -> None:
                target(*args, **kwargs)

            def after(*used: Any, **named: Any) -> None:
                turns.call_ended()
                if teardown is not None:
                    teardown(*used, **named)
                turns.round_over(self.stats.stats.data)

            # pytest-benchmark times the freeing of a result too, but in `pedantic` rounds of one call.
            timed = dropping if drops and talk.iterations == 1 else target
            # It takes no `setup` of rounds of several calls.
            first = before if setup else None
            with contextlib.suppress(Enough):
                super().pedantic(timed, call.args, call.kwargs, first, after, ENDLESS, warmup_rounds, talk.iterations)
            return call.result()

    Fixture.__module__, Fixture.__qualname__, Fixture.__name__ = kind.__module__, kind.__qualname__, kind.__name__
    return Fixture


class _Call:
    """What the test gave to `benchmark`, called outside of its rounds: to settle, and for the test's own result."""

    def __init__(
        self,
        target: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
    ) -> None:
        self.target, self.args, self.kwargs = target, args, kwargs or {}
        self.setup, self.teardown = setup, teardown

    def seconds(self, iterations: int) -> float:
        """The seconds of one round, with those of what the test sets up and tears down: rounds take all of that."""
        (now,) = CLOCK
        begun = now()
        args, kwargs = self._given()
        start = now()
        for _ in range(iterations):
            self.target(*args, **kwargs)
        seconds = now() - start
        if self.teardown:
            self.teardown(*args, **kwargs)
        return now() - begun if self.setup or self.teardown else seconds

    def result(self) -> Any:
        """What one more call gives: a result of an earlier one would lie in memory beside those that are timed."""
        args, kwargs = self._given()
        result = self.target(*args, **kwargs)
        if self.teardown:
            self.teardown(*args, **kwargs)
        return result

    def _given(self) -> Any:
        """The arguments of the next call, and those by name."""
        return (self.setup() if self.setup else None) or (self.args, self.kwargs)


def _settle(talk: Conversation, call: _Call, iterations: int | None) -> None:
    """Come to a steady time, and find how many calls make a round where neither test nor harness says it."""
    request = talk.ask()
    if not isinstance(request, Settle):
        raise SystemExit(f"{type(request).__name__} was asked of a test that has not settled")
    found = settle(lambda _: call.seconds(iterations or 1))
    talk.iterations = iterations or iterations_for(found.call_seconds)
    talk.say(Settled(found.call_seconds, found.calls, found.steady))


class _Turns:
    """Counts the rounds of a turn, answers with their times, and waits for the next.

    The CPU time is that of the calls alone, as the times are: what the test does to set up and tear down lies between
    them. Where it sets nothing up, a call begins when the round before is over.
    """

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._begin(talk.next_turn(), 0)
        self.call_begins()

    def _begin(self, turn: Turn, rounds: int) -> None:
        self._turn = turn
        self._timed_from = rounds + turn.discard
        self._cpu = 0

    def call_begins(self) -> None:
        """The next thing that the test does is what is timed."""
        self._began = time.process_time_ns()

    def call_ended(self) -> None:
        """What is timed has been done."""
        self._cpu += time.process_time_ns() - self._began

    def round_over(self, data: Sequence[float]) -> None:
        """A round has ended; `data` are the seconds a call of all so far, without those that only warm up."""
        rounds = len(data)
        if rounds == self._timed_from:
            self._cpu = 0
        elif rounds == self._timed_from + self._turn.calls:
            # A test may insist on rounds of its own. Another tree's are compared with these, and what is said of
            # both is therefore the time of as many calls.
            told = self._talk.agreed or self._talk.iterations
            nanoseconds = [round(seconds * told * 1e9) for seconds in data[-self._turn.calls :]]
            self._talk.turns += 1
            self._talk.say(TurnDone(tuple(nanoseconds), round(self._cpu * told / self._talk.iterations)))
            self._begin(self._talk.next_turn(), rounds)
        self.call_begins()
