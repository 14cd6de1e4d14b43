"""Which weights of an ONNX network the quantizers of ONNX Runtime take."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from harness.runtimes.onnx_graph import Constant, constants, nodes, weights
from harness.techniques.shares import Read

__all__ = ["TABLES", "Reach", "multiplies_integers"]

TABLES = frozenset({"EmbedLayerNormalization", "Gather", "GatherElements"})
"""Operators that look rows up, and compute on integers in no case."""


@dataclass(frozen=True)
class Reach:
    """What a quantizer takes of a network whose nodes have names of their own.

    operators  those whose weights it takes; of `MatMul` the second operand alone, of `Gemm` what multiplies integers
    stacked    of `MatMul` also weights of more than two axes
    subgraphs  also what lies in those of If, Loop and Scan
    tied       a weight that it takes also where operators of other types read it, such as Gather
    floats     of `operators` those that the runtime has no integers for: it would store some and multiply floats
    """

    operators: tuple[str, ...]
    stacked: bool = False
    subgraphs: bool = True
    tied: bool = True
    floats: tuple[str, ...] = ()

    def nodes(self, network: Any) -> Iterator[Any]:
        """The nodes that it looks at."""
        return nodes(network.graph) if self.subgraphs else iter(network.graph.node)

    def reads(self, network: Any) -> list[Read]:
        """Every weight of the network with its readers."""
        initializers = {constant.tensor.name for constant in constants(network.graph)}
        seen = {
            node.name
            for node in self.nodes(network)
            if node.op_type != "Gemm" or multiplies_integers(node, initializers)
        }
        found = []
        for constant in weights(network):
            taken = {node.name for node, number in constant.readers if self._takes(node, number, constant)} & seen
            if not self.tied:
                # A table that a product reads as well would get the scales of its channels.
                taken = {node.name for node, _ in constant.readers if node.op_type not in TABLES} & taken or taken
            others = {node.name for node, _ in constant.readers} - taken
            found.append(Read(constant.elements, frozenset(taken), frozenset(others)))
        return found

    def nothing(self, network: Any, operators: str, cure: str = "") -> str:
        """Why nothing of a network is taken; `operators` says in words of what weights would be."""
        found = {node.op_type for constant in weights(network) for node, _ in constant.readers}
        if any(read.taken for read in dataclasses.replace(self, subgraphs=True).reads(network)):
            return (
                "there is nothing to quantize: the weights of this network lie in subgraphs (If, Loop, Scan), which "
                "int8_static does not reach and int8_dynamic does"
            )
        if any(read.taken for read in dataclasses.replace(self, stacked=True).reads(network)):
            return (
                "there is nothing to quantize: the weights of this network's matrix products have more than two axes, "
                "which int8_static(per_channel=False) alone takes"
            )
        others = sorted(found - {*self.operators})
        beside = f"; others with weights are {', '.join(others)}{cure}" if others else ""
        floats = sorted({*self.operators} & {*self.floats} & found)
        if {*self.operators} & found - {*floats}:
            several = "" if self.stacked else " of two axes"
            return (
                "there is nothing to quantize: no matrix product of this network has a weight"
                f"{several} on its right that ONNX Runtime takes{beside}"
            )
        if floats:
            return f"there is nothing to quantize: ONNX Runtime has no integers for {', '.join(floats)}{beside}"
        return (
            f"there is nothing to quantize: no {operators} of this network has weights; those that have are "
            f"{', '.join(others) or 'none'}{cure}"
        )

    def _takes(self, node: Any, number: int, constant: Constant) -> bool:
        if node.op_type == "MatMul" and (number != 1 or not (self.stacked or len(constant.tensor.dims) == 2)):
            return False
        return node.op_type in self.operators and node.op_type not in self.floats


def multiplies_integers(gemm: Any, initializers: Collection[str]) -> bool:
    """Whether ONNX Runtime has integers for a Gemm: it adds nothing, or a constant to the product as it is."""
    added = gemm.input[2] if len(gemm.input) > 2 else ""
    factor = next((attribute.f for attribute in gemm.attribute if attribute.name == "alpha"), 1.0)
    return not added or (factor == 1 and added in initializers)
