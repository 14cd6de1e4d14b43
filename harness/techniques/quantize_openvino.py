"""Quantization of OpenVINO networks by NNCF. openvino and nncf are imported in functions."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.runtimes.openvino import OpenVino
from harness.runtimes.packages import missing, variable
from harness.techniques.calibration import calibration_batches, fitted, read_of
from harness.techniques.keep import listed, named_by
from harness.techniques.quantize_onnx import reduced_range
from harness.techniques.shares import Read, most_of, nearly, shares

if TYPE_CHECKING:
    import numpy as np

    from harness.hardware.base import Hardware

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["METHODS", "compress", "halve", "quantize_static", "unavailable"]

METHODS = {"minmax": "MINMAX", "mean": "MEAN_MINMAX", "percentile": "MEAN_QUANTILE", "histogram": "HISTOGRAM"}
"""How a range follows from the values seen, with NNCF's names for it."""
_WEIGHTED = (
    "MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
)  # fmt: skip
"""Operations with weights that static quantization reaches."""


def unavailable(hardware: Hardware) -> str | None:
    """Why an OpenVINO network can't be quantized here, and the cure; None where it can."""
    return OpenVino().unavailable(hardware) or missing("openvino", "nncf")


def quantize_static(
    deployment: Deployment, method: str, keep: Sequence[str], *, per_channel: bool, transformer: bool | None
) -> Deployment:
    """Weights and activations in 8 bits, with ranges measured on the calibration data.

    Raises `SuiteError` for a method that there is not and for names that the network does not have, and
    `PreparationError` where there is nothing to quantize or to calibrate with.
    """
    if method not in METHODS:
        raise SuiteError(f"int8_static has no method {method!r} on an OpenVINO network; use {', '.join(METHODS)}")
    batches, network = list(calibration_batches(deployment.model)), _folded(deployment.network)
    batches = read_of(batches, {name for port in network.inputs for name in port.get_names()})
    batches = fitted(deployment.model, batches, _fixed_batch(network))
    kept = _named(network, keep)
    reduced = reduced_range(deployment)
    promises = _promises(network, kept, reduced=reduced)
    attention = has_attention(network) if transformer is None else transformer
    with _quiet_nncf() as nncf:
        from nncf.quantization.advanced_parameters import (
            AdvancedQuantizationParameters,
            OverflowFix,
            QuantizationParameters,
        )
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        advanced = AdvancedQuantizationParameters(
            activations_range_estimator_params=getattr(RangeEstimatorParametersSet, METHODS[method]),
            weights_quantization_params=None if per_channel else QuantizationParameters(per_channel=False),
            # None is NNCF's default: 7 bits in the first convolutions alone.
            overflow_fix=OverflowFix.ENABLE if reduced else None,
        )
        quantized = nncf.quantize(
            network,
            nncf.Dataset(batches),
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
            ignored_scope=nncf.IgnoredScope(names=list(kept)),
            advanced_parameters=advanced,
        )
    done = _with_copies(deployment, quantized).promising(*promises)
    return done.noting(kept=", ".join(kept)) if kept else done


def compress(deployment: Deployment, bits: int, block: int) -> Deployment:
    """Weights of matrix products in so many bits; 8 with a scale for each row, 4 with one for each `block` numbers.

    Where a row is no whole number of blocks, blocks are halved until it is. Raises `PreparationError` for a network
    without such products.
    """
    from harness.runtimes.openvino_graph import weights_with_readers

    # NNCF changes the network that it is given, and does not look for weights behind a transposition. Where there is
    # none nothing is folded, and what is stored in float16 stays so.
    network = _folded(deployment.network) if _turned(deployment.network) else deployment.network.clone()
    weights = [(elements, {reader.get_type_name() for reader in readers})
               for elements, readers in weights_with_readers(network)]  # fmt: skip
    total = sum(elements for elements, _ in weights)
    share = sum(elements for elements, kinds in weights if "MatMul" in kinds) / max(total, 1)
    found = sorted({kind for _, kinds in weights for kind in kinds})
    if not share:
        raise PreparationError(
            "there is nothing to quantize: no matrix product of this network has weights; those that have are "
            f"{', '.join(found) or 'none'}"
        )
    others = [kind for kind in found if kind != "MatMul"]
    with _quiet_nncf() as nncf:
        from nncf.quantization.advanced_parameters import AdvancedCompressionParameters, GroupSizeFallbackMode

        four: dict[str, Any] = {
            "mode": nncf.CompressWeightsMode.INT4_SYM,
            "group_size": block,
            "all_layers": True,
            "advanced_parameters": AdvancedCompressionParameters(
                group_size_fallback_mode=GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=2
            ),
        }
        compressed = nncf.compress_weights(
            network,
            ignored_scope=nncf.IgnoredScope(types=others, validate=False),
            **(four if bits == 4 else {"mode": nncf.CompressWeightsMode.INT8_SYM}),
        )
    least = most_of(share)
    return _with_copies(deployment, compressed).promising(
        Promise("quantized", at_least=least),
        Promise(f"weights.int{bits}", at_least=least),
        Promise("nodes.quantized", at_least=1),
    )


