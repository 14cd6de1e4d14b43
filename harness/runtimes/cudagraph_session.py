"""A module recorded as CUDA graphs. Imports torch: import this inside functions only."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import PreparationError
from harness.records import Scalar
from harness.runtimes.torch_session import TorchSession, kept_outputs, named_outputs

if TYPE_CHECKING:
    import numpy as np

    from harness.runtimes.base import Arrays

__all__ = ["CudaGraphSession"]

WARM_CALLS = 3
"""Calls before a capture, in which libraries choose kernels and take workspaces; as many as torch's own wrapper has."""
CLOSE = 0.01
"""Relative distance (L2) within which a replay must agree with the module itself."""


@dataclass(frozen=True)
class _Captured:
    """A graph, the memory it reads its inputs from, and the memory it writes its outputs into."""

    graph: Any
    inputs: tuple[Any, ...]
    outputs: Any


class CudaGraphSession(TorchSession):
    """A session whose calls copy the inputs to where a captured graph reads them, and replay it.

    The outputs of a call lie in the graph's own memory, which the next call of the same shape overwrites; `fetch` gives
    copies. https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self, name: str, module: Any, device: Any) -> None:
        super().__init__(name, module, module, device)
        self._captured: dict[tuple[Any, ...], _Captured] = {}
        self._stream = torch.cuda.Stream()

    def __call__(self, staged: tuple[Any, ...]) -> Any:
        captured = self._captured.get(_signature(staged)) or self.capture(staged)
        with self._guard():
            for static, given in zip(captured.inputs, staged, strict=True):
                static.copy_(given)
            captured.graph.replay()
        return captured.outputs

    def capture(self, example: tuple[Any, ...]) -> _Captured:
        """Record the graph for the shapes of an example. Raises `PreparationError` where that can't be done."""
        captured = self._captured[_signature(example)] = self._record(example, torch.cuda.CUDAGraph())
        return captured

    def fetch(self, outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        return {name: array.copy() for name, array in super().fetch(outputs).items()}

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """The facts of the module, whether a replay computes the same, and the graph's nodes where torch tells."""
        facts = super().facts(example)
        facts["cuda_graph"] = self._replays(self.stage(example))
        nodes = self._nodes(self.stage(example))
        return facts if nodes is None else {**facts, "graph_nodes": nodes}

    def _record(self, example: tuple[Any, ...], graph: Any) -> _Captured:
        """Warm up and capture on one stream, because cuBLAS has a handle and a workspace for each."""
        stream = self._stream
        inputs = tuple(tensor.clone() for tensor in example)
        try:
            with self._guard(), warnings.catch_warnings():
                warnings.filterwarnings("error", message="The CUDA Graph is empty")
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    for _ in range(WARM_CALLS):
                        self._module(*inputs)
                torch.cuda.current_stream().wait_stream(stream)
                with torch.cuda.graph(graph, stream=stream):
                    outputs = self._module(*inputs)
        except Exception as error:
            cause = _first(error)
            if type(cause).__name__ == "OutOfMemoryError":
                raise cause from None
            what = str(cause).partition("\n")[0]
            raise PreparationError(
                f"the network can't be captured as a CUDA graph: {type(cause).__name__}: {what}; let forward stay on "
                "the device, without item(), cpu(), nonzero() or anything else whose shape or way depends on values, "
                "or leave cuda_graph out"
            ) from error
        return _Captured(graph, inputs, outputs)

    def _replays(self, example: tuple[Any, ...]) -> bool:
        """Whether a replay with inputs that the capture has not seen gives what the module gives for them.

        A graph that recorded nothing would give the outputs of its capture for ever.
        """
        if _signature(example) not in self._captured:
            self.capture(tuple(map(torch.zeros_like, example)))
        with self._guard():
            wanted = kept_outputs(self._module(*example))
        found = named_outputs(self(example))
        return list(found) == list(wanted) and all(_close(found[name], wanted[name]) for name in wanted)

    def _nodes(self, example: tuple[Any, ...]) -> int | None:
        """Kernels, copies and other nodes of the graph; None where this torch or driver does not tell."""
        try:
            graph = torch.cuda.CUDAGraph(keep_graph=True)
            self._record(example, graph)
            graph.instantiate()
            return len(graph.get_graph_data()["nodes"])
        except (AttributeError, TypeError, RuntimeError):
            return None


def _signature(tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((tensor.shape, tensor.dtype) for tensor in tensors)


def _first(error: BaseException) -> BaseException:
    """The exception that began it: ending a capture that has failed raises another one."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _close(found: Any, wanted: Any) -> bool:
    """Written so that NaN is close to nothing."""
    if not wanted.is_floating_point():
        return bool(torch.equal(found, wanted))
    distance = torch.linalg.vector_norm(found.float() - wanted.float())
    return bool(distance <= CLOSE * torch.linalg.vector_norm(wanted.float()))
