"""Execution providers of ONNX Runtime: their names, where they run, and whether one is installed. Imports nothing."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PROVIDERS", "Provider", "full_name", "provider_of"]


@dataclass(frozen=True)
class Provider:
    """An execution provider that cases can ask for.

    name      the short one, of case ids
    full      ONNX Runtime's
    kind      of hardware that it runs on: "cpu", "cuda"
    library   how the file begins that an onnxruntime built with it has in `capi/`; "" where all of them have it
    wheel     the distribution that is such an onnxruntime, and takes the place of `onnxruntime`
    plugin    the module of the distribution that adds it to any onnxruntime; "" where there is none
    maker     whose devices alone the plugin takes; "" for all
    compiles  it makes one node of all that it takes, and what that computes in is not told
    computes  in which types, as of a runtime; of one that compiles what it is told to keep float32 to
    """

    name: str
    full: str
    kind: str
    library: str = ""
    wheel: str = ""
    plugin: str = ""
    maker: str = ""
    compiles: bool = True
    computes: tuple[str, ...] = ("float32",)

    def missing(self, device: str) -> str | None:
        """Why the installed onnxruntime can't use it on the device of this model, and the cure; None where it can."""
        if (not self.library and not self.plugin) or (self.library and self._built_in()):
            return None
        taken = self.maker.lower() in device.lower()
        if self.plugin and taken and importlib.util.find_spec(self.plugin) is not None:
            return None
        cures = []
        if self.plugin and taken:
            cures.append(f"pip install {self.plugin.replace('_', '-')}")
        if self.wheel:
            cures.append(f"pip uninstall onnxruntime, then pip install {self.wheel}: never both")
        reason = f"the installed onnxruntime has no provider {self.name}"
        if self.plugin and not taken:
            reason += f", and its plugin takes no {device}, only devices of {self.maker}"
        return f"{reason} ({'; or '.join(cures)})"

    def _built_in(self) -> bool:
        spec = importlib.util.find_spec("onnxruntime")
        folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
        return any(any((folder / "capi").glob(f"*{self.library}*")) for folder in folders)


PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("cpu", "CPUExecutionProvider", "cpu", compiles=False, computes=("float32", "int8")),
        Provider(
            "cuda",
            "CUDAExecutionProvider",
            "cuda",
            "onnxruntime_providers_cuda",
            "onnxruntime-gpu",
            compiles=False,
            computes=("float32", "float16"),
        ),
        Provider("tensorrt", "TensorrtExecutionProvider", "cuda", "onnxruntime_providers_tensorrt", "onnxruntime-gpu"),
        Provider("tensorrt_rtx", "NvTensorRTRTXExecutionProvider", "cuda", plugin="onnxruntime_ep_nv_tensorrt_rtx"),
        Provider(
            "openvino",
            "OpenVINOExecutionProvider",
            "cpu",
            "onnxruntime_providers_openvino",
            "onnxruntime-openvino",
            "onnxruntime_ep_openvino",
            "Intel",
        ),
    )
}
"""By their short names. Any other provider can be named as ONNX Runtime does, and is then not looked for beforehand."""


def full_name(name: str) -> str:
    """ONNX Runtime's name of a provider, from the short or the full one."""
    return PROVIDERS[name].full if name in PROVIDERS else name


def provider_of(name: str) -> Provider | None:
    """The provider of a short or full name; None for one that the harness knows nothing of."""
    return next((provider for provider in PROVIDERS.values() if name in (provider.name, provider.full)), None)
