"""Integers by LiteRT's quantizer, which is imported in functions."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError
from harness.runtimes.litert import LiteRt
from harness.runtimes.packages import missing
from harness.techniques.calibration import calibration_batches, rebatched
from harness.techniques.keep import listed, named_by
from harness.techniques.shares import Read, most_of, shares

if TYPE_CHECKING:
    import numpy as np

    from harness.hardware.base import Hardware
    from harness.runtimes.litert_graph import Graph, Operator

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["compress", "quantize_dynamic", "quantize_static", "unavailable"]

EVERYTHING = ".*"
EIGHT_BITS = frozenset(
    {"BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "EMBEDDING_LOOKUP", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
)
FOUR_BITS = frozenset({"BATCH_MATMUL", "CONV_2D", "EMBEDDING_LOOKUP", "FULLY_CONNECTED"})
FOUR_BITS_IN_BLOCKS = frozenset({"EMBEDDING_LOOKUP", "FULLY_CONNECTED"})
"""Operators whose weights the quantizer stores so."""


def unavailable(hardware: Hardware) -> str | None:
    """Why a LiteRT network can't be quantized here, and the cure; None where it can."""
    return LiteRt().unavailable(hardware) or missing("litert", "litert_quantizer")


def quantize_dynamic(deployment: Deployment, keep: Sequence[str], *, bits: int = 8, block: int = 0) -> Deployment:
    """Weights of so many bits, a scale for each channel or `block`; products quantize their inputs at each call."""

    def configure(quantizer: Any, all_operators: Any) -> None:
        quantizer.add_dynamic_config(EVERYTHING, all_operators, bits, _granularity(block))

    reach = EIGHT_BITS if bits == 8 else FOUR_BITS_IN_BLOCKS if block else FOUR_BITS - {"BATCH_MATMUL"}
    quantized, share, products = _quantized(deployment, configure, reach, keep)
    made = quantized.promising(Promise("quantized", at_least=share), Promise(f"weights.int{bits}", at_least=share))
    return made.promising(Promise("nodes.quantized", at_least=1)) if products else made


def quantize_static(deployment: Deployment, keep: Sequence[str]) -> Deployment:
    """All that the quantizer can in int8, with ranges measured on the calibration data.

    Inputs and outputs stay as they are, so that a call does what one of the float network does: operators at both ends
    convert them.
    """
    from harness.runtimes.litert_graph import signed

    def configure(quantizer: Any, all_operators: Any) -> None:
        from litert_quantizer.qtyping import TFLOperationName

        quantizer.add_static_config(EVERYTHING, all_operators, activation_num_bits=8, weight_num_bits=8)
        for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
            _leave(quantizer, EVERYTHING, end)

    deployment = deployment.replace(network=signed(deployment.network))  # without one the quantizer calibrates nothing
    quantized, share, _ = _quantized(deployment, configure, EIGHT_BITS - {"EMBEDDING_LOOKUP"}, keep)
    return quantized.promising(
        Promise("quantized", at_least=share),
        Promise("weights.int8", at_least=share),
        Promise("nodes.quantized", at_least=1),
    )


def compress(deployment: Deployment, bits: int, block: int) -> Deployment:  # noqa: ARG001 - only channels have scales
    """Weights of so many bits, a scale for each channel; they are converted to float32 before they are used."""

    def configure(quantizer: Any, all_operators: Any) -> None:
        quantizer.add_weight_only_config(EVERYTHING, all_operators, bits)

    quantized, share, _ = _quantized(deployment, configure, EIGHT_BITS if bits == 8 else FOUR_BITS, ())
    return quantized.promising(Promise("quantized", at_least=share), Promise(f"weights.int{bits}", at_least=share))


