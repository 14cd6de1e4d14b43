"""Modules that techniques wrap around a network. Imports torch: import this inside functions only.

They stand at the top level of a module, so that the process that serves an artefact can unpickle them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from harness.errors import PreparationError
from harness.runtimes.torch_session import named_outputs

__all__ = ["AutocastNetwork", "CastNetwork", "OutputTuple", "cast"]


class CastNetwork(torch.nn.Module):
    """A network that computes in `dtype` and still takes and gives float32.

    Weights are converted once; floating point inputs and outputs at each call. A network with two-dimensional
    convolutions is laid out channels last, for which low precision kernels are written.
    """

    def __init__(self, network: Any, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype
        self.images = images = any(parameter.dim() == 4 for parameter in network.parameters())
        # Not by `to`, which keeps the real part alone of what is complex, such as the turns of rotary positions.
        self.network = network._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
        if images:
            # By number of axes: `to` would ask it of what has five as well, which has no such layout.
            last = torch.channels_last
            self.network._apply(lambda tensor: tensor.to(memory_format=last) if tensor.dim() == 4 else tensor)

    def forward(self, *inputs: Any) -> Any:
        """The network's outputs, floating point ones as float32."""
        return _widened(self.network(*(self._narrowed(value) for value in inputs)))

    def _narrowed(self, value: Any) -> Any:
        if not value.is_floating_point():
            return value
        last = self.images and value.dim() == 4
        return value.to(self.dtype, memory_format=torch.channels_last if last else torch.preserve_format)


def cast(network: Any, dtype: Any, example: tuple[Any, ...]) -> CastNetwork:
    """A copy of a network that computes in `dtype`, called once with an example.

    Raises `PreparationError` where forward has numbers of another type beside its weights.
    """
    made = CastNetwork(copy.deepcopy(network), dtype)
    made.eval()
    try:
        with torch.no_grad():
            made(*example)
    except Exception as error:
        # Whatever else fails is told where it is served: what a CPU does not support, as half FFTs, a GPU may.
        said = str(error)
        if isinstance(error, RuntimeError) and "type" in said and "support" not in said.lower():
            raise PreparationError(
                f"forward has numbers of another type beside its weights in {str(dtype).removeprefix('torch.')}: "
                f"{error}; what it makes of whole numbers, or creates itself, is float32: give it the type of the "
                "weights (x.to(self.conv.weight.dtype)), or use autocast"
            ) from error
    return made


class AutocastNetwork(torch.nn.Module):
    """A network whose products and convolutions torch computes in `dtype`, casting their operands at each call.

    Weights stay float32, and so does what torch counts as sensitive, such as a softmax. Outputs are float32.
    """

    def __init__(self, network: Any, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype
        self.network = network

    def forward(self, *inputs: Any) -> Any:
        """The network's outputs, floating point ones as float32."""
        with torch.autocast(inputs[0].device.type, self.dtype):
            outputs = self.network(*inputs)
        return _widened(outputs)


class OutputTuple(torch.nn.Module):
    """A network whose outputs are a tuple, in the order of their names."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """The network's outputs."""
        return tuple(named_outputs(self.network(*inputs)).values())


def _widened(outputs: Any) -> Any:
    if isinstance(outputs, torch.Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, Mapping):
        return {name: _widened(value) for name, value in outputs.items()}
    if isinstance(outputs, (list, tuple)):
        return [_widened(value) for value in outputs]
    return outputs
