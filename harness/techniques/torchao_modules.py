"""What torchao makes of exported graphs, and the module that carries one. Import this inside functions only.

The module stands at the top level of this file, so that the process that serves an artefact imports what registers
torchao's operators, and its patterns with torch's compiler, before it rebuilds a quantized graph. What changes linear
layers is in another file for the same reason: nothing that is pickled there would bring these patterns along, and a
network would be compiled in one way where it is prepared and in another where it is served.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import PreparationError
from harness.runtimes.torch_outputs import with_plain_outputs
from harness.runtimes.torch_session import as_tensors
from harness.techniques.export import dynamic_shapes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about escapes in docstrings, and its own use of what torch will drop
    from torchao.quantization.pt2e import observer as observers
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )
    from torchao.utils import should_reduce_range

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["QuantizedGraph", "exported", "left_in_float", "plain", "quantized"]


EPSILON = 2**-12
"""The smallest scale of a range, as torchao's own recipe for x86 has it."""


class QuantizedGraph(torch.nn.Module):
    """An exported program with pairs of quantize and dequantize, for the compiler to make integer kernels of.

    It is stored as torch stores programs: their graphs can't be pickled.
    """

    def __init__(self, program: Any) -> None:
        super().__init__()
        # They would be stored as well, and the size of the network would depend on the batch that it was traced with.
        program.example_inputs = None
        self.program = program
        self.graph = program.module(check_guards=False)

    def forward(self, *inputs: Any) -> Any:
        """The program's outputs."""
        return self.graph(*inputs)

    def train(self, mode: bool = True) -> QuantizedGraph:
        """A program is of one mode for ever, and refuses to be asked for another."""
        self.training = mode
        return self

    def check_staged(self, staged: tuple[Any, ...]) -> None:
        """Raise `PreparationError` for inputs of other shapes than those of the program, but for free axes."""
        _check_shapes(self.program, staged)

    def __reduce__(self) -> tuple[Any, ...]:
        stored = io.BytesIO()
        torch.export.save(self.program, stored)
        return _restored, (stored.getvalue(),)


def _restored(stored: bytes) -> QuantizedGraph:
    graph = QuantizedGraph(torch.export.load(io.BytesIO(stored)))
    graph.eval()
    return graph


def exported(network: Any, example: Arrays, *, batchable: bool) -> Any:
    """The program of a network, its batch of any size where it has one. Raises `PreparationError` where that fails."""
    inputs = as_tensors(example)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the exporter's own use of deprecated functions of torch
            shapes = dynamic_shapes(network, inputs) if batchable else None
            return torch.export.export(network, inputs, dynamic_shapes=shapes)
    except Exception as error:
        what = str(error).strip().partition("\n")[0]
        raise PreparationError(f"torch.export failed: {type(error).__name__}: {what}") from error


def plain(graph: Any, example: Arrays) -> Any:
    """A graph as it can be stored: see `harness.runtimes.torch_outputs`."""
    with torch.no_grad():
        return with_plain_outputs(graph, as_tensors(example))


def quantized(program: Any, batches: Iterable[Arrays], observer: str, kept: Collection[str]) -> Any:
    """A program's graph with quantize and dequantize around its convolutions and linear layers but those in `kept`.

    batches   calibration data
    observer  the class of torchao's that finds the range of an activation

    Raises `PreparationError` for a graph that torchao's quantizer does not take, and for batches of other lengths.
    """
    graph = program.module(check_guards=False)
    config = get_default_x86_inductor_quantization_config(reduce_range=should_reduce_range(torch.device("cpu")))
    observe = getattr(observers, observer).with_args(eps=EPSILON)
    activation = dataclasses.replace(config.input_activation, observer_or_fake_quant_ctr=observe)
    config = dataclasses.replace(config, input_activation=activation, output_activation=activation)
    quantizer = X86InductorQuantizer().set_global(config)
    for name in kept:
        quantizer.set_module_name_qconfig(name, None)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _name_calls_apart(graph)
        try:
            watched = prepare_pt2e(graph, quantizer)
        except ValueError as error:
            raise PreparationError(
                f"torchao can't mark this network: {error}; let forward call each convolution in one place, "
                "give convolutions their padding in numbers, or put onnxruntime before it: onnxruntime | int8_static"
            ) from error
        for batch in batches:
            _check_shapes(program, batch.values())
            watched(*as_tensors(batch))
        graph = convert_pt2e(watched)
    _without_unused(graph)
    return graph


def _check_shapes(program: Any, inputs: Iterable[Any]) -> None:
    """Raise `PreparationError` for inputs of other shapes than a program's, but for axes that are free in it.

    torch itself says that something inside does not fit, or takes a part of what is longer.
    """
    names = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    for node, array in zip(nodes, inputs, strict=False):
        wanted = [length if isinstance(length, int) else "any" for length in node.meta["val"].shape]
        found = list(array.shape)
        if len(found) != len(wanted) or any(a not in ("any", b) for a, b in zip(wanted, found, strict=True)):
            raise PreparationError(
                "int8_static exports a torch network for one length, here for inputs of "
                f"[{', '.join(map(str, wanted))}], and it gets {found}; pad them to one length in Model.inputs, "
                "evaluate and calibration, or leave int8_static out (int8_dynamic and compiled do for linear layers of "
                "any length)"
            )


def left_in_float(graph: Any, layers: Iterable[str]) -> list[str]:
    """Those of some layers that are convolutions over one axis and that torchao has not quantized."""
    owners = {f"{name}.weight": name for name in layers}
    kinds = (torch.ops.aten.conv1d.default, torch.ops.aten.conv1d.padding)
    weights = [node.args[1] for node in graph.graph.nodes if node.target in kinds]
    return sorted({owners[weight.target] for weight in weights if weight.target in owners})


def _name_calls_apart(graph: Any) -> None:
    """Name each further call of a module without weights as if it were one of another module.

    torchao tells layers apart by the names of their modules, and refuses a ReLU that ends in two places.
    """
    held = (*graph.named_parameters(remove_duplicate=False), *graph.named_buffers(remove_duplicate=False))
    owners = {name.rpartition(".")[0] for name, _ in held}
    for node in graph.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if not stack:
            continue
        # The exporter counts calls in its keys: relu, relu@1.
        call, (name, kind) = next(reversed(stack.items()))
        if "@" in call and name not in owners:
            node.meta["nn_module_stack"] = {**stack, call: (call, kind)}


def _without_unused(graph: Any) -> None:
    """Drop the weights in float, which stay beside their integers and which nothing reads."""
    read = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in (*graph.named_parameters(), *graph.named_buffers()) if name not in read]:
        owner, _, last = name.rpartition(".")
        delattr(graph.get_submodule(owner), last)
