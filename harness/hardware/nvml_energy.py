"""The energy of an NVIDIA GPU, by its driver's counter."""

from __future__ import annotations

from harness.errors import UnavailableError
from harness.hardware.nvml_devices import opened

__all__ = ["NvmlEnergy"]


class NvmlEnergy:
    """The energy of the whole board since the driver was loaded (Volta and later); the host's is not in it.

    Raises `UnavailableError` where there is no such counter, and for a MIG instance: others may use the board as well.
    """

    source = "NVML, the whole board"

    def __init__(self, number: int) -> None:
        self._number = number
        with opened(number) as device:
            if device.mig:
                raise UnavailableError(
                    "the energy of a MIG instance is not counted, only that of the whole board",
                    "switch MIG off to measure energy: nvidia-smi -mig 0",
                )
        self.read()

    def read(self) -> tuple[int, ...]:
        """Millijoules."""
        with opened(self._number) as device:
            found = device.energy()
        if found is None:
            raise UnavailableError(
                "this GPU does not count its energy",
                "use one of the Volta generation or later, with a card of its own: an integrated GPU has no counter",
            )
        return (found,)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        return (after[0] - before[0]) / 1000
