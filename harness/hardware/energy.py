"""Counters of energy: which one a hardware has, and why it has none.

A CPU's is RAPL, as the kernel's power capping framework shows it:
https://docs.kernel.org/power/powercap/powercap.html. A device may bring its own (`energy_meter()`), as CUDA does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import UnavailableError
from harness.hardware.architecture import is_x86
from harness.hardware.base import Hardware

__all__ = ["Meter", "Rapl", "Zone", "energy_meter"]

POWERCAP = Path("/sys/class/powercap")
_PACKAGE = "package"
_MICRO = 1e-6


class Meter(Protocol):
    """A counter of energy that only goes up, apart from where it begins again."""

    @property
    def source(self) -> str:
        """What is counted, in words for reports."""

    def read(self) -> tuple[int, ...]:
        """The counter's fields now. Raises `UnavailableError` where they can't be read."""

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """The energy in joules between two readings."""


def energy_meter(hardware: Hardware) -> Meter:
    """The counter of a hardware's energy. Raises `UnavailableError` with reason and cure where there is none."""
    own = getattr(hardware, "energy_meter", None)
    if own:
        meter: Meter = own()
        return meter
    if hardware.describe()["kind"] == "cpu":
        return Rapl.found()
    raise UnavailableError(f"no counter of energy is known for {hardware.name}", "give it a member energy_meter()")


@dataclass(frozen=True)
class Zone:
    """One RAPL counter: its folder, its name (`package-0`, `dram`), and the microjoules after which it is 0 again."""

    folder: Path
    name: str
    most: int

    def read(self) -> int:
        """Microjoules. Raises `OSError`, `ValueError`."""
        return int((self.folder / "energy_uj").read_text(encoding="ascii"))


@dataclass(frozen=True)
class Rapl:
    """The energy of the processor's packages and, where it is counted, of the memory beside them.

    Everything on them counts: all cores, caches, and what they draw when idle. Parts of a package (`core`, `uncore`)
    and the platform (`psys`), which has the packages in it, are left out, so that nothing is counted twice.
    """

    zones: tuple[Zone, ...]

    @classmethod
    def found(cls, folder: Path = POWERCAP) -> Rapl:
        """The counters of this machine. Raises `UnavailableError`."""
        try:
            zones = tuple(zone for path in sorted(folder.glob("intel-rapl:*")) if (zone := _zone(path)))
        except (OSError, ValueError) as error:
            raise UnavailableError(f"RAPL's counters can't be read: {error}", "look at the kernel log") from None
        if not any(zone.name.startswith(_PACKAGE) for zone in zones):
            if not is_x86():
                raise UnavailableError(
                    "this processor has no RAPL, which Intel's and AMD's have",
                    "give a hardware of your own an energy_meter(), such as of the board's INA sensors",
                )
            raise UnavailableError(
                "the kernel shows no counter of energy below /sys/class/powercap",
                "measure on the machine itself: virtual machines and most containers have none; modprobe "
                "intel_rapl_msr where it is missing there",
            )
        meter = cls(zones)
        meter.read()
        return meter

    @property
    def source(self) -> str:
        return "RAPL " + " + ".join(zone.name for zone in self.zones)

    def read(self) -> tuple[int, ...]:
        try:
            return tuple(zone.read() for zone in self.zones)
        except PermissionError:
            raise UnavailableError(
                "RAPL's counters are for root alone, since they can betray secrets of other processes (CVE-2020-8694)",
                "on a machine of your own: sudo chmod -R a+r /sys/class/powercap/intel-rapl*",
            ) from None
        except (OSError, ValueError) as error:
            raise UnavailableError(f"RAPL's counters can't be read: {error}", "look at the kernel log") from None

    def joules(self, before: Sequence[int], after: Sequence[int]) -> float:
        pairs = zip(self.zones, before, after, strict=True)
        return sum((new - old if new >= old else new + zone.most - old) for zone, old, new in pairs) * _MICRO


def _zone(folder: Path) -> Zone | None:
    """The zone in a folder, if it is one that counts. The class's folder lists zones and their parts side by side."""
    try:
        name = (folder / "name").read_text(encoding="ascii").strip()
    except FileNotFoundError:  # containers hide what the class's links lead to
        return None
    if not name.startswith((_PACKAGE, "dram")):
        return None
    return Zone(folder, name, int((folder / "max_energy_range_uj").read_text(encoding="ascii")))
