"""The networks of `suites.models.diamonds`. Imports torch, so it is imported only where one is made."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Tabular", "student", "teacher"]

NUMBERS = 6
GRADES = (5, 7, 8)
"""Values that each of the three grades can have."""
EMBEDDING = 8


class Tabular(nn.Module):
    """A residual network of a table's rows: (B, 6) numbers and (B, 3) grades -> (B, 1).

    Numbers come as they stand in the table and are scaled inside; each grade has an embedding of its values. Then as
    many blocks of two linear layers around a ReLU as asked for, each behind a batch normalisation and added to what it
    takes. Source: the ResNet of Gorishniy et al., "Revisiting deep learning models for tabular data", arXiv 2106.11959.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, inside: int, blocks: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(NUMBERS))
        self.register_buffer("deviation", torch.ones(NUMBERS))
        self.grades = nn.ModuleList(nn.Embedding(values, EMBEDDING) for values in GRADES)
        self.enter = nn.Linear(NUMBERS + EMBEDDING * len(GRADES), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, inside), nn.ReLU(), nn.Linear(inside, width))
            for _ in range(blocks)
        )
        self.leave = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, numbers: Tensor, grades: Tensor) -> Tensor:
        scaled = (numbers - self.mean) / self.deviation
        known = [embedding(grades[:, place]) for place, embedding in enumerate(self.grades)]
        row = self.enter(torch.cat([scaled, *known], dim=1))
        for block in self.blocks:
            row = row + block(row)
        value: Tensor = self.leave(row)
        return value


def teacher() -> Tabular:
    """The network under test, untrained: 203 thousand parameters."""
    return Tabular(128, 256, 3)


def student() -> Tabular:
    """One block of a fourth of the width, untrained."""
    return Tabular(32, 64, 1)
