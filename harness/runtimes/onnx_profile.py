"""What ONNX Runtime really executed in one call, read from its profile."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.records import Scalar
from harness.runtimes.facts import node_facts
from harness.runtimes.onnxruntime_providers import PROVIDERS, provider_of

__all__ = ["Executed", "executed", "fallbacks", "is_product", "profile_facts"]

_PRODUCTS = ("Conv", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Attention", "Einsum")
_INTEGER = (
    "QLinear",
    "Integer",
    "QGemm",
    "QAttention",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "NBits",
)
_TYPES = {"float": "float32", "double": "float64"}
_FEW = 100
"""Numbers that a constant has at most for ONNX Runtime to compute with it and a shape on the CPU."""
_CPU = PROVIDERS["cpu"].full


@dataclass(frozen=True)
class Executed:
    """One node that ran: its operator, the provider that ran it, and the type of its first input, "" without inputs.

    `shapes` says whether it computes with shapes: it reads and writes single numbers and short rows of them alone.
    """

    operator: str
    provider: str
    dtype: str
    shapes: bool = False

    @property
    def compiled(self) -> bool:
        """Whether it stands for a part of the network that its provider compiled, and does not tell of."""
        provider = provider_of(self.provider)
        return provider is not None and provider.compiles

    @property
    def quantized(self) -> bool:
        """Whether it computes on integers of 8 bits or fewer; merely converting to or from them is not computing."""
        return not self.compiled and any(word in self.operator for word in _INTEGER)

    @property
    def product(self) -> bool:
        """Whether it is, or may hold, a matrix product, convolution, recurrence or attention."""
        return self.compiled or is_product(self.operator)

    @property
    def arithmetic(self) -> str:
        """The type in which it computes: `int8` for quantized operators, except those that only store few bits.

        `unknown` for what a provider compiled.
        """
        if self.compiled:
            return "unknown"
        return "int8" if self.quantized and "NBits" not in self.operator else self.dtype


def is_product(operator: str) -> bool:
    """Whether an operator of this name, ONNX's or ONNX Runtime's own, multiplies matrices, convolves or attends."""
    return any(word in operator for word in _PRODUCTS)


def executed(profile: Path) -> tuple[Executed, ...]:
    """The nodes in a profile of one call, those of subgraphs too; one that a loop ran several times counts once."""
    events = json.loads(profile.read_text(encoding="utf-8"))
    found: dict[tuple[str, str], Executed] = {}
    for event in events:
        name, args = event["name"], event.get("args", {})
        if event["cat"] == "Node" and name.endswith("_kernel_time"):
            read, written = (
                [pair for entry in args.get(f"{side}_type_shape", []) for pair in entry.items()]
                for side in ("input", "output")
            )
            dtype = read[0][0] if read else ""
            shapes = bool(read and written) and all(
                len(shape) <= 1 and math.prod(shape) <= _FEW for _, shape in (*read, *written)
            )
            node = Executed(args["op_name"], args["provider"], _TYPES.get(dtype, dtype), shapes)
            found[name, args.get("node_index", "")] = node
    return tuple(found.values())


def fallbacks(ran: Iterable[Executed], asked: str) -> tuple[Executed, ...]:
    """The nodes that another provider ran than the one asked for.

    The arithmetic of shapes is none of them: ONNX Runtime gives it to the CPU, where it is faster than on a GPU.
    """
    return tuple(node for node in ran if node.provider != asked and not (node.shapes and node.provider == _CPU))


def profile_facts(ran: Sequence[Executed], asked: str) -> dict[str, Scalar]:
    """The standard facts about executed nodes, where `asked` is the provider that should have run them all."""
    providers = Counter(node.provider for node in ran)
    return {
        **node_facts(ran),
        **{f"nodes.{provider}": count for provider, count in sorted(providers.items())},
        "fallbacks": len(fallbacks(ran, asked)),
    }
