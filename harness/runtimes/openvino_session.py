"""A network compiled by OpenVINO. Imports openvino and numpy, never torch: import this inside functions only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openvino

from harness.errors import MeasurementError, PreparationError
from harness.fidelity import beyond
from harness.records import Scalar
from harness.runtimes.base import absent_input, decisive, other_type
from harness.runtimes.facts import node_facts, weight_facts
from harness.runtimes.openvino_graph import executed, network_weights, type_name

__all__ = ["OpenVinoSession", "check_fusing", "shaped"]

Arrays = Mapping[str, np.ndarray[Any, Any]]

_DEVICE = "CPU"
TOLERANCE = 0.1
"""Relative L2 distance that fusing may make: quantized numbers that are rounded elsewhere, far less than a fault."""
Shapes = tuple[tuple[int, ...], ...]


class Staged(NamedTuple):
    """A call made ready: the request for its shapes, and inputs that share the memory of arrays held beside them."""

    request: Any
    tensors: tuple[Any, ...]
    arrays: tuple[Any, ...]


class OpenVinoSession:
    """A session whose calls read numpy arrays where they lie, and leave outputs in the request's own memory.

    The shapes that the network was packed for are compiled when it is loaded; others, at their first call.
    Raises `PreparationError` where OpenVINO refuses the network, and `MeasurementError` (outcome `invalid`) where it
    was compiled with other threads or in another precision than asked for.
    """

    def __init__(self, path: Path, *, precision: str, threads: int, fusing: bool) -> None:
        self._core = openvino.Core()
        self._config = configuration(precision, threads)
        # Not given back as told: False where no core has two threads, and a property of the plugin's own.
        self._hidden = {"ENABLE_HYPER_THREADING": True, **({} if fusing else {"SNIPPETS_MODE": "DISABLE"})}
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise PreparationError(f"OpenVINO can't read the network: {error}") from error
        self._outputs = [_name(port) for port in self._model.outputs]
        shapes = tuple(tuple(port.get_shape()) for port in self._model.inputs)
        self._requests: dict[Shapes, Any] = {shapes: self._compile(self._model).create_infer_request()}

    def stage(self, inputs: Arrays) -> Staged:
        arrays = tuple(_servable(array) for array in matched(self._model, inputs))
        tensors = tuple(openvino.Tensor(array, shared_memory=True) for array in arrays)
        for port, tensor in zip(self._model.inputs, tensors, strict=True):
            wanted, given = type_name(port.get_element_type()), type_name(tensor.get_element_type())
            if wanted not in (given, "dynamic"):
                raise other_type(_name(port), wanted, given, "the network")
        shapes = tuple(array.shape for array in arrays)
        if shapes not in self._requests:
            self._requests[shapes] = self._compile(shaped(self._model, inputs)).create_infer_request()
        return Staged(self._requests[shapes], tensors, arrays)

    def __call__(self, staged: Staged) -> Any:
        request = staged.request
        for number, tensor in enumerate(staged.tensors):
            request.set_input_tensor(number, tensor)
        request.infer(share_outputs=True)
        return request

    def fetch(self, outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        found = {}
        for number, name in enumerate(self._outputs):
            array = outputs.get_output_tensor(number).data
            found[name] = array.astype(np.float32) if array.dtype.kind == "f" else array.copy()
        return found

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """Weights of the served file, and the nodes that a second compilation of it executes with counters on."""
        compiled = self._compile(shaped(self._model, example), PERF_COUNT=True)
        request = compiled.create_infer_request()
        request.infer([openvino.Tensor(array) for array in matched(self._model, example)])
        hint = compiled.get_property("INFERENCE_PRECISION_HINT")
        return {
            "runtime": "openvino",
            "provider": "+".join(compiled.get_property("EXECUTION_DEVICES")),
            "precision.float": type_name(hint),
            **weight_facts(network_weights(self._model)),
            **node_facts(executed(compiled.get_runtime_model(), self._model)),
        }

    def _compile(self, model: Any, **more: Any) -> Any:
        try:
            compiled = self._core.compile_model(model, _DEVICE, {**self._config, **self._hidden, **more})
        except RuntimeError as error:
            raise PreparationError(f"OpenVINO can't compile the network: {error}") from error
        for name, wanted in self._config.items():
            found = compiled.get_property(name)
            found = found.get_type_name() if isinstance(found, openvino.Type) else found
            if found != wanted:
                raise MeasurementError(
                    f"OpenVINO was told {name} = {wanted}, and took {found}: what is measured is not what was asked "
                    "for",
                    outcome="invalid",
                )
        return compiled


def check_fusing(fused: OpenVinoSession, plain: OpenVinoSession, example: Arrays) -> None:
    """Raise `PreparationError` where a network gives something else when its operations are fused."""
    found, wanted = (session.fetch(session(session.stage(example))) for session in (fused, plain))
    for name, expected in decisive(wanted).items():
        if found[name].shape != expected.shape:
            raise PreparationError(
                f"OpenVINO gives {name} the shape {list(found[name].shape)}, and {list(expected.shape)} when it fuses "
                "no operations: rounding decides how much the network selects (let it end before it selects, as an "
                "NMS does, or try openvino(fusing=False))"
            )
        if error := beyond(found[name], expected, TOLERANCE):
            raise PreparationError(
                f"OpenVINO gives {name} {error:.2g} (relative) away from what it gives when it fuses no operations, "
                f"and the limit is {TOLERANCE}: its generated code is at fault, or the network so coarsely quantized "
                "that rounding decides (try openvino(fusing=False), and look at the accuracy)"
            )


def configuration(precision: str, threads: int) -> dict[str, Any]:
    """Options that leave nothing to defaults which differ between machines.

    One stream, since one call is timed at a time; the harness pins the threads itself. Denormal numbers count as zero,
    as they do in torch here. Activations before weights of few bits stay in floating point.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "CPU_DENORMALS_OPTIMIZATION": True,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


def matched(model: Any, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
    """The arrays in the order of the network's inputs. Raises `PreparationError` for an input that has no array."""
    found = []
    for port in model.inputs:
        name = next((name for name in port.get_names() if name in inputs), None)
        if name is None:
            raise absent_input(_name(port), inputs, "the network")
        found.append(inputs[name])
    return found


def shaped(model: Any, inputs: Arrays) -> Any:
    """A copy of the network for the shapes of these inputs. Raises `PreparationError` where it does not take them.

    Not by `Model.reshape`: it derives reshapes before matrix products from the shape of the weights, and then weights
    of few bits are unpacked when the network is compiled.
    """
    arrays = matched(model, inputs)
    copy = model.clone()
    try:
        for port, array in zip(copy.inputs, arrays, strict=True):
            port.get_node().set_partial_shape(openvino.PartialShape(list(array.shape)))
        copy.validate_nodes_and_infer_types()
    except RuntimeError as error:
        shapes = [list(array.shape) for array in arrays]
        raise PreparationError(f"the network does not take inputs of the shapes {shapes}: {error}") from error
    return copy


def _servable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array itself where OpenVINO can read it in its place; it must lie in one piece and not be read only."""
    array = np.asarray(array, order="C")
    return array if array.flags.writeable else array.copy()


def _name(port: Any) -> str:
    """The name that the network gives to an input or output; of several, the first in the alphabet."""
    names = port.get_names()
    return min(names) if names else str(port.get_node().get_friendly_name())
