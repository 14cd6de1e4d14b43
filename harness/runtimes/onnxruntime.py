"""ONNX Runtime, on the provider that was asked for and no other."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError, SuiteError
from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.onnxruntime_session import OrtSession

__all__ = ["LEVELS", "OnnxRuntime"]

LEVELS = ("disable", "basic", "extended", "all")
_FILE = "model.onnx"
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class OnnxRuntime:
    """An ONNX network in ONNX Runtime.

    level     graph optimisations when it is loaded: `disable`, `basic`, `extended` (fusions) or `all` (layouts as well)
    provider  execution provider; "" for the hardware's own, `CPUExecutionProvider` or `CUDAExecutionProvider`
    spinning  with several threads, let them wait actively between the operators of one call. Between calls they always
              sleep, since an arm that waits for its turn must not take cycles from the other.
    """

    level: str = "all"
    provider: str = ""
    spinning: bool = True

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise SuiteError(f"ONNX Runtime has no optimisation level {self.level!r}; use {', '.join(LEVELS)}")

    @property
    def name(self) -> str:
        return "onnxruntime"

    @property
    def form(self) -> str:
        return "onnx"

    def unavailable(self, hardware: Hardware) -> str | None:
        reason = missing("onnx", "onnxruntime")
        if reason is None and self.provider_on(hardware) == _CUDA:
            spec = importlib.util.find_spec("onnxruntime")
            folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
            if not any(list((folder / "capi").glob("*onnxruntime_providers_cuda*")) for folder in folders):
                reason = (
                    "the installed onnxruntime has no CUDA provider "
                    "(pip uninstall onnxruntime, then pip install onnxruntime-gpu: never both)"
                )
        return reason

    def provider_on(self, hardware: Hardware) -> str:
        """The provider that runs the network on a hardware."""
        return self.provider or (_CUDA if hardware.describe()["kind"] == "cuda" else _CPU)

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:  # noqa: ARG002
        """Write the network as one file. Raises `PreparationError` for a network that is no `onnx.ModelProto`."""
        import onnx

        if not isinstance(network, onnx.ModelProto):
            raise PreparationError(
                f"ONNX Runtime got a {type(network).__name__} instead of an onnx.ModelProto; a technique that changes "
                "the form of a network must replace the runtime as well"
            )
        onnx.save(network, str(folder / _FILE))

    def load(self, folder: Path, hardware: Hardware) -> OrtSession:
        """Load the network. Raises `PreparationError` where ONNX Runtime refuses it, and `MeasurementError` (outcome
        `invalid`) where it would run on another provider than the one asked for.
        """
        from harness.runtimes.onnxruntime_session import BoundSession, OrtSession

        identity = hardware.describe()
        cls = BoundSession if identity["kind"] == "cuda" else OrtSession
        return cls(
            folder / _FILE,
            provider=self.provider_on(hardware),
            level=self.level,
            threads=int(identity.get("threads", 1)),
            spinning=self.spinning,
        )
