"""TensorRT: a network compiled into an engine for one GPU, and TensorRT for RTX beside it.

Networks are strongly typed: each layer computes in the types that the ONNX network has, as TensorRT 11 demands and 10
can. Building is tested with TensorRT for RTX, which builds without a GPU; executing is tested with a scripted package.
It has not run on a GPU yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.errors import SuiteError
from harness.runtimes.base import check_form
from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.tensorrt_session import TensorRtSession

__all__ = ["TensorRt", "TensorRtRtx"]

_FILE = "model.onnx"
_CACHE = "cache"


@dataclass(frozen=True)
class TensorRt:
    """An ONNX network as an engine of TensorRT.

    max_batch  the most items that a call may have: the engine takes 1 to that many, and is tuned for the served batch;
               0 for an engine that takes the served batch alone

    What is served is the ONNX network. The engine that is built of it is for one version of TensorRT and one GPU, and
    lies in `cache/` under both their names; where it is missing, as on another machine, a load builds it.
    """

    max_batch: int = 0

    name = "tensorrt"
    form = "onnx"
    computes = MappingProxyType({"cuda": ("float32", "bfloat16", "float16", "int8")})
    symmetric = True
    """Integers are signed and have their zero at 0, for activations as for weights."""
    _extra = "tensorrt"

    def __post_init__(self) -> None:
        if self.max_batch < 0:
            raise SuiteError(f"max_batch={self.max_batch}: give the most items of a call, or 0 for the served batch")

    def unavailable(self, hardware: Hardware) -> str | None:
        if hardware.describe()["kind"] != "cuda":
            return (
                f"{self.name} runs on NVIDIA GPUs, and {hardware.name} is none (put cuda on the hardware axis, or "
                f"leave {self.name} out)"
            )
        return missing(self._extra, "onnx", "torch", self.name)

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:
        """Write the network and build its engine. Raises `PreparationError` where TensorRT refuses it."""
        import onnx

        from harness.runtimes.onnx_graph import check_size
        from harness.runtimes.tensorrt_engines import write_shapes

        check_form(network, onnx.ModelProto, self.name, "an onnx.ModelProto")
        check_size(network)
        onnx.save(network, str(folder / _FILE))
        (folder / _CACHE).mkdir()
        write_shapes(example, self.max_batch, folder / _CACHE)
        session = self.load(folder, hardware)
        session(session.stage(example))
        session.keep()

    def load(self, folder: Path, hardware: Hardware) -> TensorRtSession:
        """Load the engine for this GPU, and build it if there is none. Raises `PreparationError` where that fails."""
        from harness.runtimes.tensorrt_engines import Engines
        from harness.runtimes.tensorrt_package import package
        from harness.runtimes.tensorrt_session import TensorRtSession
        from harness.runtimes.torch_session import enter_torch

        device = enter_torch(hardware)
        engines = Engines(package(self.name, self._extra), folder / _FILE, folder / _CACHE, hardware)
        return TensorRtSession(self.name, engines, device)


@dataclass(frozen=True)
class TensorRtRtx(TensorRt):
    """An ONNX network as an engine of TensorRT for RTX, which makes its kernels on the machine that loads it.

    max_batch  as for TensorRT

    Engines are small and built in moments, without trying kernels. Loading compiles the kernels, of which a cache lies
    beside the engine.
    """

    name = "tensorrt_rtx"
    _extra = "tensorrt-rtx"