def halve(deployment: Deployment) -> Deployment:
    """Weights stored in float16; OpenVINO converts them back, and computes in the precision that it is set to."""
    import openvino

    path = deployment.folder / "half.xml"
    openvino.save_model(deployment.network, path, compress_to_fp16=True)
    return deployment.replace(network=openvino.Core().read_model(path)).promising(
        Promise("weights.float16", at_least=0.9)
    )


def has_attention(network: Any) -> bool:
    """Whether a softmax of the network is multiplied with other activations, as attention does."""
    from harness.runtimes.openvino_graph import behind, operations

    return any(
        found.get_type_name() == "ScaledDotProductAttention"
        or (found.get_type_name() == "Softmax" and any(one.get_type_name() == "MatMul" for one in behind(found)))
        for found in operations(network)
    )


def _with_copies(deployment: Deployment, network: Any) -> Deployment:
    """The deployment with what NNCF made of its network, whose copies of weights break no earlier promise.

    A table that is looked up and multiplied with as well has a transposed copy of its own for the product.
    """
    from harness.runtimes.openvino_graph import elements

    return deployment.allowing(elements(deployment.network), elements(network)).replace(network=network)


def _folded(network: Any) -> Any:
    """A copy with what follows from constants alone computed, such as the embedding of positions.

    NNCF leaves such operations out of its graph, and then looks for them there.
    """
    from openvino.passes import ConstantFolding, Manager

    copy, manager = network.clone(), Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(copy)
    return copy


def _fixed_batch(network: Any) -> int | None:
    """The length of the first axis of a network's inputs; None where it is free, or they have none in common."""
    shapes = [port.get_partial_shape() for port in network.inputs]
    axes = [next(iter(shape), None) if shape.rank.is_static else None for shape in shapes]
    lengths: set[int | None] = {axis.get_length() if axis is not None and axis.is_static else None for axis in axes}
    return lengths.pop() if len(lengths) == 1 else None


def _turned(network: Any) -> bool:
    """Whether a constant is transposed at each call."""
    from harness.runtimes.openvino_graph import operations

    for found in operations(network):
        if found.get_type_name() == "Transpose":
            source = found.input_value(0).get_node()
            while source.get_type_name() == "Convert":
                source = source.input_value(0).get_node()
            if source.get_type_name() == "Constant":
                return True
    return False


def _named(network: Any, patterns: Sequence[str]) -> tuple[str, ...]:
    """The operations that these patterns name: their own names, globs of them, or types.

    Raises `SuiteError` for a pattern that names none.
    """
    from harness.runtimes.openvino_graph import operations, weights_with_readers

    parts = {
        found.get_friendly_name(): ((found.get_friendly_name(),), found.get_type_name())
        for found in operations(network)
        if found.get_type_name() not in ("Constant", "Parameter", "Result")
    }
    layers = [one.get_friendly_name() for _, readers in weights_with_readers(network) for one in readers]
    there = f"there are {listed(layers, 'more with weights')}"
    return tuple(named_by(patterns, parts, f"names no operation of the network; {there}"))


def _promises(network: Any, kept: Collection[str], *, reduced: bool) -> tuple[Promise, ...]:
    """That nine tenths of the weights in reach are quantized, what is kept is not, and integers are computed on.

    Where weights are `reduced` to 7 bits, that as well, if all that has weights is reached: NNCF quantizes embeddings
    and recurrent layers too, and leaves them 8.

    Raises `PreparationError` where nothing is left to quantize.
    """
    from harness.runtimes.openvino_graph import weights_with_readers

    weights = weights_with_readers(network)
    reads = []
    for elements, readers in weights:
        taken = frozenset(one.get_friendly_name() for one in readers if one.get_type_name() in _WEIGHTED)
        others = frozenset(one.get_friendly_name() for one in readers) - taken
        reads.append(Read(elements, taken, others))
    reached, floats = shares(reads, kept)
    if not reached:
        raise PreparationError(
            f"there is nothing to quantize: no {', '.join(_WEIGHTED)} of this network has weights"
            f"{' that keep leaves' if kept else ''}"
        )
    promises: tuple[Promise, ...] = (
        Promise("quantized", at_least=most_of(reached)),
        Promise("nodes.quantized", at_least=1),
    )
    if floats:
        promises = (*promises, Promise("weights.float32", at_least=nearly(floats)))
    alone = all(one.get_type_name() in _WEIGHTED for _, readers in weights for one in readers)
    return (*promises, Promise("quantized.bits", at_most=7)) if reduced and alone else promises


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """NNCF, without its reports and progress on standard output, and without what it would send home.

    It looks for the variable when it is first imported (NNCF, telemetry/wrapper.py).
    """
    logger = logging.getLogger("nncf")
    with variable("NNCF_CI", "1"), contextlib.redirect_stdout(io.StringIO()):
        import nncf

        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield nncf
        finally:
            logger.setLevel(level)
