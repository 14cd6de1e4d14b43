"""An NVIDIA GPU, timed by device events.

Written against the documented interfaces of NVML and `torch.cuda`, and tested with scripted devices. It has not run on
a GPU yet: treat its first numbers as a test of this file.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from harness.errors import MeasurementError, SuiteError, UnavailableError
from harness.hardware import jetson
from harness.hardware.cpu import Cpu
from harness.hardware.nvml_devices import opened
from harness.hardware.nvml_energy import NvmlEnergy
from harness.hardware.throttle import ClockWatch
from harness.records import Scalar

__all__ = ["Cuda", "cuda"]

LATE_NS = 50_000
"""A device-wide wait takes 5 to 10 microseconds when nothing is left to wait for; longer than this, something was."""

_CHOSEN = "HARNESS_CUDA_DEVICE"


@dataclass(frozen=True)
class Cuda:
    """One GPU.

    index     its number under `CUDA_VISIBLE_DEVICES`, in PCI bus order; a child sees this one device alone
    l2_flush  overwrite the GPU's last cache before every timed call, so that each finds weights and inputs in device
              memory, as after other work (cold); without it, calls find what the call before left there (hot)

    Calls during which the device throttled are timed again (`harness.hardware.throttle`). On the CPU side one thread is
    set, and nothing is pinned: the driver's own threads need a core as well.
    """

    index: int = 0
    l2_flush: bool = False
    _watch: ClockWatch | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.index < 0:
            raise SuiteError(f"cuda(index={self.index}): devices are numbered from 0")

    def __call__(self, *, index: int | None = None, l2_flush: bool | None = None) -> Cuda:
        """Another GPU, or the same with cold caches: `cuda(index=1)`, `cuda(l2_flush=True)`."""
        return Cuda(self.index if index is None else index, self.l2_flush if l2_flush is None else l2_flush)

    @property
    def name(self) -> str:
        return "cuda" + (f".{self.index}" if self.index else "") + (".flush" if self.l2_flush else "")

    def available(self) -> str | None:
        try:
            with opened(self._number) as device:
                device.identity()  # one that can't say what it is ends its own cases here, and would end the run later
                device.check_compute_mode()
                driver = device.cuda()
        except UnavailableError as error:
            return str(error)
        if _torch_without_cuda():
            return (
                "the installed torch is a CPU build and can't use the GPU (pip install --force-reinstall torch "
                "with the index that torch's installation page names for this driver)"
            )
        built = _cuda_of_torch()
        if driver is not None and built is not None and driver < built:
            return (
                f"the driver speaks CUDA {driver}, and the installed torch is built for CUDA {built} "
                f"(update the driver, or install a torch that is built for CUDA {driver})"
            )
        return None

    def describe(self) -> Mapping[str, Scalar]:
        """The GPU, its driver and power limit, and the CPU that feeds it: at small batches it sets the pace.

        Where NVML does not tell its highest clock, as on a Jetson, the board and what the kernel tells of the clock.
        """
        with opened(self._number) as device:
            identity = device.identity()
            if device.max_sm_clock() is None:
                identity |= jetson.board()
        host = {f"host_{key}": value for key, value in Cpu().describe().items() if key not in ("kind", "threads")}
        return {"kind": "cuda", **identity, "l2_flush": self.l2_flush, "threads": Cpu().threads, **host}

    def state(self) -> Mapping[str, Scalar]:
        with opened(self._number) as device:
            return {**device.state(_is_ours), **self.watched()}

    def watched(self) -> Mapping[str, Scalar]:
        """What the clock did while this process timed calls: `ClockWatch.report`; empty before `enter`."""
        return self._watch.report() if self._watch else {}

    def environment(self) -> Mapping[str, str]:
        """One visible device, named by its UUID, which no variable of the user's can renumber, where CUDA reads that.

        NVIDIA's libraries round no products to TF32: where a runtime has no option for it, they would by default.
        """
        with opened(self._number) as device:
            visible = device.visible
        return {
            **Cpu().environment(),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": visible,
            "CUDA_LAUNCH_BLOCKING": "0",
            "NVIDIA_TF32_OVERRIDE": "0",
            _CHOSEN: visible,
        }

    def enter(self) -> None:
        """Check that this process was started with `environment()`, which libraries read when they are loaded, and
        watch the device's clock from now on."""
        chosen = os.environ.get(_CHOSEN)
        if not chosen or os.environ.get("CUDA_VISIBLE_DEVICES") != chosen:
            raise MeasurementError(
                f"{self.name}: this process was not started with the hardware's environment(), so CUDA could pick "
                "another device; start it with these variables set"
            )
        if self._watch is None:
            object.__setattr__(self, "_watch", ClockWatch(self._number))

    def settle(self) -> None:
        """Nothing is pinned: the driver's threads and the one that launches kernels would share a core."""

    def time_calls(self, call: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[int], Any]:
        """Time each call by two events on torch's current stream.

        The device is idle before each call, so the time goes from the first enqueuing to the end of the last kernel and
        holds the host's launching, as a user waits for it. Work left on another stream is found by a device-wide wait
        after the last event; such a call gets the host's time up to the end of that wait.

        A process without torch has no events. There the host's clock is used, which is right for runtimes that return
        from a call when the device is done, as ONNX Runtime and TensorRT's synchronous execution do.

        Where the clock was too low the list is timed again, a bounded number of times; `watched` tells of it.
        """

        def measure(values: Sequence[Any]) -> tuple[list[int], Any]:
            torch = _torch_for_flush() if self.l2_flush else _torch_in_use()
            if torch is None:
                return Cpu().time_calls(call, values)
            return _event_times(torch, call, values, flush=self.l2_flush)

        return self._watch.time(measure, inputs) if self._watch else measure(inputs)

    def reset_memory(self) -> None:
        torch = _torch_in_use()
        if torch:
            torch.cuda.synchronize()
            # Blocks that nobody uses any more, such as those of inputs that were let go, would count as held.
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_memory(self) -> Mapping[str, float]:
        """Peaks of torch's allocator where torch computes, and what the process holds now by NVML, which has no peak.

        Allocators keep what they once took, so this is the peak as long as nothing was given back on purpose. TensorRT
        takes its memory without torch's allocator, which holds no more than inputs and outputs then and is left out.
        A captured graph computes in blocks that the allocator counts as free, so there is no peak of live bytes then,
        nor where the allocator can't say whether there is one.
        """
        found: dict[str, float] = {}
        torch = _torch_in_use()
        if torch and not {"tensorrt", "tensorrt_rtx"} & set(sys.modules):
            torch.cuda.synchronize()
            if not _may_have_graphs(torch):
                found["gpu_memory.allocated"] = float(torch.cuda.max_memory_allocated())
            found["gpu_memory.reserved"] = float(torch.cuda.max_memory_reserved())
        with opened(self._number) as device:
            process = device.process_memory(os.getpid())
        if process is not None:
            found["gpu_memory.process"] = float(process)
        return found

    def energy_meter(self) -> NvmlEnergy:
        """The GPU's own counter. Raises `UnavailableError` where it has none."""
        return NvmlEnergy(self._number)

    @property
    def _number(self) -> int:
        """A child sees one device, whatever number it has in the parent."""
        chosen = os.environ.get(_CHOSEN)
        return 0 if chosen and chosen == os.environ.get("CUDA_VISIBLE_DEVICES") else self.index


