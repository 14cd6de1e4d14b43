"""What the harness needs to know of a kind of hardware."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from harness.records import Scalar

__all__ = ["Hardware"]


@runtime_checkable
class Hardware(Protocol):
    """A kind of hardware on the third axis of a grid: a frozen dataclass of scalars with these members.

    The parent process calls `available`, `describe`, `state` and `environment`; the others run in the child that
    serves an arm, after `enter`. `harness.testing.check_hardware` tries them all.

    A hardware may have more:

    watched()    what it noticed in the child while calls were timed, such as clocks and calls that it timed again; a
                 launch's `state` takes it in
    unlimited()  the same hardware without the limits that it sets in `enter`; artefacts are prepared on it, and what
                 fails under the limits is tried there, to tell whether they were the cause
    limits()     what the child is limited to: promise -> what the operating system answered, for the evidence
    energy_meter()  its counter of energy (`harness.hardware.energy.Meter`); that of a CPU is known without
    """

    @property
    def name(self) -> str:
        """The word in case ids; values that time differently have different names (`cpu`, `cpu.2threads`)."""

    def available(self) -> str | None:
        """Why this hardware can't be used here, and the cure; None where it can."""

    def describe(self) -> Mapping[str, Scalar]:
        """The identity: what must be equal for times to be comparable. Never a software version.

        Its `kind` is a word of letters (a to z), digits and the characters _ . -: files of times are called by it.
        """

    def state(self) -> Mapping[str, Scalar]:
        """What changes from minute to minute: clocks, throttling, other processes."""

    def environment(self) -> Mapping[str, str]:
        """Environment variables of the children, such as thread counts that libraries read when they are imported."""

    def enter(self) -> None:
        """Make this process ready: threads, affinity, device. Called before the runtime is imported."""

    def settle(self) -> None:
        """Called between loading and the first timed call: pin what will run, on hardware where that steadies it."""

    def time_calls(self, call: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[int], Any]:
        """Call once for each element of `inputs` and give the nanoseconds of each call, and the last output.

        The clock is the hardware's: wall time on a CPU, device events on a GPU. On a device with events, work that a
        call leaves unfinished belongs to that call; on a CPU nothing waits for it.
        """

    def reset_memory(self) -> None:
        """Start a new peak of device memory."""

    def peak_memory(self) -> Mapping[str, float]:
        """Peaks since `reset_memory`, by metric name (`gpu_memory.allocated`); empty where there is no own memory."""
