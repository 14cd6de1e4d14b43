"""A scripted GPU behind `torch.cuda`: streams, events, a clock that moves, and graphs that replay real operators.

`FakeDevice` has a clock of its own, in nanoseconds. Work that is queued on it takes as long as its clock, by script,
lets it; events and waits move its time as the real ones do. The same script answers NVML's queries, through `board`.
Graphs are recorded with torch's own dispatch on the CPU: while one is captured nothing has its result, as on a GPU.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.fake_nvml import GIB, FakeBoard

MAX_CLOCK = 1755


@dataclass(frozen=True)
class Clocks:
    """From `since` nanoseconds on the device runs at `sm` MHz, for NVML's `reasons`."""

    since: int
    sm: int = MAX_CLOCK
    reasons: int = 0


class FakeDevice:
    """Work is queued on streams, and time passes when somebody waits.

    calls   what was asked of the device, in order
    script  its clock over its time
    noise   standard deviation of the logarithm of a kernel's time
    sleeps  pauses that the code under test made, in seconds; the device's time passes in them
    pools   the pool of each segment that the allocator holds: (0, 0) is the common one, another a graph's
    """

    def __init__(self, noise: float = 0.0, seed: int = 0) -> None:
        self.now = 1_000_000
        self.main_ready = 0
        self.side_ready = 0
        self.calls: list[str] = []
        self.script = [Clocks(0)]
        self.noise = noise
        self.sleeps: list[float] = []
        self.pools = [(0, 0)]
        self.initialized = True
        self.available = True
        self._rng = random.Random(seed)
        self.board = FakeBoard(
            "GPU-aaaa", sm_clock=lambda: self.clocks.sm, reasons=lambda: self.clocks.reasons, memory=80 * GIB
        )

    @property
    def clocks(self) -> Clocks:
        """What the script says of this moment."""
        return [clocks for clocks in self.script if clocks.since <= self.now][-1]

    def as_torch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put a module `torch` with nothing but this device in the place of the real one, and take over the clocks."""
        torch: Any = ModuleType("torch")
        torch.cuda = SimpleNamespace(**self._members())
        torch.uint8 = "uint8"
        torch.empty = self.empty
        monkeypatch.setitem(sys.modules, "torch", torch)
        self._take_clocks(monkeypatch)

    def in_torch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put this device, and graphs, into the installed torch, whose tensors stay on the CPU."""
        import torch

        from tests.fake_cuda_graph import graph_members

        for name, member in {**self._members(), **graph_members(self)}.items():
            monkeypatch.setattr(torch.cuda, name, member)
        self._take_clocks(monkeypatch)

    def _members(self) -> dict[str, Any]:
        return {
            "Event": lambda enable_timing: _Event(self, enable_timing),
            "synchronize": self.synchronize,
            "is_initialized": lambda: self.initialized,
            "is_available": lambda: self.available,
            "empty_cache": lambda: self.calls.append("empty cache"),
            "reset_peak_memory_stats": lambda: self.calls.append("reset"),
            "max_memory_allocated": lambda: 100,
            "max_memory_reserved": lambda: 200,
            "memory_snapshot": lambda: [{"segment_pool_id": pool} for pool in self.pools],
            "current_device": lambda: 0,
            "get_device_properties": lambda index: SimpleNamespace(L2_cache_size=50),
        }

    def _take_clocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys.modules["harness.hardware.cuda"], "perf_counter_ns", lambda: self.now)
        monkeypatch.setattr(sys.modules["harness.hardware.throttle"], "perf_counter_ns", lambda: self.now)
        monkeypatch.setattr(sys.modules["harness.hardware.throttle"], "sleep", self.sleep)

    def empty(self, size: int, *, dtype: str, device: str) -> Any:
        self.calls.append(f"empty {size} {dtype} {device}")
        return SimpleNamespace(zero_=lambda: self.launch(host=0, main=size * 1000, name="flush"))

    def synchronize(self) -> None:
        self.calls.append("synchronize")
        self.now = max(self.now, self.main_ready, self.side_ready)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += round(seconds * 1e9)

    def launch(self, host: int, main: int, side: int = 0, name: str = "kernel") -> None:
        """The host spends `host` ns; kernels then run on the current stream for `main` ns at full clock, `side` on
        another."""
        self.calls.append(name)
        self.now += host
        slower = MAX_CLOCK / self.clocks.sm * self._rng.lognormvariate(0, self.noise)
        self.main_ready = max(self.now, self.main_ready) + round(main * slower)
        self.side_ready = max(self.now, self.side_ready) + round(side * slower)


class Gpu:
    """What a runtime asks of a GPU that is not here."""

    name = "cuda"

    def describe(self) -> dict[str, str]:
        return {"kind": "cuda"}


class _Event:
    def __init__(self, device: FakeDevice, enable_timing: bool) -> None:
        assert enable_timing
        self._device = device
        self.at = 0

    def record(self) -> None:
        self._device.calls.append("record")
        self.at = max(self._device.now, self._device.main_ready)

    def synchronize(self) -> None:
        self._device.now = max(self._device.now, self.at)

    def elapsed_time(self, end: _Event) -> float:
        return (end.at - self.at) / 1e6


@contextmanager
def noted(device: FakeDevice, before: str, after: str) -> Iterator[None]:
    """Note in the device's calls that something began and ended."""
    device.calls.append(before)
    try:
        yield
    finally:
        device.calls.append(after)
