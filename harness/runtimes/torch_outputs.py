"""Outputs of a torch network as Python's own classes. Imports torch: import this inside functions only."""

from __future__ import annotations

from typing import Any

import torch

from harness.runtimes.torch_session import named_outputs

__all__ = ["with_plain_outputs"]

_PLAIN = (torch.Tensor, tuple, list, dict)
"""What every process can rebuild outputs as from a stored program."""


class _NamedOutputs(torch.nn.Module):
    """A network whose outputs are a dict of tensors by name."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Any) -> dict[str, Any]:
        """The network's outputs."""
        return dict(named_outputs(self.network(*inputs)))


def with_plain_outputs(network: Any, inputs: tuple[Any, ...]) -> Any:
    """The network, with its outputs in a dict where it gives them in a class of its own, which a call of it shows.

    A stored program names that class, and the process that serves it, which imports the runtime alone, would not know
    it. Raises `PreparationError` where an output is no tensor.
    """
    return network if type(network(*inputs)) in _PLAIN else _NamedOutputs(network)
