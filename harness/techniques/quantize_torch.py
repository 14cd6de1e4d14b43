"""Quantization of torch networks by torchao. torch and torchao are imported in functions."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.hardware.architecture import is_x86
from harness.runtimes.inductor import Inductor
from harness.runtimes.packages import missing
from harness.techniques.calibration import calibration_batches
from harness.techniques.keep import listed, named_by
from harness.techniques.shares import most_of
from harness.techniques.structure import example_of

if TYPE_CHECKING:
    import numpy as np

    from harness.hardware.base import Hardware

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = [
    "METHODS",
    "compress",
    "float8_unavailable",
    "quantize_dynamic",
    "quantize_float8",
    "quantize_static",
    "static_unavailable",
    "unavailable",
]

METHODS = {"minmax": "MinMaxObserver", "histogram": "HistogramObserver"}
"""How a range follows from the values seen, with torchao's names for it."""
FLOAT8 = "float8_e4m3fn"
FLOAT8_CAPABILITY = (8, 9)
"""The compute capability from which NVIDIA GPUs multiply in FP8: Ada."""


def unavailable(hardware: Hardware) -> str | None:  # noqa: ARG001 - all hardware alike
    """Why torchao can't be used here, and the cure; None where it can."""
    return missing("torch", "torch") or missing("torchao", "torchao")


def static_unavailable(hardware: Hardware) -> str | None:
    """Why a torch network can't be quantized statically here, and the cure; None where it can."""
    if hardware.describe()["kind"] != "cpu" or not is_x86():
        return (
            "static INT8 of a torch network is compiled for x86 CPUs alone (elsewhere put onnxruntime before it: "
            "onnxruntime | int8_static)"
        )
    return unavailable(hardware) or Inductor().unavailable(hardware)


def float8_unavailable(hardware: Hardware) -> str | None:
    """Why a network can't compute in FP8 here; None where it can."""
    identity = hardware.describe()
    capability = str(identity.get("compute_capability", ""))
    if identity["kind"] != "cuda" or _version(capability) < FLOAT8_CAPABILITY:
        found = f" of compute capability {capability}" if capability else ""
        return (
            f"FP8 products need an NVIDIA GPU of compute capability {FLOAT8_CAPABILITY[0]}.{FLOAT8_CAPABILITY[1]} or "
            f"more (Ada, Hopper, Blackwell), and {hardware.name}{found} is none (put cuda on the hardware axis, on a "
            "machine that has one; on CPUs use bf16 or int8_static)"
        )
    return unavailable(hardware)


def quantize_dynamic(deployment: Deployment, keep: Sequence[str]) -> Deployment:
    """Linear layers with int8 weights for each row, and activations quantized at each call for each token."""
    from harness.techniques.torchao_linear import dynamic_config

    network = copy.deepcopy(deployment.network)
    share = _quantize_linear(network, keep, lambda: dynamic_config(str(deployment.hardware.describe()["kind"])))
    return _with_copies(deployment, network).promising(
        Promise("quantized", at_least=share), Promise("nodes.quantized", at_least=1)
    )


def quantize_float8(deployment: Deployment, keep: Sequence[str]) -> Deployment:
    """Linear layers with FP8 weights and activations, of one scale each, where both sides are multiples of 16.

    Everything else is bfloat16: that is what these products take and give.
    """
    import torch

    from harness.techniques.torch_modules import cast
    from harness.techniques.torchao_linear import float8_config

    network = cast(deployment.network, torch.bfloat16, example_of(deployment, alone=True))
    share = _quantize_linear(network.network, keep, float8_config, lambda shape: not any(side % 16 for side in shape))
    return _with_copies(deployment, network).promising(
        Promise(f"weights.{FLOAT8}", at_least=share), Promise(f"arithmetic.{FLOAT8}", at_least=0.001)
    )


def compress(deployment: Deployment, bits: int, block: int) -> Deployment:  # noqa: ARG001 - 8 bits need no blocks
    """Linear layers with int8 weights, a scale for each row; products stay in floating point."""
    from harness.techniques.torchao_linear import weights_config

    network = copy.deepcopy(deployment.network)
    share = _quantize_linear(network, (), weights_config)
    return _with_copies(deployment, network).promising(
        Promise("quantized", at_least=share), Promise("weights.int8", at_least=share)
    )


