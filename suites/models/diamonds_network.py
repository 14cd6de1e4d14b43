"""The networks of `suites.models.diamonds`. Imports torch, so it is imported only where one is made."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

__all__ = ["Tabular", "student", "teacher"]

NUMBERS = 6
GRADES = (5, 7, 8)
"""Values that each of the three grades can have."""
EMBEDDING = 8


class Block(nn.Module):
    """Two linear layers around a ReLU, behind a batch normalisation, added to what they take: (B, W) -> (B, W)."""

    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.widen = nn.Linear(width, inside)
        self.narrow = nn.Linear(inside, width)

    def forward(self, row: Tensor) -> Tensor:
        changed: Tensor = self.narrow(relu(self.widen(self.norm(row))))
        return row + changed


class Tabular(nn.Module):
    """A residual network of a table's rows: (B, 6) numbers and (B, 3) grades -> (B, 1).

    Numbers come as they stand in the table and are scaled inside; each grade has an embedding of its values. Source:
    the ResNet of Gorishniy et al., "Revisiting deep learning models for tabular data", arXiv 2106.11959.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, inside: int, blocks: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(NUMBERS))
        self.register_buffer("deviation", torch.ones(NUMBERS))
        self.grades = nn.ModuleList(nn.Embedding(values, EMBEDDING) for values in GRADES)
        self.enter = nn.Linear(NUMBERS + EMBEDDING * len(GRADES), width)
        self.blocks = nn.ModuleList(Block(width, inside) for _ in range(blocks))
        self.norm = nn.BatchNorm1d(width)
        self.leave = nn.Linear(width, 1)

    def forward(self, numbers: Tensor, grades: Tensor) -> Tensor:
        scaled = (numbers - self.mean) / self.deviation
        known = [embedding(grades[:, place]) for place, embedding in enumerate(self.grades)]
        row = self.enter(torch.cat([scaled, *known], dim=1))
        for block in self.blocks:
            row = block(row)
        value: Tensor = self.leave(relu(self.norm(row)))
        return value


def teacher() -> Tabular:
    """The network under test, untrained: 203 thousand parameters."""
    return Tabular(128, 256, 3)


def student() -> Tabular:
    """One block of a fourth of the width, untrained."""
    return Tabular(32, 64, 1)
