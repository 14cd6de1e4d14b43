"""8-bit integers by ONNX Runtime's quantizer. onnx and onnxruntime are imported in functions."""

from __future__ import annotations

import contextlib
import inspect
import io
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError
from harness.hardware.architecture import is_x86
from harness.hardware.cpu import instruction_sets
from harness.runtimes.onnx_graph import nodes
from harness.runtimes.onnx_profile import is_product
from harness.techniques.calibration import fitted, read_of
from harness.techniques.entropy_onnx import fine_bins
from harness.techniques.keep import listed, named_by
from harness.techniques.preprocess_onnx import preprocessed, with_copies
from harness.techniques.reach_onnx import TABLES, Reach
from harness.techniques.shares import most_of, nearly, shares

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["METHODS", "Layer", "Quantizer", "dynamic_quantizer", "quantize", "reduced_range", "static_quantizer"]

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
"""How a range follows from the values seen, with ONNX Runtime's names for it."""
_WEIGHTED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""Operators with weights that static quantization reaches."""
_FLOATS = ("ConvTranspose",)
"""Those of them that ONNX Runtime's own kernels multiply in float alone."""
_AROUND_ZERO = (*_WEIGHTED, "LSTM", "Attention")
"""Operators whose weights are quantized as such. ONNX Runtime takes what others read, as Gather, for activations."""
SYMMETRIC = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": _WEIGHTED,
}
"""TensorRT's recipe: zero points of 0, biases in float, and the inputs of what has weights, not its outputs.

Source: NVIDIA, "TensorRT Developer Guide", Working with Quantized Types, placement of Q/DQ layers.
"""


def quantize(deployment: Deployment, quantizer: Quantizer, keep: Sequence[str]) -> Deployment:
    """The deployment with everything quantized but what `keep` names, and with the promises of that."""
    kept = quantizer.named(keep)
    deployment = with_copies(deployment, quantizer.network(kept)).promising(*quantizer.promises(kept))
    return deployment.noting(kept=", ".join(kept)) if kept else deployment


def dynamic_quantizer(deployment: Deployment, ops: Sequence[str]) -> Quantizer:
    """Weights in int8, activations to uint8 at each call. Raises `PreparationError` where no operator has weights."""
    from onnxruntime import quantization

    source, reduced = preprocessed(deployment, gemm=False), reduced_range(deployment)
    # ONNX Runtime turns Gemm into MatMul, as the preprocessing here has, and then looks for the names.
    names = list(dict.fromkeys("MatMul" if name == "Gemm" else name for name in ops))

    def run(target: Path, only: list[str], without: list[str]) -> None:
        quantization.quantize_dynamic(
            source,
            target,
            op_types_to_quantize=names,
            nodes_to_quantize=only,
            nodes_to_exclude=without,
            per_channel=True,
            reduce_range=reduced,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"EnableSubgraph": True},
        )

    return Quantizer(source, Reach(tuple(names)), names, run, reduced)