def quantize_static(deployment: Deployment, method: str, keep: Sequence[str]) -> Deployment:
    """Convolutions and linear layers with int8 weights and uint8 activations, marked for the compiler to make kernels.

    By PT2E: the network is exported, observers watch it on the calibration data, and pairs of quantize and dequantize
    take their place. Run as it is, that graph computes in floating point; compiled with frozen weights, it does not.
    """
    from harness.techniques.torchao_modules import QuantizedGraph, exported, left_in_float, plain, quantized

    if method not in METHODS:
        raise SuiteError(f"int8_static on a torch network has no method {method!r}; use {', '.join(METHODS)}")
    model = deployment.model
    batches = calibration_batches(model)
    layers = _layers(deployment.network, keep)
    kept = [name for name in _layers(deployment.network, ()) if name not in layers]
    # A tracer takes an axis of length one for a constant.
    size = max(deployment.batch_size, 2) if model.batchable else deployment.batch_size
    example = model.inputs(size, 0)
    program = exported(copy.deepcopy(deployment.network), example, batchable=model.batchable)
    graph = quantized(program, batches, METHODS[method], kept)
    del program  # it holds the weights in float
    left = left_in_float(graph, layers)
    layers = [name for name in layers if name not in left]
    if left and not layers:
        raise PreparationError(
            f"torchao quantizes a Conv1d where a ReLU follows it alone, and left {', '.join(left)} in float, so that "
            "nothing is quantized; put onnxruntime before it: onnxruntime | int8_static"
        )
    share = _share(deployment.network, layers, apart=False)
    network = QuantizedGraph(exported(plain(graph, example), example, batchable=model.batchable)).eval()
    done = _with_copies(deployment, network).promising(
        Promise("runtime", equals="inductor"),
        Promise("quantized", at_least=share),
        Promise("nodes.quantized", at_least=1),
    )
    floats = [*kept, *left]
    return done.noting(kept=", ".join(floats)) if floats else done


def _with_copies(deployment: Deployment, network: Any) -> Deployment:
    """The deployment with what torchao made of its network, whose copies of weights break no earlier promise.

    A layer gets a tensor of its own where it shared one with a table, which stays in float, or with another layer.
    """
    from harness.runtimes.torch_session import elements

    return deployment.allowing(elements(deployment.network), elements(network)).replace(network=network)


def _quantize_linear(
    network: Any,
    keep: Sequence[str],
    config: Callable[[], Any],
    fits: Callable[[Iterable[int]], bool] = lambda _: True,
) -> float:
    """Let torchao change the linear layers of a network in place, and give the promised share of weights in them."""
    from harness.techniques import torchao_linear

    modules = dict(network.named_modules())
    layers = [name for name in _layers(network, keep) if type(modules[name]).__name__ == "Linear"]
    chosen = [name for name in layers if fits(modules[name].weight.shape)]
    share = _share(network, chosen, apart=True)
    torchao_linear.quantize_(network, config(), filter_fn=lambda _, name: name in chosen)
    for name in chosen:
        # It describes the layer to people, and can't be pickled.
        modules[name].__dict__.pop("extra_repr", None)
    return share


def _layers(network: Any, keep: Sequence[str]) -> list[str]:
    """Names of the convolutions and linear layers that no pattern of `keep` names, with the modules that hold them.

    Raises `SuiteError` for a pattern that names none of them.
    """
    import torch

    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d)
    names = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    # Whoever names a module means the layers inside it as well.
    parts = {name: ([*itertools.accumulate(name.split("."), "{}.{}".format)], None) for name in names}
    kept = named_by(keep, parts, f"names no layer of the network; there are {listed(names)}")
    return [name for name in names if name not in kept]


def _share(network: Any, layers: Collection[str], *, apart: bool) -> float:
    """Nine tenths of the share that these layers will have of the network's weights, once torchao has changed them.

    One that an embedding shares stays there in float. One that two layers share is then two where they are changed
    `apart`; a marked graph has it once.

    Raises `PreparationError` where they have none: the one row of a layer with one output is no weight.
    """
    from harness.runtimes.facts import is_weight_shape
    from harness.runtimes.torch_session import weight_tensors

    modules = dict(network.named_modules())
    weights = [modules[name].weight for name in layers]
    if not apart:
        weights = list({id(weight): weight for weight in weights}.values())
    reach: int = sum(weight.numel() for weight in weights if is_weight_shape(weight.shape))
    if not reach:
        raise PreparationError(
            "there is nothing to quantize: torchao changes linear layers (torch.nn.Linear), for int8_static also "
            "convolutions, and this network has none with a matrix of weights that it could; "
            "onnxruntime | int8_static quantizes convolutions"
        )
    inside = {id(part) for name in layers for part in modules[name].modules()}
    others = [module for module in network.modules() if id(module) not in inside]
    held = {id(one) for part in others for one in (*part.parameters(recurse=False), *part.buffers(recurse=False))}
    return most_of(reach / (reach + sum(weight.numel() for weight in weight_tensors(network) if id(weight) in held)))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
