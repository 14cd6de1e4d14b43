"""ONNX Runtime, on the provider that was asked for and no other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.errors import SuiteError
from harness.runtimes.base import check_form
from harness.runtimes.onnxruntime_providers import PROVIDERS, full_name, provider_of
from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.onnxruntime_session import OrtSession

__all__ = ["LEVELS", "OnnxRuntime"]

LEVELS = ("disable", "basic", "extended", "all")
_FILE = "model.onnx"
_CACHE = "cache"


@dataclass(frozen=True)
class OnnxRuntime:
    """An ONNX network in ONNX Runtime.

    level     graph optimisations when it is loaded: `disable`, `basic`, `extended` (fusions) or `all` (layouts as well)
    provider  execution provider: `cpu`, `cuda`, `tensorrt`, `tensorrt_rtx`, `openvino`, or any other by ONNX Runtime's
              own name for it; "" for `cpu` or `cuda`, as the hardware is
    spinning  with several threads, let them wait actively between the operators of one call. Between calls they always
              sleep, since an arm that waits for its turn must not take cycles from the other.
    """

    level: str = "all"
    provider: str = ""
    spinning: bool = True

    name = "onnxruntime"
    form = "onnx"
    computes = MappingProxyType({"cpu": PROVIDERS["cpu"].computes, "cuda": PROVIDERS["cuda"].computes})

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise SuiteError(f"ONNX Runtime has no optimisation level {self.level!r}; use {', '.join(LEVELS)}")
        if self.provider and self.provider not in PROVIDERS and not self.provider.endswith("ExecutionProvider"):
            raise SuiteError(
                f"ONNX Runtime has no provider {self.provider!r}; use {', '.join(PROVIDERS)}, or its own name for "
                "another one, which ends in ExecutionProvider"
            )

    def unavailable(self, hardware: Hardware) -> str | None:
        reason = missing("onnx", "onnxruntime")
        provider = provider_of(self.provider_on(hardware))
        if reason is not None or provider is None:
            return reason
        identity = hardware.describe()
        if self.provider and provider.kind != identity["kind"]:
            return (
                f"ONNX Runtime's provider {provider.name} runs on {provider.kind}, and {hardware.name} is none (put "
                f"{provider.kind} on the hardware axis, or name another provider)"
            )
        return provider.missing(str(identity.get("model", "")))

    def provider_on(self, hardware: Hardware) -> str:
        """ONNX Runtime's name of the provider that runs the network on a hardware."""
        return full_name(self.provider or ("cuda" if hardware.describe()["kind"] == "cuda" else "cpu"))

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:  # noqa: ARG002
        """Write the network as one file. Raises `PreparationError` for a network that is no `onnx.ModelProto`, or is
        too large for a file.
        """
        import onnx

        from harness.runtimes.onnx_graph import check_size

        check_form(network, onnx.ModelProto, "ONNX Runtime", "an onnx.ModelProto")
        check_size(network)
        onnx.save(network, str(folder / _FILE))
        provider = provider_of(self.provider_on(hardware))
        if provider and provider.compiles:
            (folder / _CACHE).mkdir(exist_ok=True)

    def load(self, folder: Path, hardware: Hardware) -> OrtSession:
        """Load the network. Raises `PreparationError` where ONNX Runtime refuses it, and `MeasurementError` (outcome
        `invalid`) where it would run on another provider than the one asked for.
        """
        from harness.runtimes.onnxruntime_session import BoundSession, OrtSession

        identity = hardware.describe()
        name = self.provider_on(hardware)
        provider = provider_of(name)
        bound = identity["kind"] == "cuda" and not (provider and provider.plugin)
        return (BoundSession if bound else OrtSession)(
            folder / _FILE,
            provider=name,
            level=self.level,
            threads=int(identity.get("threads", 1)),
            spinning=self.spinning,
            cache=folder / _CACHE,
        )
