"""The networks of `suites.models.digits`. Imports torch, so it is imported only where one is made."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Digits", "student", "teacher"]


class Digits(nn.Module):
    """Convolutions with batch normalisation, then a mean over all positions: (B, 1, 28, 28) in 0..1 -> (B, 10) logits.

    `widths` are the channels of the four convolutions; they work on 28, 14, 14 and 7 pixels a side.
    """

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.features = nn.Sequential(
            *_convolution(1, first),
            nn.MaxPool2d(2),
            *_convolution(first, second),
            *_convolution(second, third),
            nn.MaxPool2d(2),
            *_convolution(third, fourth),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(fourth, 10)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(image))
        return logits


def teacher() -> Digits:
    """The network under test, untrained: 186,538 parameters and 20 million multiply-accumulates an image."""
    return Digits((32, 64, 96, 128))


def student() -> Digits:
    """A network with one fifteenth of the teacher's parameters, untrained."""
    return Digits((8, 16, 24, 32))


def _convolution(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
