"""One NVIDIA device through NVML, the driver's management library: identity, clocks, processes, memory.

NVML needs no CUDA context, so the parent process can ask about a device without touching it. Everything goes through
the module `pynvml` (distribution `nvidia-ml-py`), imported when a device is opened; a test puts a scripted module in
its place. Names follow the NVML API reference:
https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import UnavailableError
from harness.records import Scalar

__all__ = ["Clock", "Device", "opened"]

SLOWDOWNS = {
    "HwSlowdown": "hardware_slowdown",
    "SwThermalSlowdown": "thermal_software",
    "HwThermalSlowdown": "thermal_hardware",
    "HwPowerBrakeSlowdown": "power_brake",
}
"""Reasons for a low clock with which a device protects itself, by the tail of their NVML constant. They pass when it
has cooled down."""

SETTINGS = {
    "SwPowerCap": "power_cap",
    "SyncBoost": "sync_boost",
    "ApplicationsClocksSetting": "application_clocks",
    "DisplayClockSetting": "display_clocks",
}
"""Reasons that somebody set, the power limit among them: the device runs as fast as it may."""

_LEAVE_OUT = "or leave the CUDA cases out with -k 'not cuda'"


@contextmanager
def opened(index: int) -> Iterator[Device]:
    """The device that CUDA would number `index` under this process's `CUDA_VISIBLE_DEVICES`, PCI bus order.

    Raises `UnavailableError` with reason and cure where there is no driver, no permission or no such device, and where
    the driver fails while the device is open.
    """
    try:
        import pynvml
    except ImportError:
        raise UnavailableError("the package nvidia-ml-py is not installed", "pip install nvidia-ml-py") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _no_driver(pynvml, error) from None
    try:
        yield _find(pynvml, index)
    except pynvml.NVMLError as error:
        raise _driver_failed(error) from error
    finally:
        pynvml.nvmlShutdown()


@dataclass(frozen=True)
class Clock:
    """A glance at the clock.

    sm         MHz of the multiprocessors; None where the device does not tell
    slowdowns  words of `SLOWDOWNS`
    limits     words of `SETTINGS`
    idle       whether the device has lowered its clocks because nothing ran
    """

    sm: int | None
    slowdowns: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    idle: bool = False


@dataclass(frozen=True)
class Device:
    """An open device.

    handle  what calls run on: the GPU, or one MIG instance of it
    board   the GPU itself, which alone has clocks, power and temperature
    """

    library: Any
    handle: Any
    board: Any
    uuid: str
    mig: bool

    def identity(self) -> dict[str, Scalar]:
        """What decides how fast the device is: name, driver, memory (bytes), power limit (W), compute capability."""
        nvml = self.library
        found: dict[str, Scalar | None] = {
            "model": nvml.nvmlDeviceGetName(self.handle),
            "driver": nvml.nvmlSystemGetDriverVersion(),
            "memory": nvml.nvmlDeviceGetMemoryInfo(self.handle).total,
            "compute_capability": _join(self._ask("nvmlDeviceGetCudaComputeCapability", self.board), "."),
            "power_limit": _scaled(self._ask("nvmlDeviceGetEnforcedPowerLimit", self.board), 1000),
            "pcie": _join(
                (
                    self._ask("nvmlDeviceGetMaxPcieLinkGeneration", self.board),
                    self._ask("nvmlDeviceGetMaxPcieLinkWidth", self.board),
                ),
                "x",
            ),
            "ecc": _first(self._ask("nvmlDeviceGetEccMode", self.board)),
            "mig": self.mig,
        }
        return {key: value for key, value in found.items() if value is not None}

    def state(self, is_ours: Callable[[int], bool | None]) -> dict[str, Scalar]:
        """Clocks (MHz), what lowers them, temperature (°C), power (W), utilization (0..1) and other processes, now.

        `is_ours` tells of a process id whether it belongs to this run; None where that can't be known, as for a
        process outside the container.
        """
        nvml, board = self.library, self.board
        utilization = self._ask("nvmlDeviceGetUtilizationRates", board)
        mask = self._reasons()
        found: dict[str, Scalar | None] = {
            "sm_clock": self._ask("nvmlDeviceGetClockInfo", board, nvml.NVML_CLOCK_SM),
            "max_sm_clock": self.max_sm_clock(),
            "memory_clock": self._ask("nvmlDeviceGetClockInfo", board, nvml.NVML_CLOCK_MEM),
            "slowdown": None if mask is None else " ".join(self._words(mask, SLOWDOWNS)) or "none",
            "limited_by": None if mask is None else " ".join(self._words(mask, SETTINGS)) or "none",
            "temperature": self._ask("nvmlDeviceGetTemperature", board, nvml.NVML_TEMPERATURE_GPU),
            "power": _scaled(self._ask("nvmlDeviceGetPowerUsage", board), 1000),
            "utilization": None if utilization is None else utilization.gpu / 100,
        }
        ours = {process.pid: is_ours(process.pid) for process in self._processes()}
        found["foreign_processes"] = " ".join(str(pid) for pid, own in sorted(ours.items()) if own is False) or "none"
        found["unknown_processes"] = sum(own is None for own in ours.values())
        return {key: value for key, value in found.items() if value is not None}

    def max_sm_clock(self) -> int | None:
        """The highest clock of the multiprocessors in MHz; None where the device does not tell."""
        found = self._ask("nvmlDeviceGetMaxClockInfo", self.board, self.library.NVML_CLOCK_SM)
        return None if found is None else int(found)

    def clock(self) -> Clock:
        """The clock now: two queries, cheap enough to be made around every few calls.

        Raises `UnavailableError` where the driver fails.
        """
        nvml = self.library
        try:
            mask = self._reasons() or 0
            sm = self._ask("nvmlDeviceGetClockInfo", self.board, nvml.NVML_CLOCK_SM)
        except nvml.NVMLError as error:
            raise _driver_failed(error) from error
        return Clock(sm, self._words(mask, SLOWDOWNS), self._words(mask, SETTINGS), bool(mask & self._bit("GpuIdle")))

    def energy(self) -> int | None:
        """Millijoules since the driver was loaded; None where the device has no counter, as before Volta.

        Raises `UnavailableError` where the driver fails.
        """
        try:
            found = self._ask("nvmlDeviceGetTotalEnergyConsumption", self.board)
        except self.library.NVMLError as error:
            raise _driver_failed(error) from error
        return None if found is None else int(found)

    def process_memory(self, pid: int) -> int | None:
        """Device memory in bytes that a process holds; None where the driver does not tell.

        It does not inside a container with its own process ids, and not on Windows.
        """
        used = [p.usedGpuMemory for p in self._processes() if p.pid == pid and p.usedGpuMemory is not None]
        return int(sum(used)) if used else None

    def _processes(self) -> list[Any]:
        """Each process once; one that computes and draws stands in both lists with the same memory."""
        lists = (
            self._ask("nvmlDeviceGetComputeRunningProcesses", self.handle) or (),
            self._ask("nvmlDeviceGetGraphicsRunningProcesses", self.handle) or (),
        )
        return list({process.pid: process for found in lists for process in found}.values())

    def _reasons(self) -> int | None:
        """What lowers the clock, as NVML's bits; None where the driver does not tell.

        Drivers before 535 know the query under its older name.
        """
        mask = self._ask("nvmlDeviceGetCurrentClocksEventReasons", self.board)
        if mask is None:
            mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", self.board)
        return None if mask is None else int(mask)

    def _words(self, mask: int, reasons: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(word for tail, word in reasons.items() if mask & self._bit(tail))

    def _bit(self, tail: str) -> int:
        return int(getattr(self.library, f"nvmlClocksThrottleReason{tail}"))

    def _ask(self, function: str, *args: Any) -> Any:
        """The answer to a query that not every device, driver or user may make; None for no answer."""
        nvml = self.library
        try:
            return getattr(nvml, function)(*args)
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission):
            return None


def _driver_failed(error: Exception) -> UnavailableError:
    return UnavailableError(f"the NVIDIA driver failed: {error}", "look at nvidia-smi and the kernel log")


def _no_driver(nvml: Any, error: Exception) -> UnavailableError:
    if isinstance(error, nvml.NVMLError_LibraryNotFound):
        reason = "no NVIDIA driver: its library libnvidia-ml.so.1 is not on this machine"
        return UnavailableError(reason, f"install the NVIDIA driver, {_LEAVE_OUT}")
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return UnavailableError("the NVIDIA driver is not loaded", f"sudo modprobe nvidia, {_LEAVE_OUT}")
    if isinstance(error, nvml.NVMLError_NoPermission):
        reason = "this user may not use the NVIDIA driver"
        return UnavailableError(reason, "give it access to /dev/nvidia*, or start the container with --gpus all")
    return UnavailableError(f"the NVIDIA driver does not start: {error}", "look at nvidia-smi and the kernel log")


def _find(nvml: Any, index: int) -> Device:
    count = nvml.nvmlDeviceGetCount()
    if count == 0:
        raise UnavailableError("the NVIDIA driver finds no device", f"attach a GPU to this machine, {_LEAVE_OUT}")
    boards = list(_boards(nvml, count))
    count = len(boards)
    if not boards:
        reason = "this user may use none of this machine's GPUs"
        raise UnavailableError(reason, "give it access to /dev/nvidia*, or start the container with --gpus all")
    entries = _visible(count)
    if not entries:
        raise UnavailableError("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    if index >= len(entries):
        raise UnavailableError(
            f"GPU {index} was asked for, and CUDA sees {len(entries)} of the {count} here",
            f"use cuda(index={len(entries) - 1}) or less, or mend CUDA_VISIBLE_DEVICES",
        )
    entry = entries[index]
    if entry.isdigit():
        if int(entry) < count:
            board = boards[int(entry)]
            return next(_instances(nvml, board), None) or _device(nvml, board, board, mig=False)
    else:
        for board in boards:
            for device in (_device(nvml, board, board, mig=False), *_instances(nvml, board)):
                if device.uuid.lower().startswith(entry.lower()):
                    return device
    reason = f"CUDA_VISIBLE_DEVICES names {entry!r}, and there is no such device among the {count} here"
    raise UnavailableError(reason, "list the devices with nvidia-smi -L")


def _boards(nvml: Any, count: int) -> Iterator[Any]:
    """The boards that this process may use, which are those that CUDA numbers; NVML counts the others as well."""
    for index in range(count):
        try:
            yield nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError_NoPermission:
            continue


def _visible(count: int) -> list[str]:
    """What CUDA would see, by its own rule: entries after the first invalid one do not count."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return [str(i) for i in range(count)]
    entries: list[str] = []
    for entry in value.split(","):
        if entry.strip() in ("", "-1"):
            break
        entries.append(entry.strip())
    return entries


def _instances(nvml: Any, board: Any) -> Iterator[Device]:
    """The MIG instances of a GPU. Where there are any, CUDA computes on an instance and never on the whole GPU."""
    try:
        enabled = nvml.nvmlDeviceGetMigMode(board)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return
    for i in range(nvml.nvmlDeviceGetMaxMigDeviceCount(board) if enabled else 0):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(board, i)
        except nvml.NVMLError_NotFound:
            continue
        yield _device(nvml, handle, board, mig=True)


def _device(nvml: Any, handle: Any, board: Any, *, mig: bool) -> Device:
    return Device(nvml, handle, board, nvml.nvmlDeviceGetUUID(handle), mig)


def _join(parts: Any, sign: str) -> str | None:
    return None if parts is None or None in parts else sign.join(str(part) for part in parts)


def _scaled(value: int | None, divisor: int) -> float | None:
    return None if value is None else value / divisor


def _first(pair: Any) -> int | None:
    return None if pair is None else pair[0]
