"""What counts as a weight, and the facts that are computed from weights and operators, the same for every runtime.

A **weight** is a trained tensor of floating point numbers, or of integers of 8 bits or fewer that stand for them, with
at least two axes longer than one: a matrix, a convolution kernel, an embedding. Biases, the vectors of normalisation
layers (also where an exporter has reshaped them to `(1, C, 1, 1)`), scales and zero points are none. Exporters and
runtimes fold those into each other, each in its own way; so counted, a network has the same number of parameters before
and after export, fusion and quantization, but for rows that no input can reach and that folding constants drops.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.records import Scalar

__all__ = ["Weight", "arithmetic_facts", "is_weight_shape", "weight_facts"]


@dataclass(frozen=True)
class Weight:
    """One weight as it is stored.

    dtype      `float32`, `bfloat16`, `int8`, `int4`
    elements   how many numbers it stands for
    zeros      of them, those that stand for exactly zero
    magnitude  largest distance of a stored integer from its zero point; None for floating point
    """

    dtype: str
    elements: int
    zeros: int
    magnitude: int | None = None

    @property
    def bits(self) -> int:
        """Bits of one element, read from the name of its type."""
        return bits_of(self.dtype)


def is_weight_shape(shape: Sequence[int]) -> bool:
    """Whether a tensor of this shape is a weight rather than a bias or a scale."""
    return sum(length > 1 for length in shape) >= 2


def bits_of(dtype: str) -> int:
    """The number in a type's name: `bfloat16` has 16 bits, `float8_e4m3fn` 8; 0 where there is none (`bool`)."""
    found = re.search(r"\d+", dtype)
    return int(found.group()) if found else 0


def is_weight_dtype(dtype: str) -> bool:
    """Whether numbers of this type can be weights: floating point, or integers of 8 bits or fewer."""
    return "float" in dtype or 0 < bits_of(dtype) <= 8


def weight_facts(weights: Iterable[Weight]) -> dict[str, Scalar]:
    """The standard facts about weights; shares are of elements, and absent where a network has no weights.

    quantized.bits is the width that the quantised integers really use, sign included: 8 for values up to 127 away from
    their zero point, 7 for the reduced range of up to 64.
    """
    weights = list(weights)
    total = sum(weight.elements for weight in weights)
    facts: dict[str, Scalar] = {"parameters": total}
    if not total:
        return facts
    facts["sparsity"] = sum(weight.zeros for weight in weights) / total
    facts["quantized"] = sum(weight.elements for weight in weights if weight.bits <= 8) / total
    for dtype in sorted({weight.dtype for weight in weights}):
        facts[f"weights.{dtype}"] = sum(weight.elements for weight in weights if weight.dtype == dtype) / total
    widths = [
        min(max(weight.magnitude - 1, 0).bit_length() + 1, weight.bits)
        for weight in weights
        if weight.magnitude is not None
    ]
    if widths:
        facts["quantized.bits"] = max(widths)
    return facts


def arithmetic_facts(products: Sequence[str], others: Sequence[str]) -> dict[str, Scalar]:
    """`precision` and `arithmetic.<dtype>` from the types in which operators computed in one call.

    `products` has one type for each matrix product, convolution, recurrence or attention; a network without any is
    described by the floating point types among `others`.
    """
    types = list(products) or [dtype for dtype in others if "float" in dtype]
    facts: dict[str, Scalar] = {"precision": "+".join(sorted(set(types))) or "unknown"}
    facts.update({f"arithmetic.{dtype}": types.count(dtype) / len(types) for dtype in sorted(set(types))})
    return facts
