"""torch eager, captured once as a CUDA graph and replayed.

Written against torch's documented interface, and tested with a scripted one. It has not run on a GPU yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from harness.runtimes.eager import Eager
from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from typing import Any

    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.cudagraph_session import CudaGraphSession

__all__ = ["CudaGraph"]

_CACHE = "cache"


@dataclass(frozen=True)
class CudaGraph:
    """The kernels of one eager call, recorded and launched together: the host enqueues one thing instead of hundreds.

    A graph is of one shape of inputs. That of the served batch is captured when the artefact is loaded, and is part of
    the load time; any other shape gets a graph of its own at its first call.
    """

    name = "cudagraph"
    form = "torch"
    computes = MappingProxyType({"cuda": Eager.computes["cuda"]})

    def unavailable(self, hardware: Hardware) -> str | None:
        reason = missing("torch", "torch")
        if reason is None and hardware.describe()["kind"] != "cuda":
            reason = (
                f"CUDA graphs are recorded on NVIDIA GPUs, and {hardware.name} is none (put cuda on the hardware axis, "
                "or leave cuda_graph out)"
            )
        return reason

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:  # noqa: ARG002
        from harness.runtimes.torch_files import save_module, write_example

        save_module(network, folder)
        (folder / _CACHE).mkdir()
        write_example(example, folder / _CACHE)

    def load(self, folder: Path, hardware: Hardware) -> CudaGraphSession:
        """Load and capture. Raises `PreparationError` for a network that can't be captured."""
        from harness.runtimes.cudagraph_session import CudaGraphSession
        from harness.runtimes.torch_files import load_module, read_example
        from harness.runtimes.torch_session import enter_torch

        device = enter_torch(hardware)
        session = CudaGraphSession(self.name, load_module(folder, device), device)
        session.capture(tuple(tensor.to(device) for tensor in read_example(folder / _CACHE)))
        return session
