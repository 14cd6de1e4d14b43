"""A network compiled ahead of time by torch's inductor into a shared library."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.runtimes.inductor import Inductor

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.aotinductor_session import AotInductorSession
    from harness.runtimes.base import Arrays

__all__ = ["AotInductor"]

_TOOLKIT = Path("/usr/local/cuda")
"""Where the CUDA toolkit is where nothing names another folder."""


@dataclass(frozen=True)
class AotInductor:
    """The network exported and compiled by AOTInductor for the shapes of its inputs.

    freezing  hold the weights as constants, so that they are folded and laid out for the kernels that read them

    Packing compiles; loading opens a shared library, which takes milliseconds and neither a compiler nor the classes of
    the network. The package, `model.pt2`, is for the instruction sets of the machine that made it, and for the types
    and shapes of inputs that it names; others are refused. Beside it, in `cache/`, lies the exported program that it
    was compiled from, which facts are read from where the package can't tell; the package holds the program's digest.
    """

    freezing: bool = True

    name = "aotinductor"
    form = "torch"
    computes = MappingProxyType(dict.fromkeys(("cpu", "cuda"), ("float32", "bfloat16", "float16", "int8")))

    def unavailable(self, hardware: Hardware) -> str | None:
        reason = Inductor().unavailable(hardware)
        if reason is None and hardware.describe()["kind"] == "cuda" and not _has_toolkit():
            reason = (
                "aotinductor compiles for a GPU with the CUDA toolkit, and torch finds none (install that of torch's "
                "version of CUDA, or name its folder in the variable CUDA_HOME; or use compiled, which needs none)"
            )
        return reason

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:
        """Compile. Raises `PreparationError` where the network can't be exported or compiled."""
        from harness.runtimes.aotinductor_session import compile_package

        compile_package(network, example, folder, hardware, freezing=self.freezing)

    def load(self, folder: Path, hardware: Hardware) -> AotInductorSession:
        """Open the package. Raises `PreparationError` where it is of another program than the one beside it."""
        from harness.runtimes.aotinductor_session import AotInductorSession
        from harness.runtimes.torch_session import enter_torch

        return AotInductorSession(self.name, folder, enter_torch(hardware))


def _has_toolkit() -> bool:
    """Whether there is a CUDA toolkit in the places where torch looks for one; torch from PyPI brings none."""
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or shutil.which("nvcc")
    return bool(named) or _TOOLKIT.exists()
