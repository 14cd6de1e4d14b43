"""What counts as a weight, and the facts that are computed from weights and operators, the same for every runtime.

A **weight** is a trained tensor of floating point numbers, or of integers of 8 bits or fewer that stand for them, with
at least two axes longer than one: a matrix, a convolution kernel, an embedding. Biases, the vectors of normalisation
layers (also where an exporter has reshaped them to `(1, C, 1, 1)`), scales and zero points are none. Exporters and
runtimes fold those into each other, each in its own way; so counted, a network has the same number of parameters before
and after export, fusion and quantization, but for rows that no input can reach and that folding constants drops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from harness.fidelity import bits_of
from harness.records import Scalar

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "N_M",
    "Node",
    "Weight",
    "arithmetic_facts",
    "is_weight_shape",
    "kept_patterns",
    "node_facts",
    "weight_facts",
    "weight_of",
]

N_M = {"1:2": (1, 2), "1:4": (1, 4), "2:4": (2, 4), "4:8": (4, 8)}
"""Patterns of zeros that are looked for: at most n of m numbers beside each other on the input axis are not zero."""


@dataclass(frozen=True)
class Weight:
    """One weight as it is stored.

    dtype      `float32`, `bfloat16`, `int8`, `int4`
    elements   how many numbers it stands for
    zeros      of them, those that stand for exactly zero
    magnitude  largest distance of a stored integer from its zero point; None for floating point
    patterns   elements in groups that keep to each pattern of `N_M`; None for a weight that is not multiplied with
               inputs, such as an embedding, or whose input axis the runtime can't tell
    """

    dtype: str
    elements: int
    zeros: int
    magnitude: int | None = None
    patterns: Mapping[str, int] | None = None

    @property
    def bits(self) -> int:
        """Bits of one element, read from the name of its type."""
        return bits_of(self.dtype)


def is_weight_shape(shape: Sequence[int]) -> bool:
    """Whether a tensor of this shape is a weight rather than a bias or a scale."""
    return sum(length > 1 for length in shape) >= 2


def kept_patterns(nonzero: np.ndarray[Any, Any], axis: int) -> dict[str, int]:
    """Elements that lie in groups which keep to each pattern of `N_M`.

    `nonzero` says of each element of a weight whether it is another number than zero; groups are of neighbours on
    `axis`, that of the inputs. Where the axis is no whole number of groups, none keeps.
    """
    import numpy as np

    rows = np.moveaxis(nonzero, axis, -1)
    kept = dict.fromkeys(N_M, 0)
    for name, (n, m) in N_M.items():
        if rows.shape[-1] % m == 0:
            kept[name] = int((rows.reshape(-1, m).sum(axis=1) <= n).sum()) * m
    return kept


def weight_of(dtype: str, values: np.ndarray[Any, Any], zero_point: Callable[[], Any], axis: int | None) -> Weight:
    """What there is to say of a weight from its numbers as they are stored, of this type.

    Integers are counted by their distance from the zero point, which is asked for them alone. `axis` is the one that is
    multiplied with inputs, None where no product reads the weight.
    """
    integers = "float" not in dtype
    distances = abs(values.astype("int32") - zero_point()) if integers else values
    return Weight(
        dtype,
        values.size,
        int((distances == 0).sum()),
        int(distances.max(initial=0)) if integers else None,
        None if axis is None else kept_patterns(distances != 0, axis),
    )


def is_weight_dtype(dtype: str) -> bool:
    """Whether numbers of this type can be weights: floating point, or integers of 8 bits or fewer."""
    return "float" in dtype or 0 < bits_of(dtype) <= 8


def weight_facts(weights: Iterable[Weight]) -> dict[str, Scalar]:
    """The standard facts about weights; shares are of elements, and absent where a network has no weights.

    quantized.bits is the width that the quantised integers really use, sign included: 8 for values up to 127 away from
    their zero point, 7 for the reduced range of up to 64. sparsity.<n>:<m> is the share of the weights that are
    multiplied with inputs which lies in groups of m with at most n numbers other than zero; it is there where at least
    half of them do.
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
    facts.update(_pattern_facts([weight for weight in weights if weight.patterns is not None]))
    widths = [
        min(max(weight.magnitude - 1, 0).bit_length() + 1, weight.bits)
        for weight in weights
        if weight.magnitude is not None
    ]
    if widths:
        facts["quantized.bits"] = max(widths)
    return facts


def _pattern_facts(multiplied: Sequence[Weight]) -> dict[str, Scalar]:
    total = sum(weight.elements for weight in multiplied)
    kept = {name: sum((weight.patterns or {}).get(name, 0) for weight in multiplied) for name in N_M}
    return {f"sparsity.{name}": count / total for name, count in kept.items() if total and count >= total / 2}


def arithmetic_facts(products: Sequence[str], others: Sequence[str]) -> dict[str, Scalar]:
    """`precision` and `arithmetic.<dtype>` from the types in which operators computed in one call.

    `products` has one type for each matrix product, convolution, recurrence or attention; a network without any is
    described by the floating point types among `others`.
    """
    types = list(products) or [dtype for dtype in others if "float" in dtype]
    facts: dict[str, Scalar] = {"precision": "+".join(sorted(set(types))) or "unknown"}
    facts.update({f"arithmetic.{dtype}": types.count(dtype) / len(types) for dtype in sorted(set(types))})
    return facts


class Node(Protocol):
    """An operator that ran: whether it multiplies, in which type it computes, and whether on integers of few bits."""

    @property
    def product(self) -> bool: ...
    @property
    def arithmetic(self) -> str: ...
    @property
    def quantized(self) -> bool: ...


def node_facts(nodes: Sequence[Node]) -> dict[str, Scalar]:
    """The standard facts about the operators of one call."""
    return {
        **arithmetic_facts(
            [node.arithmetic for node in nodes if node.product], [node.arithmetic for node in nodes if not node.product]
        ),
        "nodes": len(nodes),
        "nodes.quantized": sum(node.quantized for node in nodes),
    }
