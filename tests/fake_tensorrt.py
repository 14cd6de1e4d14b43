"""A scripted `tensorrt` for machines without a GPU: engines hold the ONNX network, and ONNX Runtime executes them.

It has the names, arguments and answers of TensorRT's documented Python interface that the harness uses, None instead of
exceptions where TensorRT gives that. Addresses are of this process's memory, as on a GPU they are of the device's.
"""

from __future__ import annotations

import ctypes
import enum
import json
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

__all__ = ["FakeTensorRt", "as_module"]

NUMPY = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_,
}  # fmt: skip
QUANTIZED = "DequantizeLinear"


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        pass

    def log(self, severity: Severity, message: str) -> None:
        raise NotImplementedError


@dataclass
class FakeTensorRt:
    """What the package does and what was asked of it.

    calls   in order
    refuse  what gives None or False, as the real one does: "parse", "build", "deserialize", "context", "shape", "run",
            and "timings" of an earlier build
    kind    the type of each layer, where it is not its node's: "kgen" is a fused kernel's
    """

    version: str = "10.15.1.29"
    calls: list[str] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    builds: list[dict[str, Any]] = field(default_factory=list)
    kind: str = ""

    def refused(self, what: str, log: Any) -> bool:
        self.calls.append(what)
        if what in self.refuse:
            log.log(Severity.ERROR, f"{what}: refused by script")
        return what in self.refuse


def as_module(script: FakeTensorRt, name: str = "tensorrt") -> Any:
    """The module for `sys.modules`. `tensorrt_rtx` has a runtime cache and strategies, and no use for timings."""
    module: Any = ModuleType(name)
    module.__version__ = script.version
    module.__spec__ = ModuleSpec(name, None, origin="fake")
    module.ILogger = ILogger
    module.ProfilingVerbosity = enum.Enum("ProfilingVerbosity", ["LAYER_NAMES_ONLY", "DETAILED"])
    module.BuilderFlag = enum.Enum("BuilderFlag", ["TF32"])
    module.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", ["STRONGLY_TYPED"])
    module.TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
    module.LayerInformationFormat = enum.Enum("LayerInformationFormat", ["ONELINE", "JSON"])
    module.Builder = lambda log: _Builder(script, module, log)
    module.OnnxParser = lambda network, log: _Parser(script, network, log)
    module.Runtime = lambda log: _Runtime(script, module, log)
    if name == "tensorrt_rtx":
        strategies = ["LAZY", "EAGER", "NONE"]
        module.DynamicShapesKernelSpecializationStrategy = enum.Enum("DynamicShapes", strategies)
    return module


class _Builder:
    def __init__(self, script: FakeTensorRt, module: Any, log: Any) -> None:
        self._script, self._module, self._log = script, module, log

    def create_network(self, flags: int) -> Any:
        return SimpleNamespace(flags=flags, onnx=None, num_inputs=0, get_input=None)

    def create_builder_config(self) -> Any:
        return _Config(self._script, self._module.__name__ == "tensorrt")

    def create_optimization_profile(self) -> Any:
        return _Profile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        if self._script.refused("build", self._log):
            return None
        self._script.builds.append(
            {
                "flags": network.flags,
                "cleared": [flag.name for flag in config.cleared],
                "verbosity": config.profiling_verbosity.name,
                "shapes": config.shapes,
                "timings": config.given,
            }
        )
        return memoryview(json.dumps({"onnx": network.onnx.SerializeToString().hex()}).encode())


class _Config:
    def __init__(self, script: FakeTensorRt, with_timings: bool) -> None:
        self._script = script
        self.cleared: list[Any] = []
        self.shapes: dict[str, Any] = {}
        self.given: bytes | None = None
        self.profiling_verbosity: Any = None
        if with_timings:
            self.create_timing_cache = lambda content: SimpleNamespace(content=content, serialize=lambda: b"learnt")

    def clear_flag(self, flag: Any) -> None:
        self.cleared.append(flag)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content and "timings" in self._script.refuse:
            return False
        self.given = cache.content
        return True

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.shapes = profile.shapes
        return 0


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        self.shapes[name] = [list(least), list(best), list(most)]


class _Parser:
    def __init__(self, script: FakeTensorRt, network: Any, log: Any) -> None:
        self._script, self._network, self._log = script, network, log
        self.num_errors = 0

    def parse(self, content: bytes) -> bool:
        if self._script.refused("parse", self._log):
            self.num_errors = 1
            return False
        network = onnx.load_from_string(content)
        inputs = [
            SimpleNamespace(name=value.name, shape=[d.dim_value or -1 for d in value.type.tensor_type.shape.dim])
            for value in network.graph.input
        ]
        self._network.onnx, self._network.num_inputs = network, len(inputs)
        self._network.get_input = inputs.__getitem__
        return True

    def get_error(self, number: int) -> Any:
        return SimpleNamespace(desc=lambda: "In node 3 (importX): UNSUPPORTED_NODE")


