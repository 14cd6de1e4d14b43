"""What this machine has for the harness: hardware, runtimes, techniques, versions; and why it lacks what it lacks."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import harness.techniques
from harness.errors import UnavailableError
from harness.hardware import Hardware, cpu, cuda, edge
from harness.hardware.energy import energy_meter
from harness.measure.environment import identity, software, unsupported
from harness.records import Scalar
from harness.runtimes.aotinductor import AotInductor
from harness.runtimes.base import Runtime
from harness.runtimes.cudagraph import CudaGraph
from harness.runtimes.eager import Eager
from harness.runtimes.inductor import Inductor, compiler_version
from harness.runtimes.litert import LiteRt
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.onnxruntime_providers import PROVIDERS
from harness.runtimes.openvino import OpenVino
from harness.runtimes.tensorrt import TensorRt, TensorRtRtx
from harness.techniques import Technique

__all__ = ["Item", "Survey", "survey"]

HARDWARE: tuple[Hardware, ...] = (cpu, edge, cuda)
RUNTIMES: tuple[Runtime, ...] = (
    Eager(), CudaGraph(), Inductor(), AotInductor(), OnnxRuntime(), OpenVino(), LiteRt(), TensorRt(), TensorRtRtx()
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One thing that cases can ask for. `reason` says why it is not here and how to get it, "" where it is.

    `form` is the form of network that a technique would get, or what a counter of energy counts; "" for any.
    `computes` are the types in which the products of a runtime can compute there, whether or not it is here.
    """

    kind: str
    name: str
    reason: str = ""
    hardware: str = ""
    form: str = ""
    computes: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        """Whether it is here."""
        return not self.reason


@dataclass(frozen=True)
class Survey:
    """A machine seen by the harness. `identities` has the hardware that is here, by name: the key of its times.

    Runtimes and techniques on a hardware with limits are those on the same without. `energy` names the counters.
    """

    harness: str
    python: str
    platform: str
    hardware: tuple[Item, ...]
    runtimes: tuple[Item, ...]
    techniques: tuple[Item, ...]
    identities: Mapping[str, Mapping[str, Scalar]]
    states: Mapping[str, Mapping[str, Scalar]]
    software: Mapping[str, str]
    compiler: str
    energy: tuple[Item, ...]


def survey() -> Survey:
    """Look at everything that the harness brings. Runtimes and techniques are asked about the hardware that is here.

    On a system on which no case can be measured none is here, whatever the machine has.
    """
    hardware = tuple(Item("hardware", item.name, unsupported() or item.available() or "") for item in HARDWARE)
    here = [item for item, found in zip(HARDWARE, hardware, strict=True) if found.available]
    free = [item for item in here if not hasattr(item, "unlimited")]
    return Survey(
        harness=version("inference-harness"),
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        hardware=hardware,
        runtimes=tuple(found for item in free for found in _runtimes(item)),
        techniques=tuple(
            Item(
                "technique",
                technique.name,
                technique.unavailable(item, form) or "",
                item.name,
                form,
            )
            for item in free
            for technique in _techniques()
            for form in technique.takes or ("",)
        ),
        identities={item.name: identity(item) for item in here},
        states={item.name: dict(item.state()) for item in here},
        software=software(),
        compiler=compiler_version(),
        energy=tuple(_energy(item) for item in free),
    )


def _techniques() -> list[Technique]:
    exported = (getattr(harness.techniques, name) for name in harness.techniques.__all__)
    return [value for value in exported if isinstance(value, Technique)]


def _runtimes(hardware: Hardware) -> Iterator[Item]:
    kind = str(hardware.describe()["kind"])
    for runtime in RUNTIMES:
        reason = runtime.unavailable(hardware) or ""
        yield Item(
            "runtime", runtime.name, reason, hardware.name, computes=getattr(runtime, "computes", {}).get(kind, ())
        )
    for provider in PROVIDERS.values():
        if provider.kind == kind:
            reason = OnnxRuntime(provider=provider.name).unavailable(hardware) or ""
            yield Item("runtime", f"onnxruntime:{provider.name}", reason, hardware.name, computes=provider.computes)


def _energy(hardware: Hardware) -> Item:
    """The counter of a hardware's energy."""
    try:
        return Item("energy", hardware.name, hardware=hardware.name, form=energy_meter(hardware).source)
    except UnavailableError as error:
        return Item("energy", hardware.name, str(error), hardware.name)
