"""TensorRT and TensorRT for RTX: the network compiled for one GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.runtimes.tensorrt import TensorRt, TensorRtRtx
from harness.techniques import export
from harness.techniques.base import technique

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["tensorrt", "tensorrt_rtx"]


def _batch_for_several(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """An engine for several batches has another number on the first axis of each input."""
    return ("batchable",) if parameters["max_batch"] else ()


def _needs_tensorrt(hardware: Hardware, form: str) -> str | None:
    return TensorRt().unavailable(hardware) or export.unavailable(form)


def _needs_tensorrt_rtx(hardware: Hardware, form: str) -> str | None:
    return TensorRtRtx().unavailable(hardware) or export.unavailable(form)


@technique(takes=("torch", "onnx"), gives="onnx", needs=_batch_for_several, requires=_needs_tensorrt)
def tensorrt(deployment: Deployment, *, max_batch: int = 0) -> Deployment:
    """TensorRT: kernels fused and chosen by trying them on this GPU. A torch network is exported to ONNX.

    The engine computes in the types of the ONNX network: put `fp16` or `int8_static` after it, or `bf16` before it.
    `max_batch` makes one engine for 1 to that many items, tuned for the served batch; 0 is for the served batch alone.
    It needs a model whose calls are batches.
    Source: NVIDIA, "TensorRT Developer Guide".
    """
    return _compiled(deployment, TensorRt(max_batch))


@technique(takes=("torch", "onnx"), gives="onnx", needs=_batch_for_several, requires=_needs_tensorrt_rtx)
def tensorrt_rtx(deployment: Deployment, *, max_batch: int = 0) -> Deployment:
    """TensorRT for RTX: an engine that is built in moments and makes its kernels where it is loaded.

    For GPUs of desks and laptops from Turing on. All else is as for `tensorrt`.
    Source: NVIDIA, "TensorRT for RTX Documentation".
    """
    return _compiled(deployment, TensorRtRtx(max_batch))


def _compiled(deployment: Deployment, runtime: TensorRt) -> Deployment:
    return (
        export.exported(deployment)
        .replace(runtime=runtime)
        .promising(Promise("runtime", equals=runtime.name), Promise("nodes", at_least=1))
    )
