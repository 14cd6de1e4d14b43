"""A network in LiteRT's interpreter. Imports ai_edge_litert at its top, so it is imported where one is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from harness.errors import PreparationError
from harness.records import Scalar
from harness.runtimes.base import absent_input
from harness.runtimes.facts import node_facts, weight_facts
from harness.runtimes.litert import BUILTIN, XNNPACK

if TYPE_CHECKING:
    from harness.runtimes.litert_graph import Operator

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["LiteRtSession", "delegated"]


@dataclass(frozen=True)
class Port:
    """An input or output: what the signature calls it, and how the interpreter has it."""

    name: str
    index: int
    dtype: Any
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def quantized(self) -> bool:
        """Whether it is of integers that stand for floating point numbers."""
        return self.scale != 0 and np.dtype(self.dtype).kind in "iu"


class LiteRtSession:
    """A network whose calls take and give numpy arrays.

    Inputs are converted when they are staged, and outputs when they are fetched, which is in no time: integers to the
    width that the file wants, and floating point numbers to and from its integers where the file is integer up to its
    ends. Raises `PreparationError` where LiteRT refuses the file, or the inputs do not fit it.
    """

    def __init__(self, path: Path, *, threads: int, provider: str) -> None:
        self._path = path
        self._provider = provider
        kernels = OpResolverType.AUTO if provider == XNNPACK else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter = Interpreter(str(path), experimental_op_resolver_type=kernels, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise PreparationError(f"LiteRT refuses the network: {error}") from error
        self.signature = _signature(self._interpreter)
        self._inputs, self._outputs = _ports(self._interpreter, self.signature)
        self._wanted = [port.index for port in self._outputs]

    def stage(self, inputs: Arrays) -> Any:
        fitted = self.fitted(inputs)
        return [(port.index, fitted[port.name]) for port in self._inputs]

    def __call__(self, staged: Any) -> Any:
        interpreter = self._interpreter
        for index, array in staged:
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._wanted]

    def fetch(self, outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        return {port.name: _as_float(port, array) for port, array in zip(self._outputs, outputs, strict=True)}

    def facts(self, example: Arrays) -> dict[str, Scalar]:  # noqa: ARG002 - the nodes of a call are those of the file
        """Weights and operators of the served file, and who executes them."""
        from harness.runtimes.litert_graph import Graph

        graph = Graph(self._path.read_bytes())
        operators = graph.operators()
        taken = delegated(operators, self._interpreter._get_ops_details()[len(operators) :])
        own = len(operators) - len(taken)
        return {
            "runtime": "litert",
            "provider": XNNPACK if taken else BUILTIN,
            **weight_facts(graph.weights()),
            **node_facts([*operators, *graph.bodies()]),  # of the bodies nothing says who executes them
            **{f"nodes.{name}": count for name, count in ((XNNPACK, len(taken)), (BUILTIN, own)) if count},
            "fallbacks": own if self._provider == XNNPACK else 0,
        }

    def fitted(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """The inputs that the network reads, in the types that it reads them in."""
        return {port.name: _fitted(port, inputs) for port in self._inputs}


def delegated(operators: Sequence[Operator], appended: Iterable[Mapping[str, Any]]) -> set[int]:
    """Numbers of the operators that delegates execute.

    A delegate replaces operators by a node of its own, which the interpreter appends. It is known by what the node
    reads and writes: an operator belongs to it where it gives something that the node writes, or that another operator
    of it reads, and not something that the node reads.
    """
    maker = {index: operator for operator in operators for index in operator.outputs}
    taken: set[int] = set()
    for node in appended:
        given = {int(index) for index in node["inputs"]}
        wanted = [int(index) for index in node["outputs"]]
        while wanted:
            index = wanted.pop()
            operator = maker.get(index)
            if index not in given and operator is not None and operator.number not in taken:
                taken.add(operator.number)
                wanted.extend(operator.inputs)
    return taken


def _fitted(port: Port, inputs: Arrays) -> np.ndarray[Any, Any]:
    if port.name not in inputs:
        raise absent_input(port.name, inputs, "the signature of the .tflite file")
    array = np.asarray(inputs[port.name], order="C")
    if array.shape != port.shape:
        cure = "let Model.evaluate pass inputs of the lengths that Model.inputs gives (padded to one length)"
        if array.shape[1:] == port.shape[1:]:
            cure = (
                "put batched before litert (batched(8) | litert), and give a model that comes as LiteRT batchable=False"
            )
        raise PreparationError(
            f"input {port.name!r} of the network has the shape {list(port.shape)}, and the call gives it "
            f"{list(array.shape)}; a LiteRT file is made for one shape, so {cure}"
        )
    if port.quantized and array.dtype.kind == "f":
        limits = np.iinfo(port.dtype)
        integers = np.clip(np.rint(array / port.scale) + port.zero_point, limits.min, limits.max)
        return np.asarray(integers, port.dtype)
    fitted, wanted = array.astype(port.dtype, copy=False), np.dtype(port.dtype)
    if (array.dtype.kind in "iu" or wanted.kind in "iu") and not np.array_equal(fitted, array):
        raise PreparationError(
            f"input {port.name!r} is {array.dtype} and holds numbers that {wanted} can't hold, which the .tflite file "
            "reads; give it others in Model.inputs, evaluate and calibration alike"
        )
    return fitted


def _signature(interpreter: Any) -> str:
    """The name of the one signature; "" where the file has none. Raises `PreparationError` where it has several."""
    signatures = list(interpreter.get_signature_list())
    if len(signatures) > 1:
        raise PreparationError(
            f"the .tflite file has {len(signatures)} signatures ({', '.join(signatures)}), and one is needed: make a "
            "file of each"
        )
    return signatures[0] if signatures else ""


def _ports(interpreter: Any, signature: str) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs in the order of the file, by the names of its signature or else those of its tensors."""
    names: dict[int, str] = {}
    if signature:
        # A runner that lives on would block every call of the interpreter.
        runner = interpreter.get_signature_runner(signature)
        for details in (runner.get_input_details(), runner.get_output_details()):
            names.update({entry["index"]: name for name, entry in details.items()})
        del runner
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return [_port(entry, names) for entry in inputs], [_port(entry, names) for entry in outputs]


def _port(details: Mapping[str, Any], names: Mapping[int, str]) -> Port:
    index = int(details["index"])
    scale, zero_point = details["quantization"]
    shape = tuple(int(length) for length in details["shape"])
    return Port(names.get(index, details["name"]), index, details["dtype"], shape, float(scale), int(zero_point))


def _as_float(port: Port, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if port.quantized:
        return ((array.astype(np.float32) - port.zero_point) * port.scale).astype(np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array
