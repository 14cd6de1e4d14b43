"""The central processor, with a number of threads that is set, pinned and recorded."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from harness.errors import SuiteError
from harness.hardware import cgroup
from harness.records import Scalar

__all__ = ["Cpu", "cpu", "instruction_sets"]

_INSTRUCTION_SETS = (
    "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
_DESIGNS = (
    ("cpu family", "model", "stepping"),  # x86
    ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"),  # ARM
    ("cpu", "revision"),  # POWER
    ("mvendorid", "marchid", "mimpid"),  # RISC-V
)
"""What /proc/cpuinfo calls the numbers of a processor's design, by architecture."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Cpu:
    """The CPU with `threads` threads for every library alike.

    One thread is the default: it is the setting whose times repeat, and the one in which a server that runs one
    process a core is used. An arm is pinned to as many cores as it has threads, both arms of a pair to the same ones,
    so that only the code differs.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise SuiteError(f"cpu(threads={self.threads}): give at least one thread")

    def __call__(self, *, threads: int) -> Cpu:
        """The same CPU with another number of threads: `cpu(threads=4)`."""
        return Cpu(threads)

    @property
    def name(self) -> str:
        return "cpu" if self.threads == 1 else f"cpu.{self.threads}threads"

    def available(self) -> str | None:
        allowed, usable = len(cores_allowed()), cores_usable()
        if self.threads <= usable:
            return None
        if usable < allowed:
            return (
                f"{self.threads} threads asked, and a control group limits this process to the time of {usable} of its "
                f"{allowed} cores, so that threads are stopped while they are timed (use fewer threads, or raise the "
                "limit: --cpus of docker run, resources.limits.cpu of Kubernetes, CPUQuota of systemd)"
            )
        return f"{self.threads} threads asked, {allowed} cores allowed to this process (use fewer threads)"

    def describe(self) -> Mapping[str, Scalar]:
        info = _cpuinfo()
        # A processor of another architecture than x86 may have cores of several designs: those that an arm takes count.
        taken = [info] if "cpu family" in info else [_cpuinfo(core) for core in cores_allowed()[-self.threads :]]
        limit = cgroup.processors()
        return {
            "kind": "cpu",
            "model": _model(taken[-1]),
            "family": " + ".join(dict.fromkeys(_design(core) for core in taken)),
            "instruction_sets": " ".join(instruction_sets()),
            "cores": cores_usable(),
            "threads": self.threads,
            "hypervisor": _hypervisor(info),
            # It stops a long call in each period, and the short anchor hardly ever: their ratio moves with it.
            **({"processor_time": round(limit, 3)} if limit is not None and limit < 1 else {}),
        }

    def state(self) -> Mapping[str, Scalar]:
        """Load; and of the core that arms are pinned to, where the kernel shows it (not inside most virtual machines):
        its governor, its frequency in MHz and how often heat has throttled it.
        """
        state: dict[str, Scalar] = {"load_1min": round(os.getloadavg()[0], 2)}
        core = f"/sys/devices/system/cpu/cpu{cores_allowed()[-1]}"
        governor, kilohertz = (_read(f"{core}/cpufreq/scaling_{name}") for name in ("governor", "cur_freq"))
        if governor:
            state["governor"] = governor
        if kilohertz.isdigit():
            state["frequency"] = int(kilohertz) / 1000
        throttled = _read(f"{core}/thermal_throttle/core_throttle_count")
        if throttled.isdigit():
            state["throttled"] = int(throttled)
        return state

    def environment(self) -> Mapping[str, str]:
        return dict.fromkeys(_THREAD_VARIABLES, str(self.threads))

    def enter(self) -> None:
        """Thread counts come from the environment and from the runtimes; loading may use all cores."""

    def settle(self) -> None:
        """Pin every thread of this process, also those that libraries started, to the arm's cores."""
        if hasattr(os, "sched_setaffinity"):
            cores = set(cores_allowed()[-self.threads :])
            for thread in Path("/proc/self/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # a thread that has ended since they were listed
                    os.sched_setaffinity(int(thread.name), cores)

    def time_calls(self, call: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[int], Any]:
        times = []
        output = None
        for value in inputs:
            start = perf_counter_ns()
            output = call(value)
            times.append(perf_counter_ns() - start)
        return times, output

    def reset_memory(self) -> None:
        """A CPU has no memory of its own; the process's is measured for all hardware alike."""

    def peak_memory(self) -> Mapping[str, float]:
        return {}


cpu = Cpu()


def cores_allowed() -> list[int]:
    """The cores that this process may run on, in ascending order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores_usable() -> int:
    """How many threads this process can run all the time: one a core, or as many whole cores as a control group lets it
    have the time of.

    It is at least one. Below that even one thread is stopped, so `describe` tells the limit.
    """
    cores, limit = len(cores_allowed()), cgroup.processors()
    return cores if limit is None else max(1, min(cores, int(limit)))


def instruction_sets() -> tuple[str, ...]:
    """The vector and matrix instruction sets that decide which kernels a runtime picks."""
    info = _cpuinfo()
    flags = set(f"{info.get('flags', '')} {info.get('Features', '')}".split())
    return tuple(name for name in _INSTRUCTION_SETS if name in flags)


def _cpuinfo(core: int | None = None) -> dict[str, str]:
    """What the kernel tells of a core; of the first one that it shows where none is named, or that one is not shown."""
    blocks = _read("/proc/cpuinfo").split("\n\n")
    block = next((block for block in blocks if re.match(rf"processor\s*: {core}\b", block)), blocks[0])
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _model(info: Mapping[str, str]) -> str:
    """The processor's name. The kernel has none for ARM's, and tells the numbers of maker and part."""
    name = info.get("model name") or info.get("cpu") or platform.processor() or platform.machine()
    numbers = [f"{key.removeprefix('CPU ')} {info[key]}" for key in ("CPU implementer", "CPU part") if key in info]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _design(info: Mapping[str, str]) -> str:
    keys = next((keys for keys in _DESIGNS if keys[0] in info), _DESIGNS[0])
    return "/".join(info.get(key, "") for key in keys)


def _hypervisor(info: Mapping[str, str]) -> str:
    if sys.platform != "linux":
        return "unknown"
    vendor = _read("/sys/class/dmi/id/sys_vendor") or _read("/sys/hypervisor/type")
    if "flags" not in info:  # only x86 has one for that
        return vendor or "unknown"
    return (vendor or "yes") if "hypervisor" in info["flags"].split() else "none"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
