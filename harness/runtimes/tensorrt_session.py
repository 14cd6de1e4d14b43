"""An engine of TensorRT, loaded and ready. Imports torch: import this inside functions only.

Inputs and outputs are torch's tensors, and the stream is torch's current one: so the events that time torch's eager
calls time these calls as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import MeasurementError, PreparationError
from harness.records import Scalar
from harness.runtimes.facts import weight_facts
from harness.runtimes.tensorrt_engines import Engines
from harness.runtimes.tensorrt_layers import layer_facts
from harness.runtimes.tensorrt_package import log_of
from harness.runtimes.torch_session import arrays_of

if TYPE_CHECKING:
    import numpy as np

    from harness.runtimes.base import Arrays

__all__ = ["Staged", "TensorRtSession"]


@dataclass(frozen=True)
class Staged:
    """Tensors on the device for one call, by name."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class TensorRtSession:
    """Calls an execution context of the engine for this GPU.

    Each batch that is staged has memory of its own for inputs and outputs; a call binds them and enqueues.

    Raises `PreparationError` where the engine can't be built, or TensorRT does not take it.
    """

    def __init__(self, name: str, engines: Engines, device: Any) -> None:
        self._name = name
        self._engines = engines
        self._device = device
        trt, engine = engines.trt, engines.engine()
        self._size = len(engine)
        self._log = log_of(trt)
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise self._refused("can't load the engine")
        self._cache: Any = None
        self._context = self._make_context()
        if self._context is None:
            raise self._refused("can't make an execution context of the engine")
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        inputs = {name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT}
        self._inputs = [name for name in names if name in inputs]
        self._outputs = [name for name in names if name not in inputs]
        if device.type == "cuda":
            # On the default stream TensorRT waits for the device at each call.
            torch.cuda.set_stream(torch.cuda.Stream())

    def stage(self, inputs: Arrays) -> Staged:
        staged = {}
        for name in self._inputs:
            tensor = torch.from_numpy(inputs[name].copy())
            staged[name] = tensor.to(self._device, self._dtype(name)).contiguous()
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                raise self._refused(f"does not take {name} in the shape {list(tensor.shape)}")
        outputs = {}
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            if -1 in shape:
                raise PreparationError(
                    f"the shape of the output {name} depends on values of the inputs, so there is no memory to bind "
                    f"before a call; leave {self._name} out, or cut the network before it"
                )
            outputs[name] = torch.empty(shape, dtype=self._dtype(name), device=self._device)
        return Staged(staged, outputs)

    def __call__(self, staged: Staged) -> Staged:
        context = self._context
        for name, tensor in staged.inputs.items():
            context.set_input_shape(name, tuple(tensor.shape))
            context.set_tensor_address(name, tensor.data_ptr())
        for name, tensor in staged.outputs.items():
            context.set_tensor_address(name, tensor.data_ptr())
        if not context.execute_async_v3(self._stream()):
            raise MeasurementError(f"{self._name} could not run the engine: {self._log.said()}")
        return staged

    def fetch(self, outputs: Staged) -> dict[str, np.ndarray[Any, Any]]:
        return arrays_of(outputs.outputs)

    def facts(self, example: Arrays) -> dict[str, Scalar]:  # noqa: ARG002
        """Weights of the network that the engine was built of, and the layers of the engine."""
        import onnx

        from harness.runtimes.onnx_graph import network_weights, nodes

        network = onnx.load(str(self._engines.network))
        # A node without a name gets this one from the parser of TensorRT, and layers are told with it.
        operators = {
            node.name or f"node_of_{node.output[0]}": node.op_type for node in nodes(network.graph) if node.output
        }
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        layers = inspector.get_engine_information(self._engines.trt.LayerInformationFormat.JSON)
        return {
            "runtime": self._name,
            "provider": self._device.type,
            **weight_facts(network_weights(network)),
            **layer_facts(layers, operators),
            "engine.size": self._size,
        }

    def keep(self) -> None:
        """Write the kernels that were compiled while the engine was loaded and called, for the loads to come."""
        if self._cache is not None:
            self._engines.keep_kernels(bytes(self._cache.serialize()))

    def _make_context(self) -> Any:
        """An execution context. TensorRT for RTX is told to compile for the shapes of a call before it runs it.

        By default it would do that beside the calls, which then get faster while they are timed.
        """
        strategies = getattr(self._engines.trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is None:
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        self._cache = config.create_runtime_cache()
        kept = self._engines.kernels()
        if kept:
            self._cache.deserialize(kept)
        config.set_runtime_cache(self._cache)
        return self._engine.create_execution_context(config)

    def _dtype(self, name: str) -> Any:
        dtypes = {
            "FLOAT": torch.float32, "HALF": torch.float16, "BF16": torch.bfloat16, "INT8": torch.int8,
            "UINT8": torch.uint8, "INT32": torch.int32, "INT64": torch.int64, "BOOL": torch.bool,
        }  # fmt: skip
        dtype = self._engine.get_tensor_dtype(name).name
        if dtype not in dtypes:
            raise PreparationError(f"the network's {name} is of the type {dtype}, which {self._name} is not given here")
        return dtypes[dtype]

    def _stream(self) -> int:
        return int(torch.cuda.current_stream().cuda_stream) if self._device.type == "cuda" else 0

    def _refused(self, what: str) -> PreparationError:
        return PreparationError(
            f"{self._name} {what}: {self._log.said()} (harness doctor says which GPU and versions are here)"
        )
