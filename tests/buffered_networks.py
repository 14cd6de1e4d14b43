"""A network that answers in memory of its own."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Buffered"]


class Buffered(torch.nn.Module):
    """What a network makes of its input, in a buffer of this shape, which is the same in each call."""

    def __init__(self, network: torch.nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("out", torch.zeros(shape))

    def forward(self, x: Any) -> Any:
        self.out.copy_(self.network(x))
        return self.out
