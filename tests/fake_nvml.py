"""A scripted `pynvml`, for machines without a device. Values and errors are those that the real module gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml

GIB = 2**30


@dataclass(eq=False)
class FakeBoard:
    """A GPU, or a MIG instance inside one. `silent` names queries that this device does not support.
    `processes` compute, `clients` do by the Multi-Process Service, `drawing` ones draw: process ids, each with its
    memory in bytes.

    Clock and reasons may be functions that are asked at each query.
    """

    uuid: str
    name: str = "NVIDIA H100 PCIe"
    memory: int = 80 * GIB
    processes: list[tuple[int, int | None]] = field(default_factory=list)
    clients: list[tuple[int, int | None]] = field(default_factory=list)
    drawing: list[tuple[int, int | None]] = field(default_factory=list)
    sm_clock: int | Callable[[], int] = 1755
    reasons: int | Callable[[], int] = 0
    energy: int = 0
    enforced_limit: int = 350_000
    instances: list[FakeBoard | None] = field(default_factory=list)
    mig: bool = False
    compute_mode: int = pynvml.NVML_COMPUTEMODE_DEFAULT
    silent: set[str] = field(default_factory=set)
    failing: dict[str, int] = field(default_factory=dict)


def fake_nvml(boards: list[FakeBoard], *, init_error: int | None = None) -> ModuleType:
    """A module with the functions that the harness calls; `opens` counts open minus closed sessions, and `cuda` is the
    version that the driver speaks, as NVML writes it."""
    module: Any = ModuleType("pynvml")
    module.opens = 0
    module.cuda = 13_000
    for name in dir(pynvml):
        if name.startswith(("NVML_", "nvmlClocks", "NVMLError_")) or name in ("NVMLError", "NVMLLibraryMismatchError"):
            setattr(module, name, getattr(pynvml, name))

    def nvml_init() -> None:
        if init_error is not None:
            raise pynvml.NVMLError(init_error)
        module.opens += 1

    def nvml_shutdown() -> None:
        module.opens -= 1

    def now(value: int | Callable[[], int]) -> int:
        return value() if callable(value) else value

    def listed(processes: list[tuple[int, int | None]]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes]

    def instance(board: FakeBoard, index: int) -> FakeBoard:
        found = board.instances[index]
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return found

    answers = {
        "nvmlDeviceGetUUID": lambda board: board.uuid,
        "nvmlDeviceGetName": lambda board: board.name,
        "nvmlDeviceGetMemoryInfo": lambda board: SimpleNamespace(total=board.memory),
        "nvmlDeviceGetCudaComputeCapability": lambda board: (9, 0),
        "nvmlDeviceGetPowerManagementLimit": lambda board: 350_000,
        "nvmlDeviceGetEnforcedPowerLimit": lambda board: board.enforced_limit,
        "nvmlDeviceGetMaxPcieLinkGeneration": lambda board: 5,
        "nvmlDeviceGetMaxPcieLinkWidth": lambda board: 16,
        "nvmlDeviceGetEccMode": lambda board: [1, 1],
        "nvmlDeviceGetComputeMode": lambda board: board.compute_mode,
        "nvmlDeviceGetMigMode": lambda board: [int(board.mig), int(board.mig)],
        "nvmlDeviceGetMaxMigDeviceCount": lambda board: len(board.instances),
        "nvmlDeviceGetMigDeviceHandleByIndex": instance,
        "nvmlDeviceGetUtilizationRates": lambda board: SimpleNamespace(gpu=37, memory=12),
        "nvmlDeviceGetClockInfo": lambda board, kind: {
            module.NVML_CLOCK_SM: now(board.sm_clock),
            module.NVML_CLOCK_MEM: 1593,
        }[kind],
        "nvmlDeviceGetMaxClockInfo": lambda board, kind: {module.NVML_CLOCK_SM: 1755, module.NVML_CLOCK_MEM: 1593}[
            kind
        ],
        "nvmlDeviceGetTemperature": lambda board, sensor: 61,
        "nvmlDeviceGetPowerUsage": lambda board: 212_500,
        "nvmlDeviceGetTotalEnergyConsumption": lambda board: board.energy,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda board: now(board.reasons),
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda board: now(board.reasons),
        "nvmlDeviceGetComputeRunningProcesses": lambda board: listed(board.processes),
        "nvmlDeviceGetMPSComputeRunningProcesses": lambda board: listed(board.clients),
        "nvmlDeviceGetGraphicsRunningProcesses": lambda board: listed(board.drawing),
    }

    def query(name: str) -> Any:
        def ask(board: FakeBoard, *arguments: Any) -> Any:
            assert module.opens > 0, f"{name} before nvmlInit"
            if name in board.silent:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            if name in board.failing:
                raise pynvml.NVMLError(board.failing[name])
            return answers[name](board, *arguments)

        return ask

    for name in answers:
        setattr(module, name, query(name))
    module.nvmlInit = nvml_init
    module.nvmlShutdown = nvml_shutdown
    module.nvmlDeviceGetCount = lambda: len(boards)
    module.nvmlDeviceGetHandleByIndex = lambda index: boards[index]
    module.nvmlSystemGetDriverVersion = lambda: "580.95.05"
    module.nvmlSystemGetCudaDriverVersion_v2 = lambda: module.cuda
    return module
