"""Small torch networks, and what they hold."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Buffered", "Convolution", "Frozen", "weights"]


class Buffered(torch.nn.Module):
    """What a network makes of its input, in a buffer of this shape, which is the same in each call."""

    def __init__(self, network: torch.nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("out", torch.zeros(shape))

    def forward(self, x: Any) -> Any:
        self.out.copy_(self.network(x))
        return self.out


class Convolution(torch.nn.Module):
    """A network without a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 4, 12)

    def forward(self, image: Any) -> Any:
        return self.layer(image).flatten(1)


class Frozen(torch.nn.Linear):
    """Stays in evaluation mode, and forgets that `train` gives the module."""

    def train(self, mode: bool = True) -> Any:
        super().train(False)


def weights(network: torch.nn.Module) -> torch.Tensor:
    """All its parameters, one after the other."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
