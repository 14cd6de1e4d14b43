"""What one NVIDIA device tells through NVML, the driver's management library: identity, clocks, processes, memory.

NVML needs no CUDA context, so the parent process can ask about a device without touching it. Names follow the NVML API
reference: https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import LostError, UnavailableError
from harness.records import Scalar

__all__ = ["Clock", "Device", "driver_failed"]

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
    "BoardLimit": "board_limit",
    "Reliability": "reliability",
}
"""Reasons that somebody set, the power limit among them, or that the board has by its making, as how high its voltage
may be: the device runs as fast as it may."""

NAMED_LATE = {"BoardLimit": 0x200, "Reliability": 0x400}
"""Bits of reasons for which older bindings have no name, whatever the driver tells."""

_SHARE = "sudo nvidia-smi -c DEFAULT"
_MPS = Path("/tmp/nvidia-mps")
"""Where clients of CUDA's Multi-Process Service look for it, unless `CUDA_MPS_PIPE_DIRECTORY` names another folder."""
_SERVER = "nvidia-cuda-mps-server"[:15]
"""The name of its server as Linux has it, which cuts names."""


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
    number  that of the GPU, as CUDA counts those of the whole machine in PCI bus order
    """

    library: Any
    handle: Any
    board: Any
    number: int
    uuid: str
    mig: bool

    @property
    def visible(self) -> str:
        """What `CUDA_VISIBLE_DEVICES` names this device by: its UUID, or its number where CUDA would not read that, as
        on a Jetson, whose UUIDs begin with neither word.
        """
        return self.uuid if self.uuid.startswith(("GPU-", "MIG-")) else str(self.number)

    def identity(self) -> dict[str, Scalar]:
        """What decides how fast the device is: name, driver, memory (bytes), compute capability, power limit (W).

        The limit is the one that was set. The one in force moves with the load where a laptop shares its power out.
        """
        nvml = self.library
        memory = self._ask("nvmlDeviceGetMemoryInfo", self.handle)  # none of its own where it shares the host's
        found: dict[str, Scalar | None] = {
            "model": nvml.nvmlDeviceGetName(self.handle),
            "driver": nvml.nvmlSystemGetDriverVersion(),
            "memory": None if memory is None else memory.total,
            "compute_capability": _join(self._ask("nvmlDeviceGetCudaComputeCapability", self.board), "."),
            "power_limit": _scaled(self._ask("nvmlDeviceGetPowerManagementLimit", self.board), 1000),
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
        """Clocks (MHz), what lowers them, temperature (°C), power and the limit in force (W), utilization (0..1), and
        processes of others that compute on it, now. Those that draw a screen and nothing else are always there.

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
            "enforced_power_limit": _scaled(self._ask("nvmlDeviceGetEnforcedPowerLimit", board), 1000),
            "utilization": None if utilization is None else utilization.gpu / 100,
        }
        ours = {process.pid: is_ours(process.pid) for process in self._computing()}
        found["foreign_processes"] = " ".join(str(pid) for pid, own in sorted(ours.items()) if own is False) or "none"
        found["unknown_processes"] = sum(own is None for own in ours.values())
        return {key: value for key, value in found.items() if value is not None}

    def max_sm_clock(self) -> int | None:
        """The highest clock of the multiprocessors in MHz; None where the device does not tell."""
        found = self._ask("nvmlDeviceGetMaxClockInfo", self.board, self.library.NVML_CLOCK_SM)
        return None if found is None else int(found)

    def cuda(self) -> int | None:
        """The major version of CUDA that the driver speaks; None where it does not tell.

        Raises `UnavailableError` where the driver's library for CUDA is missing, as in a container that has NVML alone.
        """
        try:
            found = self._ask("nvmlSystemGetCudaDriverVersion_v2")
        except self.library.NVMLError_LibraryNotFound:
            reason = "the driver's library for CUDA, libcuda.so.1, is not on this machine"
            cure = "install the whole driver, or start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility"
            raise UnavailableError(reason, cure) from None
        return None if found is None else int(found) // 1000

    def check_compute_mode(self) -> None:
        """Raise `UnavailableError` where it keeps the two processes that a launch times from computing here in turns.

        Where it is exclusive, CUDA's Multi-Process Service shares the GPU out. NVML tells of it while somebody uses
        it, so nothing is said where it may run.
        """
        mode = self._ask("nvmlDeviceGetComputeMode", self.board)
        if mode == self.library.NVML_COMPUTEMODE_PROHIBITED:
            raise UnavailableError("this GPU's compute mode, Prohibited, lets no process compute", _SHARE)
        exclusive = mode == self.library.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS
        if exclusive and not os.environ.get("CUDA_MPS_PIPE_DIRECTORY") and not _MPS.exists():
            reason = "this GPU's compute mode, Exclusive_Process, lets one process compute, and a launch has two"
            raise UnavailableError(reason, f"{_SHARE}, or start the Multi-Process Service: nvidia-cuda-mps-control -d")

    def clock(self) -> Clock:
        """The clock now: two queries, cheap enough to be made around every few calls.

        Raises `LostError` where the driver fails.
        """
        nvml = self.library
        try:
            mask = self._reasons() or 0
            sm = self._ask("nvmlDeviceGetClockInfo", self.board, nvml.NVML_CLOCK_SM)
        except nvml.NVMLError as error:
            raise driver_failed(error) from error
        return Clock(sm, self._words(mask, SLOWDOWNS), self._words(mask, SETTINGS), bool(mask & self._bit("GpuIdle")))

    def energy(self) -> int | None:
        """Millijoules since the driver was loaded; None where the device has no counter, as before Volta.

        Raises `LostError` where the driver fails.
        """
        try:
            found = self._ask("nvmlDeviceGetTotalEnergyConsumption", self.board)
        except self.library.NVMLError as error:
            raise driver_failed(error) from error
        return None if found is None else int(found)

    def process_memory(self, pid: int) -> int | None:
        """Device memory in bytes that a process holds; None where the driver does not tell.

        It does not inside a container with its own process ids, and not on Windows.
        """
        drawing = self._ask("nvmlDeviceGetGraphicsRunningProcesses", self.handle) or ()
        # One that computes and draws stands in both lists with the same memory.
        processes = {process.pid: process for process in (*self._computing(), *drawing)}
        used = processes[pid].usedGpuMemory if pid in processes else None
        return None if used is None else int(used)

    def _computing(self) -> list[Any]:
        """What computes here. Clients of the Multi-Process Service have a list of their own, and its server, which
        computes for them alone, is left out.
        """
        queries = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses")
        listed = {process.pid: process for query in queries for process in self._ask(query, self.handle) or ()}
        return [process for pid, process in listed.items() if not _shares_out(pid)]

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
        return NAMED_LATE.get(tail) or int(getattr(self.library, f"nvmlClocksThrottleReason{tail}"))

    def _ask(self, function: str, *args: Any) -> Any:
        """The answer to a query that not every device, driver or user may make; None for no answer."""
        nvml = self.library
        untold = (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission)
        # A binding newer than the driver says so with an error that is none of NVML's, and an older one lacks the name.
        mismatch = getattr(nvml, "NVMLLibraryMismatchError", AttributeError)
        try:
            return getattr(nvml, function)(*args)
        except (*untold, mismatch, AttributeError):
            return None


def driver_failed(error: Exception) -> LostError:
    """What is raised where the driver fails while a device is open."""
    return LostError(f"the NVIDIA driver failed: {error}", "look at nvidia-smi and the kernel log")


def _shares_out(pid: int) -> bool:
    """Whether a process is the Multi-Process Service's server."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip() == _SERVER
    except OSError:
        return False


def _join(parts: Any, sign: str) -> str | None:
    return None if parts is None or None in parts else sign.join(str(part) for part in parts)


def _scaled(value: int | None, divisor: int) -> float | None:
    return None if value is None else value / divisor


def _first(pair: Any) -> int | None:
    return None if pair is None else pair[0]
