"""What this machine has for the harness: hardware, runtimes, techniques, versions; and why it lacks what it lacks."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import harness.techniques
from harness.hardware import Hardware, cpu, cuda
from harness.measure.environment import identity, software
from harness.records import Scalar
from harness.runtimes.base import Runtime
from harness.runtimes.eager import Eager
from harness.runtimes.inductor import Inductor, compiler
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.techniques import Technique

__all__ = ["Item", "Survey", "survey"]

HARDWARE: tuple[Hardware, ...] = (cpu, cuda)
RUNTIMES: tuple[Runtime, ...] = (Eager(), Inductor(), OnnxRuntime())


@dataclass(frozen=True)
class Item:
    """One thing that cases can ask for. `reason` says why it is not here and how to get it, "" where it is."""

    kind: str
    name: str
    reason: str = ""
    hardware: str = ""

    @property
    def available(self) -> bool:
        """Whether it is here."""
        return not self.reason


@dataclass(frozen=True)
class Survey:
    """A machine seen by the harness. `identities` has the hardware that is here, by name: the key of its times."""

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


def survey() -> Survey:
    """Look at everything that the harness brings. Runtimes and techniques are asked about the hardware that is here."""
    hardware = tuple(Item("hardware", item.name, item.available() or "") for item in HARDWARE)
    here = [item for item, found in zip(HARDWARE, hardware, strict=True) if found.available]
    return Survey(
        harness=version("inference-harness"),
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        hardware=hardware,
        runtimes=tuple(
            Item("runtime", runtime.name, runtime.unavailable(item) or "", item.name)
            for item in here
            for runtime in RUNTIMES
        ),
        techniques=tuple(
            Item("technique", technique.name, (technique.requires and technique.requires(item)) or "", item.name)
            for item in here
            for technique in _techniques()
        ),
        identities={item.name: identity(item) for item in here},
        states={item.name: dict(item.state()) for item in here},
        software=software(),
        compiler=_compiler(),
    )


def _techniques() -> list[Technique]:
    exported = (getattr(harness.techniques, name) for name in harness.techniques.__all__)
    return [value for value in exported if isinstance(value, Technique)]


def _compiler() -> str:
    """The C++ compiler that torch.compile would use, with its version; "" for none."""
    path = compiler()
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} ({error})"
    lines = done.stdout.splitlines()
    return f"{path}: {lines[0]}" if lines else path