def _quantized(
    deployment: Deployment,
    configure: Callable[[Any, Any], None],
    reach: Collection[str],
    keep: Sequence[str],
) -> tuple[Deployment, float, bool]:
    """The deployment with the quantized file, nine tenths of the share of weights that operators in reach have and may
    be quantized, and whether one of these operators is a product.

    A table that others read as well is stored twice, which breaks no earlier promise. Raises `PreparationError` where
    there is nothing to quantize.
    """
    from litert_quantizer import Quantizer
    from litert_quantizer.qtyping import TFLOperationName

    from harness.runtimes.litert_graph import Graph

    graph = Graph(deployment.network)
    kept = _kept(graph, keep)
    share, products = _share(graph, reach, kept)
    quantizer = Quantizer(bytearray(deployment.network))
    configure(quantizer, TFLOperationName.ALL_SUPPORTED)
    for operator in kept:
        _leave(quantizer, f"^{re.escape(_scope(operator))};$", TFLOperationName.ALL_SUPPORTED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it keeps all tensors to see their ranges, which LiteRT takes for debugging
        ranges = quantizer.calibrate(_calibration(deployment), num_threads=1) if quantizer.need_calibration else None
        quantized = quantizer.quantize(ranges, enable_progress_report=False, enable_progress_bar=False)
    network = bytes(quantized.quantized_model)
    before, after = (sum(weight.elements for weight in one.weights()) for one in (graph, Graph(network)))
    return deployment.allowing(before, after).replace(network=network), share, products


def _leave(quantizer: Any, scope: str, operation: Any) -> None:
    """Leave an operation in float where the names of what it writes match the regular expression `scope`."""
    from litert_quantizer.algorithm_manager import AlgorithmName

    quantizer.update_quantization_recipe(scope, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _granularity(block: int) -> Any:
    from litert_quantizer.qtyping import QuantGranularity

    return QuantGranularity[f"BLOCKWISE_{block}" if block else "CHANNELWISE"]


def _kept(graph: Graph, patterns: Sequence[str]) -> list[Operator]:
    """The operators that these patterns name: what they write, globs of it, or their own kind.

    Raises `SuiteError` for a pattern that names none.
    """
    operators = graph.operators()
    layers = [name for operator in operators if operator.product for name in operator.written]
    parts = {operator: (operator.written, operator.name) for operator in operators}
    return named_by(patterns, parts, f"names no operator of the network; its products write {listed(layers)}")


def _scope(operator: Operator) -> str:
    """What the quantizer calls an operator, but for a semicolon at its end: the names of what it writes."""
    return ";".join(operator.written)


def _share(graph: Graph, reach: Collection[str], kept: Collection[Operator]) -> tuple[float, bool]:
    """Nine tenths of the share of weights that operators in reach take, but for those that are kept, and whether one
    of these operators is a product.

    A weight that others read as well is stored twice. Raises `PreparationError` where there is nothing to quantize.
    """
    weights = graph.weights_with_readers()
    reads = []
    for weight, readers in weights:
        taken = frozenset(_scope(reader) for reader in readers if reader.name in reach)
        reads.append(Read(weight.elements, taken, frozenset(map(_scope, readers)) - taken))
    found, _ = shares(reads, [_scope(operator) for operator in kept])
    if not found:
        has = sorted({reader.name for _, readers in weights for reader in readers})
        raise PreparationError(
            f"there is nothing to quantize: LiteRT's quantizer reaches the weights of {', '.join(sorted(reach))} here, "
            f"and those of this network are in {', '.join(has) or 'none'}"
        )
    left = [reader for _, readers in weights for reader in readers if reader.name in reach and reader not in kept]
    return most_of(found), any(reader.product for reader in left)


def _calibration(deployment: Deployment) -> dict[str, list[Arrays]]:
    """The calibration data by signature, in the batches that the file takes.

    Raises `SuiteError` where the model has none, and `PreparationError` where there are fewer examples than one batch
    needs.
    """
    runtime, model = deployment.runtime, deployment.model
    batches = list(calibration_batches(model))
    if model.batchable:
        batches = rebatched(model.name, batches, deployment.batch_size, "serve smaller batches")
    with tempfile.TemporaryDirectory() as folder:
        runtime.pack(deployment.network, {}, Path(folder), deployment.hardware)
        session: Any = runtime.load(Path(folder), deployment.hardware)
        return {session.signature: [session.fitted(batch) for batch in batches]}
