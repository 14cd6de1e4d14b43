"""torch as it comes: operator by operator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.torch_session import TorchSession

__all__ = ["Eager"]


@dataclass(frozen=True)
class Eager:
    """torch eager in inference mode: the native runtime of a torch network, and what others are measured against."""

    name = "eager"
    form = "torch"
    computes = MappingProxyType(
        {
            "cpu": ("float32", "bfloat16", "float16", "int8"),
            "cuda": ("float32", "bfloat16", "float16", "int8", "float8_e4m3fn"),
        }
    )

    def unavailable(self, hardware: Hardware) -> str | None:  # noqa: ARG002 - torch tells by itself where its GPU is
        return missing("torch", "torch")

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:  # noqa: ARG002
        from harness.runtimes.torch_files import save_module

        save_module(network, folder)

    def load(self, folder: Path, hardware: Hardware) -> TorchSession:
        from harness.runtimes.torch_files import load_module
        from harness.runtimes.torch_session import TorchSession, enter_torch

        device = enter_torch(hardware)
        module = load_module(folder, device)
        return TorchSession(self.name, module, module, device)
