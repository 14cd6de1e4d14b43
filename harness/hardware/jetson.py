"""What the kernel tells of a Jetson, of whose GPU NVML tells next to nothing."""

from __future__ import annotations

from pathlib import Path

from harness.hardware.cgroup import read
from harness.records import Scalar

__all__ = ["board"]

SYS = Path("/sys")
_CLOCKS = ("*.gpu", "*.ga10b", "*.gv11b")
"""The names that the kernels of several generations have for the GPU, among all devices whose clock they set."""


def board(root: Path = SYS) -> dict[str, Scalar]:
    """The board's name, and the highest clock of its GPU in MHz, which the power mode sets; each where it is told."""
    model = read(root / "firmware" / "devicetree" / "base" / "model").rstrip("\0\n")
    files = (file for name in _CLOCKS for file in sorted((root / "class" / "devfreq").glob(f"{name}/max_freq")))
    hertz = next((text for file in files if (text := read(file).strip()).isdigit()), "")
    return {**({"board": model} if model else {}), **({"highest_clock": int(hertz) // 10**6} if hertz else {})}
