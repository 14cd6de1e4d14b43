"""LiteRT, formerly TensorFlow Lite: the interpreter of phones and small boards, on this machine's CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.runtimes.base import check_form
from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.litert_session import LiteRtSession

__all__ = ["BUILTIN", "XNNPACK", "LiteRt"]

_FILE = "model.tflite"
XNNPACK = "XNNPACK"
BUILTIN = "LiteRT"
"""What executes an operator: the delegate XNNPACK, or LiteRT's own kernels."""


@dataclass(frozen=True)
class LiteRt:
    """A LiteRT network, which is the bytes of a .tflite file, in LiteRT's interpreter.

    xnnpack  let the delegate XNNPACK execute what it can, and LiteRT's own kernels the rest; False for these alone
    """

    xnnpack: bool = True

    name = "litert"
    form = "litert"
    computes = MappingProxyType({"cpu": ("float32", "int8")})

    def unavailable(self, hardware: Hardware) -> str | None:
        if hardware.describe()["kind"] != "cpu":
            return f"LiteRT runs on CPUs here, and {hardware.name} is none (put cpu on the hardware axis)"
        return missing("litert", "ai_edge_litert")

    @property
    def provider(self) -> str:
        """What executes the operators that it can."""
        return XNNPACK if self.xnnpack else BUILTIN

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:  # noqa: ARG002
        """Write the network as one file. Raises `PreparationError` for a network that is no bytes."""
        check_form(network, bytes, "LiteRT", "the bytes of a .tflite file")
        (folder / _FILE).write_bytes(network)

    def load(self, folder: Path, hardware: Hardware) -> LiteRtSession:
        """Load the network. Raises `PreparationError` where LiteRT refuses it."""
        from harness.runtimes.litert_session import LiteRtSession

        threads = int(hardware.describe().get("threads", 1))
        return LiteRtSession(folder / _FILE, threads=threads, provider=self.provider)
