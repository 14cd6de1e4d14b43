"""Whether a GPU ran at the clock that it should have while calls were timed, and what is done where it did not.

A GPU that protects itself from heat or from too much power halves its clock, and every time that is taken then is
wrong. As in nvbench (`--throttle-threshold 0.75`, `--throttle-recovery-delay 0.05`), such calls are rejected and timed
again after a pause. Its clock is counted by a kernel before and after each measurement; here the driver is asked before
and after each list of calls, outside what is timed, so a fall that begins and ends within a few milliseconds is missed.
https://github.com/NVIDIA/nvbench/blob/main/docs/cli_help.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter_ns, sleep
from typing import Any

from harness.hardware.nvml import Clock
from harness.hardware.nvml_devices import opened
from harness.records import Scalar

__all__ = ["ClockWatch"]

THRESHOLD = 0.75
"""Share of the due clock below which calls are rejected; nvbench's default."""
REPEATS = 3
"""How often one list of calls is timed again at most."""
RECOVERY_SECONDS = 0.05
"""The first pause; each further one of the same list is twice as long."""
PAUSES_SECONDS = 2.0
"""All pauses of a process: a device that stays hot does not recover by waiting, and the others' turns wait too."""
STEADY = 0.02
"""Clocks within this share of each other are the same clock."""
LOW_CLOCK = "low_clock"
WAKE_NANOSECONDS = 1_000_000
WAKE_CALLS = 50
RISE_NANOSECONDS = 500_000_000
"""All the calls of a process that wait for the clock of an idle device to rise. It takes tens of milliseconds; one that
never comes is not waited for again."""

Measure = Callable[[Sequence[Any]], tuple[list[int], Any]]


class ClockWatch:
    """Times lists of calls on one device, and again where its clock was too low.

    rejected   calls that were timed again
    throttled  calls whose times stand although the clock was too low: it was when they were repeated, too
    due        the clock in MHz that the device should have; None where it does not tell

    The clock that is due is the highest of the device. While a setting holds it lower (application or display clocks,
    the power limit, sync boost), or a limit of the board or of its voltage, a low clock is no fault. Locked clocks
    (`nvidia-smi --lock-gpu-clocks`) have no query: a low clock that the driver gives no reason for and that is the same
    at every repeat is taken for a locked one, and is what is due from then on.
    """

    def __init__(self, number: int) -> None:
        """Open device `number` and hold it open. Raises `UnavailableError`."""
        self._stack = ExitStack()  # held for as long as the process lives
        self._device = self._stack.enter_context(opened(number))
        self.due = self._device.max_sm_clock()
        self.rejected = 0
        self.throttled = 0
        self._paused = 0.0
        self._risen = 0
        self._lowest: int | None = None
        self._words: set[str] = set()

    def time(self, measure: Measure, inputs: Sequence[Any]) -> tuple[list[int], Any]:
        """What `measure(inputs)` gives at the clock that is due, or after the last repeat.

        Raises `LostError` where the driver fails.
        """
        if not inputs:
            return measure(inputs)
        repeats = 0
        low: list[int] = []
        while True:
            before = self._device.clock()
            times, output = measure(inputs)
            after = self._device.clock()
            faults = self._faults(before, after)
            if not faults:
                self._note(after)
                return times, output
            if faults == {LOW_CLOCK} and after.sm is not None and not after.idle:
                low.append(after.sm)
            if repeats == REPEATS or self._paused >= PAUSES_SECONDS:
                break
            self._words |= faults
            self.rejected += len(times)
            if after.idle or (before.idle and faults == {LOW_CLOCK}):
                self._rise(measure, inputs)
            else:
                self._pause(RECOVERY_SECONDS * 2**repeats)
                _wake(measure, inputs)
            repeats += 1
        if len(low) > REPEATS and max(low) - min(low) <= STEADY * max(low):
            self.due = min(low)
        else:
            self.throttled += len(times)
        self._note(after)
        return times, output

    def report(self) -> Mapping[str, Scalar]:
        """Counts of calls, clocks in MHz, and the slowdowns for which calls were rejected, in words."""
        found: dict[str, Scalar | None] = {
            "rejected_calls": self.rejected,
            "throttled_calls": self.throttled,
            "due_sm_clock": self.due,
            "lowest_sm_clock": self._lowest,
            "rejected_for": " ".join(sorted(self._words)) or "none",
        }
        return {key: value for key, value in found.items() if value is not None}

    def _faults(self, before: Clock, after: Clock) -> set[str]:
        """Why calls between two glances are rejected, in words; nothing where they are not.

        A low clock before them is none: the device may have waited, and calls that are discarded first are for that.
        """
        words = {*before.slowdowns, *after.slowdowns}
        low = self.due is not None and after.sm is not None and after.sm < THRESHOLD * self.due
        if low and not after.limits:
            words.add(LOW_CLOCK)
        return words

    def _note(self, clock: Clock) -> None:
        """Keep the lowest clock at which times were taken that count."""
        if clock.sm is not None:
            self._lowest = clock.sm if self._lowest is None else min(self._lowest, clock.sm)

    def _rise(self, measure: Measure, inputs: Sequence[Any]) -> None:
        """Call until the clock of a device that was idle has come, or is kept down by more than having been idle.

        Else each of the short calls with which an arm settles would be one that is too slow at every repeat.
        """
        while True:
            began = perf_counter_ns()
            _wake(measure, inputs)
            now = self._device.clock()
            self._risen += perf_counter_ns() - began
            if self._risen >= RISE_NANOSECONDS or self._faults(now, now) != {LOW_CLOCK}:
                break

    def _pause(self, seconds: float) -> None:
        sleep(seconds)
        self._paused += seconds


def _wake(measure: Measure, inputs: Sequence[Any]) -> None:
    """Call for a millisecond, and at least once: a pause lets clocks fall and other work take the caches."""
    spent = calls = 0
    while spent < WAKE_NANOSECONDS and calls < WAKE_CALLS:
        spent += sum(measure(inputs[:1])[0])
        calls += 1
