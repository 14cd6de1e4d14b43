"""CUDA graphs without a GPU: operators are recorded on the CPU by torch's dispatch, and run again when replayed."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.fake_cuda import FakeDevice, noted

SYNCING = ("aten::item", "aten::_local_scalar_dense", "aten::nonzero")
KERNEL_NANOSECONDS = 5_000


def graph_members(device: FakeDevice) -> dict[str, Any]:
    """What of `torch.cuda` has to do with graphs, on a scripted device."""

    class CUDAGraph:
        def __init__(self, keep_graph: bool = False) -> None:
            self.keep_graph = keep_graph
            self.tape: list[tuple[Any, Any, Any, list[Any]]] = []

        def replay(self) -> None:
            for function, args, kwargs, outputs in self.tape:
                for kept, made in zip(outputs, _tensors(function(*args, **kwargs)), strict=True):
                    if kept.data_ptr() != made.data_ptr():
                        kept.copy_(made)
            device.launch(host=1_000, main=KERNEL_NANOSECONDS * len(self.tape), name="replay")

        def instantiate(self) -> None:
            assert self.keep_graph

        def get_graph_data(self) -> dict[str, Any]:
            return {"nodes": self.tape}

    class graph:
        def __init__(self, cuda_graph: CUDAGraph, stream: Any) -> None:
            assert stream.warm, "captured on a stream that nothing was run on before"
            self._graph = cuda_graph
            self._tape = _Tape(cuda_graph.tape)

        def __enter__(self) -> None:
            device.calls.append("capture")
            self._tape.__enter__()

        def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
            self._tape.__exit__(kind, error, trace)
            if error is not None:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
            if not self._graph.tape:
                warnings.warn("The CUDA Graph is empty. This usually means that ...", stacklevel=2)

    class Stream:
        def __init__(self) -> None:
            self.warm = False

        def wait_stream(self, other: Any) -> None:
            device.calls.append("wait")

    def stream(chosen: Stream) -> AbstractContextManager[None]:
        chosen.warm = True
        return noted(device, "side stream", "main stream")

    main = Stream()
    return {
        "CUDAGraph": CUDAGraph,
        "graph": graph,
        "Stream": Stream,
        "stream": stream,
        "current_stream": lambda: main,
    }


class _Tape(TorchDispatchMode):
    """Notes each operator, and takes its results away again: a capture runs no kernel."""

    def __init__(self, tape: list[tuple[Any, Any, Any, list[Any]]]) -> None:
        super().__init__()
        self._tape = tape

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masked = function._schema.name == "aten::index" and any(one.dtype == torch.bool for one in _tensors(args[1]))
        if function._schema.name in SYNCING or masked:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")
        result = function(*args, **(kwargs or {}))
        outputs = _tensors(result)
        self._tape.append((function, args, kwargs or {}, outputs))
        given = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        for tensor in outputs:
            if tensor.is_floating_point() and tensor.untyped_storage().data_ptr() not in given:
                tensor.fill_(float("nan"))
        return result


def _tensors(value: Any) -> list[Any]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
