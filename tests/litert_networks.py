"""Small LiteRT networks, tensor by tensor. Import after `pytest.importorskip("ai_edge_litert")`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from harness import Model
from harness.testing import tiny_onnx_model

__all__ = ["dense", "ids", "network", "tiny_litert_model", "transposed", "written"]

Node = tuple[str, Sequence[str], Sequence[str], Any]
"""Operator, names of the tensors that it reads and writes, options or None."""


def network(
    tensors: Mapping[str, Any],
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[str],
    signatures: Sequence[str] = ("serving_default",),
) -> bytes:
    """A .tflite file. `tensors` has arrays for constants and (shape, type) for the others, in the order of the file."""
    graph, model = schema.SubGraphT(), schema.ModelT()
    names = list(tensors)
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], []
    graph.tensors, graph.operators = [], []
    graph.inputs, graph.outputs = ([names.index(name) for name in part] for part in (inputs, outputs))
    for name, value in tensors.items():
        tensor = schema.TensorT()
        tensor.name, tensor.hasRank = name, True
        shape, dtype = (value.shape, value.dtype) if isinstance(value, np.ndarray) else (value[0], np.dtype(value[1]))
        tensor.shape, tensor.type = list(shape), getattr(schema.TensorType, dtype.name.upper())
        if isinstance(value, np.ndarray):
            tensor.buffer = len(model.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(value.tobytes(), np.uint8)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
    for name, read, wrote, options in nodes:
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        operator.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes.append(code)
        operator.inputs = [names.index(one) if one else -1 for one in read]
        operator.outputs = [names.index(one) for one in wrote]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        graph.operators.append(operator)
    model.signatureDefs = [_signature(key, graph, names) for key in signatures]
    return written(model)


def _signature(key: str, graph: Any, names: Sequence[str]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs, signature.outputs = [], []
    for entries, indices in ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs)):
        for index in indices:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = names[index], index
            entries.append(entry)
    return signature


def written(model: Any) -> bytes:
    """The bytes of a `ModelT`."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def dense(relu: bool = False) -> Any:
    """Options of a fully connected layer."""
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU if relu else schema.ActivationFunctionType.NONE
    return options


def ids() -> bytes:
    """A network that reads ids (1, 4) int32, and gives row after row of a table of 6 by 8."""
    table = np.arange(48, dtype=np.float32).reshape(6, 8)
    tensors = {"ids": ((1, 4), "int32"), "table": table, "rows": ((1, 4, 8), "float32")}
    return network(tensors, [("GATHER", ["table", "ids"], ["rows"], schema.GatherOptionsT())], ["ids"], ["rows"])


def transposed() -> bytes:
    """A transposed convolution of `x` (1, 3, 3, 4) into `y` (1, 6, 6, 8), which reads the shape of `y` first."""
    options = schema.TransposeConvOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 2, 2
    tensors = {
        "x": ((1, 3, 3, 4), "float32"),
        "shape": np.array([1, 6, 6, 8], np.int32),
        "w": np.random.default_rng(0).standard_normal((8, 2, 2, 4)).astype(np.float32),
        "y": ((1, 6, 6, 8), "float32"),
    }
    return network(tensors, [("TRANSPOSE_CONV", ["shape", "w", "x"], ["y"], options)], ["x"], ["y"])


def tiny_litert_model(folder: Path, signatures: Sequence[str] = ("serving_default",)) -> Model:
    """The network of `tiny_onnx_model` as LiteRT, for one image a call."""
    source = tiny_onnx_model(folder)

    def load() -> Path:
        weights = {one.name: numpy_helper.to_array(one) for one in onnx.load(str(source.load())).graph.initializer}
        tensors = {
            "image": ((1, 1, 12, 12), "float32"),
            "shape": np.array([1, 144], np.int32),
            "flat": ((1, 144), "float32"),
            "first": np.ascontiguousarray(weights["first"].T),
            "hidden": ((1, 48), "float32"),
            "second": np.ascontiguousarray(weights["second"].T),
            "output": ((1, 4), "float32"),
        }
        nodes: list[Node] = [
            ("RESHAPE", ["image", "shape"], ["flat"], None),
            ("FULLY_CONNECTED", ["flat", "first", ""], ["hidden"], dense(relu=True)),
            ("FULLY_CONNECTED", ["hidden", "second", ""], ["output"], dense()),
        ]
        path = folder / "tiny.tflite"
        path.write_bytes(network(tensors, nodes, ["image"], ["output"], signatures))
        return path

    return dataclasses.replace(source, name="tiny_litert", form="litert", load=load)