class _Runtime:
    def __init__(self, script: FakeTensorRt, module: Any, log: Any) -> None:
        self._script, self._module, self._log = script, module, log

    def deserialize_cuda_engine(self, content: bytes) -> Any:
        if self._script.refused("deserialize", self._log):
            return None
        return _Engine(self._script, self._module, self._log, bytes.fromhex(json.loads(content)["onnx"]))


class _Engine:
    def __init__(self, script: FakeTensorRt, module: Any, log: Any, content: bytes) -> None:
        self._script, self._module, self._log = script, module, log
        self.network = onnx.load_from_string(content)
        graph = self.network.graph
        initializers = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in initializers]
        self._modes = {value.name: module.TensorIOMode.INPUT for value in inputs}
        self._modes |= {value.name: module.TensorIOMode.OUTPUT for value in graph.output}
        self._types = {
            value.name: onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).replace("FLOAT16", "HALF")
            for value in (*inputs, *graph.output)
        }
        options = ort.SessionOptions()
        options.log_severity_level = 4
        self.session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.num_io_tensors = len(self._modes)

    def get_tensor_name(self, number: int) -> str:
        return list(self._modes)[number]

    def get_tensor_mode(self, name: str) -> Any:
        return self._modes[name]

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self._types[name])

    def create_runtime_config(self) -> Any:
        return _RuntimeConfig(self._script)

    def create_execution_context(self, config: Any = None) -> Any:
        if self._script.refused("context", self._log):
            return None
        if config is not None:
            self._script.calls.append(f"strategy {config.dynamic_shapes_kernel_specialization_strategy.name}")
        return _Context(self._script, self, self._log)

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(execution_context=None, get_engine_information=lambda _: json.dumps(self._layers()))

    def _layers(self) -> Any:
        """A layer for each node, but that pairs of Q and DQ are fused into what computes on integers between them."""
        makers = {output: node for node in self.network.graph.node for output in node.output}
        layers = []
        for node in self.network.graph.node:
            if node.op_type in ("QuantizeLinear", QUANTIZED):
                continue
            name = node.name or f"node_of_{node.output[0]}"
            maker = makers.get(node.input[0]) if node.input else None
            dtype = "Int8" if maker is not None and maker.op_type == QUANTIZED else self._word(node)
            layers.append(
                {
                    "Name": name,
                    "LayerType": self._script.kind or node.op_type,
                    "Inputs": [{"Name": node.input[0] if node.input else "", "Format/Datatype": dtype}],
                    "Outputs": [],
                    "Metadata": f"[ONNX Layer: {name}]",
                }
            )
        return {"Layers": layers, "Bindings": list(self._modes)}

    def _word(self, node: Any) -> str:
        halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in self.network.graph.initializer)
        return "Half" if halves and node.op_type != "Cast" else "Float"


class _RuntimeConfig:
    def __init__(self, script: FakeTensorRt) -> None:
        self._script = script
        self.dynamic_shapes_kernel_specialization_strategy: Any = None

    def create_runtime_cache(self) -> Any:
        return SimpleNamespace(
            serialize=lambda: b"kernels", deserialize=lambda content: self._script.calls.append(f"cache {content!r}")
        )

    def set_runtime_cache(self, cache: Any) -> None:
        self._script.calls.append("set cache")


class _Context:
    """Reads inputs at their addresses and writes outputs to theirs, like the device."""

    def __init__(self, script: FakeTensorRt, engine: _Engine, log: Any) -> None:
        self._script, self._engine, self._log = script, engine, log
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if self._script.refused("shape", self._log):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        values = {input_.name: np.zeros(self._shapes[input_.name], _numpy(self._engine, input_.name))
                  for input_ in self._engine.session.get_inputs()}  # fmt: skip
        declared = next(value for value in self._engine.network.graph.output if value.name == name)
        if any(dim.dim_param == "unknown" for dim in declared.type.tensor_type.shape.dim):
            return (-1,)
        return tuple(self._engine.session.run([name], values)[0].shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._script.refused("run", self._log):
            return False
        feed = {name: _at(self._addresses[name], shape, _numpy(self._engine, name))
                for name, shape in self._shapes.items()}  # fmt: skip
        names = [output.name for output in self._engine.session.get_outputs()]
        for name, array in zip(names, self._engine.session.run(names, feed), strict=True):
            content = np.ascontiguousarray(array).tobytes()
            ctypes.memmove(self._addresses[name], content, len(content))
        return True


def _numpy(engine: _Engine, name: str) -> Any:
    return NUMPY[engine.get_tensor_dtype(name).name]


def _at(address: int, shape: tuple[int, ...], dtype: Any) -> Any:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(ctypes.string_at(address, size), dtype).reshape(shape)