cuda = Cuda()


def _event_times(
    torch: Any, call: Callable[[Any], Any], inputs: Sequence[Any], *, flush: bool
) -> tuple[list[int], Any]:
    device = torch.cuda
    start, end = (device.Event(enable_timing=True) for _ in range(2))
    cold = _larger_than_l2(torch) if flush else None
    times = []
    output = None
    for value in inputs:
        if cold is not None:
            cold.zero_()
        device.synchronize()
        began = perf_counter_ns()
        start.record()
        output = call(value)
        end.record()
        end.synchronize()
        finished = perf_counter_ns()
        device.synchronize()
        idle = perf_counter_ns()
        late = idle - finished > LATE_NS
        times.append(idle - began if late else round(start.elapsed_time(end) * 1e6))
    return times, output


def _larger_than_l2(torch: Any) -> Any:
    """A device buffer of twice the L2 cache: writing it leaves no line of anything else."""
    size = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    return torch.empty(2 * size, dtype=torch.uint8, device="cuda")


def _torch_in_use() -> Any:
    """Torch if this process computes with it on the device, else None; it is never imported for the asking.

    Where torch has no device its memory counters read 0 without an error: so nothing is read that is not in use.
    """
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _may_have_graphs(torch: Any) -> bool:
    """Whether the allocator has a pool of a graph's own, in which what was captured takes its memory and frees it, or
    can't tell."""
    common = (0, 0)
    try:
        segments = torch.cuda.memory_snapshot()
    except RuntimeError:  # with backend:cudaMallocAsync, CUDA's own, which keeps no list of what it gave
        return True
    return any(tuple(one.get("segment_pool_id", common)) != common for one in segments)


def _torch_for_flush() -> Any:
    try:
        import torch
    except ImportError:
        reason = "l2_flush writes a buffer on the device with torch, which is not installed"
        raise UnavailableError(reason, "pip install torch, or use cuda without l2_flush") from None
    if not torch.cuda.is_available():
        raise UnavailableError("torch sees no CUDA device in this process", "compare nvidia-smi with harness doctor")
    return torch


def _torch_without_cuda() -> bool:
    """Whether torch is installed as a CPU build."""
    return re.search(r"^cuda\b[^=]*=\s*None\s*$", _version_of_torch(), re.MULTILINE) is not None


def _cuda_of_torch() -> int | None:
    """The major version of CUDA that the installed torch is built for; None where there is none."""
    found = re.search(r"^cuda\b[^=]*=\s*['\"](\d+)", _version_of_torch(), re.MULTILINE)
    return int(found.group(1)) if found else None


def _version_of_torch() -> str:
    """The text of its version file, "" where there is none: importing torch would cost a second."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return ""
    try:
        return (Path(spec.submodule_search_locations[0]) / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""


def _is_ours(pid: int) -> bool | None:
    """Whether a process is this one or descends from it; None for one that /proc does not show."""
    while pid not in (0, os.getpid()):
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        pid = int(status.rpartition(")")[2].split()[1])
    return pid != 0