def static_quantizer(
    deployment: Deployment, batches: Iterable[Arrays], method: str, ops: Sequence[str], *, per_channel: bool
) -> Quantizer:
    """Weights in int8, activations in uint8 with ranges measured on `batches`. `ops` () is all that can be.

    For a runtime whose integers are symmetric (`harness.runtimes.base.Runtime`) activations are int8 around 0 as well.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    source, reduced = preprocessed(deployment, channels=per_channel), reduced_range(deployment)
    data = read_of(batches, {value.name for value in deployment.network.graph.input})
    data = fitted(deployment.model, data, _fixed_batch(deployment.network))
    # The ranges are those of the float network, whatever is quantized: measured once where ONNX Runtime can keep them.
    accepted = inspect.signature(quantization.quantize_static).parameters
    # A folder for each, since another quantizer's ranges are of another network, or by another method.
    kept_ranges = {"calibration_cache_path": Path(tempfile.mkdtemp(dir=source.parent)) / "ranges.json"}
    options = {name: value for name, value in kept_ranges.items() if name in accepted}
    symmetric = bool(getattr(deployment.runtime, "symmetric", False))
    ops = list(ops) or (_WEIGHTED if symmetric else [])
    bins = fine_bins if method == "entropy" else contextlib.nullcontext

    def run(target: Path, only: list[str], without: list[str]) -> None:
        # The calibrators report their bins on standard output.
        with contextlib.redirect_stdout(io.StringIO()), bins():
            quantization.quantize_static(
                source,
                target,
                _Batches(data),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(ops),
                nodes_to_quantize=only,
                nodes_to_exclude=without,
                per_channel=per_channel,
                reduce_range=reduced,
                activation_type=quantization.QuantType.QInt8 if symmetric else quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=getattr(quantization.CalibrationMethod, METHODS[method]),
                extra_options={**(SYMMETRIC if symmetric else {}), **_one_by_one(data, method)},
                **options,
            )

    # Scales for each channel are for the second axis, which is the last one of a matrix alone, and not for rows of it.
    floats = () if symmetric else _FLOATS
    reach = Reach(
        tuple(ops or _WEIGHTED), stacked=not per_channel, subgraphs=False, tied=not per_channel, floats=floats
    )
    return Quantizer(source, reach, list(ops) or [*QLinearOpsRegistry, *QDQRegistry], run, reduced)


@dataclass(frozen=True)
class Layer:
    """What can be quantized or left alone: a node with weights, or all nodes of a type that have none.

    name      of the node, or of the type
    operator  the type
    nodes     names of its nodes
    elements  elements of the weights that they read
    """

    name: str
    operator: str
    nodes: tuple[str, ...]
    elements: int


class Quantizer:
    """One network made ready to be quantized, as a whole or layer by layer.

    source   the preprocessed float network
    reach    the weights that it takes
    ops      operators that are quantized; those without weights count as one layer for each type
    run      (target, nodes to quantize, () for all; nodes to leave out) -> writes the quantized network
    reduced  weights keep to 7 bits

    Raises `PreparationError` where no weight is in reach.
    """

    def __init__(
        self,
        source: Path,
        reach: Reach,
        ops: Sequence[str],
        run: Callable[[Path, list[str], list[str]], None],
        reduced: bool,
    ) -> None:
        self._source, self._reach, self._run, self._reduced = source, reach, run, reduced
        network = _loaded(source)
        self._nodes = {node.name: node.op_type for node in nodes(network.graph)}
        self._reads = reach.reads(network)
        if not any(read.taken for read in self._reads):
            raise PreparationError(reach.nothing(network, " or ".join(reach.operators), " (choose with ops=…)"))
        elements: dict[str, int] = {}
        for read in self._reads:
            elements.update({name: elements.get(name, 0) + read.elements for name in (*read.taken, *read.others)})
        # ONNX Runtime would store some of these as integers and multiply floats, and fail at a call of others.
        taken = {name for read in self._reads for name in read.taken}
        tied = {name for read in self._reads if read.taken and not reach.tied for name in read.others}
        self._beyond = [
            name for name in elements if name in tied or (self._nodes[name] in reach.operators and name not in taken)
        ]
        tables = [name for name in elements if self._nodes[name] in ops and self._nodes[name] not in _AROUND_ZERO]
        self._tables = [name for name in tables if name not in tied]
        layers: dict[str, tuple[str, ...]] = {}
        for node in reach.nodes(network):
            if node.op_type in ops and node.name not in self._beyond:
                layer = node.name if node.name in elements else node.op_type
                layers[layer] = (*layers.get(layer, ()), node.name)
        self.layers = {
            layer: Layer(layer, self._nodes[names[0]], names, sum(elements.get(name, 0) for name in names))
            for layer, names in layers.items()
        }

    def named(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """The nodes that these patterns name: their own names, globs of them, or types of operators.

        Raises `SuiteError` for a pattern that names none.
        """
        parts = {name: ((name,), operator) for name, operator in self._nodes.items()}
        there = f"there are {listed(list(self.layers))} (harness sensitivity lists them)"
        return tuple(named_by(patterns, parts, f"names no node of the network; {there}"))

    def takes(self, names: Collection[str]) -> bool:
        """Whether one of these nodes reads a weight that it quantizes."""
        return any(read.taken & {*names} for read in self._reads)

    def network(self, kept: Collection[str] = (), only: Collection[str] = ()) -> Any:
        """The quantized network: all of it but the nodes in `kept`, or nothing but those in `only`."""
        target = self._source.with_name("quantized.onnx")
        self._run(target, list(only), [*kept, *self._beyond])
        return _loaded(target)

    def promises(self, kept: Collection[str] = ()) -> tuple[Promise, ...]:
        """That nine tenths of the weights in reach are quantized, what is kept is not, and products are of integers.

        Where weights are reduced to 7 bits, that as well, if none is quantized as an activation, which has 8.

        Raises `PreparationError` where nothing is left to quantize.
        """
        share, floats = shares(self._reads, kept)
        if not share:
            operators = ", ".join(self._reach.operators)
            raise PreparationError(f"keep leaves nothing to quantize of {operators}; keep fewer layers")
        readers = {self._nodes[name] for read in self._reads for name in read.taken - {*kept}}
        promises: tuple[Promise, ...] = (Promise("quantized", at_least=most_of(share)), *_computed(readers))
        if floats:
            promises = (*promises, Promise("weights.float32", at_least=nearly(floats)))
        reduced = self._reduced and not {*self._tables} - {*kept}
        return (*promises, Promise("quantized.bits", at_most=7)) if reduced else promises


def _computed(operators: Collection[str]) -> tuple[Promise, ...]:
    """That operators of these types, whose weights are quantized, compute on integers.

    Products are held to their own arithmetic: a neighbour without weights may compute on integers where none of them
    does. Of tables alone nothing is promised.
    """
    if any(is_product(operator) for operator in operators):
        return (Promise("arithmetic.int8", at_least=0.001),)
    return () if {*operators} <= TABLES else (Promise("nodes.quantized", at_least=1),)


def reduced_range(deployment: Deployment) -> bool:
    """Whether weights must keep to 7 bits: x86 without VNNI adds products of 8 bits in 16 and saturates."""
    on_x86 = deployment.hardware.describe()["kind"] == "cpu" and is_x86()
    return on_x86 and not {"avx_vnni", "avx512_vnni"}.intersection(instruction_sets())


class _Batches:
    """Calibration data as ONNX Runtime reads it: one batch a call, then None; a part of them where it sets a range."""

    def __init__(self, batches: Sequence[Arrays]) -> None:
        self._all = batches
        self.set_range(0, len(batches))

    def __len__(self) -> int:
        return len(self._all)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left = iter(self._all[start_index:end_index])

    def get_next(self) -> Arrays | None:
        return next(self._left, None)


def _one_by_one(batches: Sequence[Arrays], method: str) -> dict[str, int]:
    """The option by which ONNX Runtime counts each batch by itself, where a histogram can't be made of all together.

    It joins what it saw of all batches, which fails where they differ in shape. Where they do not, they stay joined:
    bins that grow from batch to batch have other edges, and give other ranges.
    """
    alike = len({tuple(batch[name].shape for name in sorted(batch)) for batch in batches}) == 1
    return {} if alike or method == "minmax" else {"CalibStridedMinMax": 1}


def _fixed_batch(network: Any) -> int | None:
    """The length of the first axis of a network's inputs; None where it is free, or they have none in common."""
    constant = {tensor.name for tensor in network.graph.initializer}
    shapes = [value.type.tensor_type.shape.dim for value in network.graph.input if value.name not in constant]
    lengths: set[int] = {shape[0].dim_value if shape else 0 for shape in shapes}
    return (lengths.pop() or None) if len(lengths) == 1 else None


def _loaded(path: Path) -> Any:
    import onnx

    return onnx.load(str(path))
