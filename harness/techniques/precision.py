"""Half precision: weights of 16 bits, and arithmetic with them where the runtime has it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.errors import SuiteError
from harness.runtimes.openvino import OpenVino
from harness.runtimes.packages import installed, missing
from harness.techniques import quantize_openvino, quantize_torch
from harness.techniques.base import technique
from harness.techniques.structure import example_of

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["autocast", "bf16", "fp8", "fp16"]

AUTOCAST = ("bfloat16", "float16")
"""Types that torch casts to."""


def _needs_package(hardware: Hardware, form: str) -> str | None:
    if form == "openvino":
        return OpenVino().unavailable(hardware)
    return missing("torch", "torch") if form == "torch" else missing("onnx", "onnx", "onnxruntime")


@technique(takes="torch", requires=installed("torch", "torch"))
def bf16(deployment: Deployment) -> Deployment:
    """Weights and arithmetic in bfloat16: the range of float32 with 8 bits of precision.

    For CPUs with AVX512-BF16 or AMX and for GPUs from Ampere on; elsewhere it is emulated and slow. Put it before
    `compiled`. ONNX Runtime has too few bfloat16 kernels to be offered it.
    Source: Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, arXiv 1905.12322.
    """
    import torch

    return _cast(deployment, torch.bfloat16).promising(
        Promise("weights.bfloat16", at_least=0.99), Promise("arithmetic.bfloat16", at_least=0.9)
    )


@technique(takes=("torch", "onnx", "openvino"), requires=_needs_package)
def fp16(deployment: Deployment) -> Deployment:
    """Weights in float16: half the size, 11 bits of precision, a range that ends at 65,504.

    On a torch network the arithmetic is float16 too, which pays on GPUs and rarely on CPUs. On an ONNX or OpenVINO
    network the weights are promised alone: on CPUs their runtimes convert back to float32, and give a smaller file at
    the same speed; `precision` among the facts says which it was.
    Source: Micikevicius et al., Mixed Precision Training, arXiv 1710.03740.
    """
    if deployment.form == "onnx":
        network = _float16_graph(deployment.network)
        return deployment.replace(network=network).promising(Promise("weights.float16", at_least=0.9))
    if deployment.form == "openvino":
        return quantize_openvino.halve(deployment)
    import torch

    return _cast(deployment, torch.float16).promising(
        Promise("weights.float16", at_least=0.99), Promise("arithmetic.float16", at_least=0.9)
    )


@technique(takes="torch", requires=installed("torch", "torch"))
def autocast(deployment: Deployment, dtype: str = "bfloat16") -> Deployment:
    """Products and convolutions in `dtype`, bfloat16 or float16; weights and everything sensitive stay float32.

    torch decides operator by operator (torch.autocast). It is what training code brings along, keeps more accuracy than
    `bf16`, and costs a cast of each weight at each call: `bf16` is faster and half the size. A compiler with frozen
    weights casts them once, and its package holds what came of it: so no type of the weights is promised.
    Source: Micikevicius et al., Mixed Precision Training, arXiv 1710.03740; torch, "Automatic Mixed Precision package".
    """
    import torch

    from harness.techniques.torch_modules import AutocastNetwork

    if dtype not in AUTOCAST:
        raise SuiteError(f"autocast has no dtype {dtype!r}; use {' or '.join(AUTOCAST)}")
    network = AutocastNetwork(copy.deepcopy(deployment.network), getattr(torch, dtype)).eval()
    return deployment.replace(network=network).promising(Promise(f"arithmetic.{dtype}", at_least=0.9))


@technique(takes="torch", requires=lambda hardware, _: quantize_torch.float8_unavailable(hardware))
def fp8(deployment: Deployment, *, keep: str | Sequence[str] = ()) -> Deployment:
    """Linear layers in FP8 (E4M3), weights and activations, scaled to the range of each tensor; the rest in bfloat16.

    For GPUs that multiply in FP8: Ada, Hopper, Blackwell. Layers whose sides are no multiples of 16 stay as they are,
    and so do those that `keep` names (modules, or globs of them). Put `compiled` after it: without a compiler the
    scaling costs more than the products save. Not yet run on a GPU.
    Source: Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433; torchao.
    """
    return quantize_torch.quantize_float8(deployment, [keep] if isinstance(keep, str) else list(keep))


def _cast(deployment: Deployment, dtype: Any) -> Deployment:
    from harness.techniques.torch_modules import cast

    return deployment.replace(network=cast(deployment.network, dtype, example_of(deployment, alone=True)))


def _float16_graph(model: Any) -> Any:
    from onnx import inliner
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # The converter leaves what functions compute in float32, which ONNX Runtime then refuses.
    network = inliner.inline_local_functions(model) if model.functions else copy.deepcopy(model)
    _name_apart(network.graph, itertools.count(), {})
    # Until IR 4 each initializer was an input as well, and the converter leaves what is an input in float32.
    held = {tensor.name for tensor in network.graph.initializer}
    for value in [value for value in network.graph.input if value.name in held]:
        network.graph.input.remove(value)
    network.ir_version = max(network.ir_version, 4)
    return convert_float_to_float16(network, keep_io_types=True)


def _name_apart(graph: Any, numbers: Iterator[int], renamed: Mapping[str, str]) -> None:
    """Give each initializer of subgraphs a name of its own, which `renamed` tells of those in sight from `graph`.

    The two branches of an If may each have one of the same name, and the converter keeps them by name.
    """
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                own = {tensor.name: f"{tensor.name} of subgraph {next(numbers)}" for tensor in inner.initializer}
                known = {**renamed, **own}
                for value in (*inner.initializer, *inner.input, *inner.output, *inner.value_info):
                    value.name = known.get(value.name, value.name)
                _name_apart(inner, numbers, known)
