"""Compiled runtimes: torch.compile, AOTInductor, ONNX Runtime, and OpenVINO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError
from harness.runtimes.aotinductor import AotInductor
from harness.runtimes.inductor import Inductor
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.openvino import OpenVino
from harness.techniques import export
from harness.techniques.base import technique

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["aotinductor", "compiled", "onnxruntime", "openvino"]


def _needs_onnxruntime(hardware: Hardware, form: str, provider: str = "") -> str | None:
    return export.unavailable(form) or OnnxRuntime(provider=provider).unavailable(hardware)


@technique(takes="torch", requires=lambda hardware, _: Inductor().unavailable(hardware))
def compiled(deployment: Deployment, *, mode: str = "default") -> Deployment:
    """torch.compile with frozen weights, for the served shapes.

    Fuses what lies between the matrix products; pays most where those are small or in bfloat16 (`bf16 | compiled`). It
    needs a C++ compiler where it is prepared and where it is served.
    Source: Ansel et al., PyTorch 2, ASPLOS 2024.
    """
    return deployment.replace(runtime=Inductor(mode=mode)).promising(
        Promise("runtime", equals="inductor"), Promise("graphs", at_least=1)
    )


@technique(takes="torch", requires=lambda hardware, _: AotInductor().unavailable(hardware))
def aotinductor(deployment: Deployment) -> Deployment:
    """The network exported and compiled ahead of time into a shared library, with frozen weights, for served shapes.

    A load opens the library, in milliseconds and without a compiler, and a call runs no Python between the kernels.
    These are those of `compiled`, but for products in float32: oneDNN's, where torch.compile packs the weights for MKL.
    The network must be exportable as a whole.
    Source: PyTorch, "AOTInductor: Ahead-Of-Time Compilation for Torch.Export-ed Models".
    """
    return deployment.replace(runtime=AotInductor()).promising(
        Promise("runtime", equals="aotinductor"), Promise("graphs", equals=1)
    )


@technique(takes=("torch", "onnx"), gives="onnx", requires=_needs_onnxruntime)
def onnxruntime(deployment: Deployment, level: str = "all", *, provider: str = "") -> Deployment:
    """ONNX Runtime: a torch network is exported, with a batch of any size where the model has one, and checked.

    `level` is that of graph optimisations, `disable`, `basic`, `extended` or `all`. `provider` is the execution
    provider: `cpu`, `cuda`, `tensorrt`, `tensorrt_rtx` or `openvino`; the hardware's own by default. A network that is
    ONNX already only changes these two.
    """
    runtime = OnnxRuntime(level, provider)
    return (
        export.exported(deployment)
        .replace(runtime=runtime)
        .promising(
            Promise("runtime", equals=runtime.name),
            Promise("provider", equals=runtime.provider_on(deployment.hardware)),
            Promise("level", equals=level),
            Promise("fallbacks", at_most=0),
        )
    )


def _needs_openvino(hardware: Hardware, form: str, precision: str = "float32") -> str | None:
    return OpenVino(precision).unavailable(hardware) or export.unavailable(form)


@technique(takes=("torch", "onnx"), gives="openvino", requires=_needs_openvino)
def openvino(deployment: Deployment, *, precision: str = "float32", fusing: bool = True) -> Deployment:
    """OpenVINO: the network read from ONNX, to which a torch network is exported and checked, and compiled by its CPU
    plugin for the shapes that are served.

    `precision` is in which it computes, `float32` or `bfloat16`. Left alone, OpenVINO computes in bfloat16 wherever the
    CPU can, and says so nowhere; here it is set and read back. `fusing` lets it fuse chains of operations into code
    that it generates, which is checked against the network without.
    Source: OpenVINO, "CPU Device".
    """
    runtime = OpenVino(precision, fusing)  # before the packages: what it refuses is refused where they are not, too

    import onnx
    from openvino import Core

    from harness.runtimes.onnx_graph import check_size

    path = deployment.folder / "exported.onnx"
    deployment = export.exported(deployment)
    check_size(deployment.network)
    onnx.save(deployment.network, str(path))
    try:
        network = Core().read_model(path)
    except RuntimeError as error:
        raise PreparationError(f"OpenVINO can't read the network: {error}") from error
    return deployment.replace(network=network, runtime=runtime).promising(
        Promise("runtime", equals=runtime.name),
        Promise("provider", equals="CPU"),
        Promise("precision.float", equals=precision),
    )
