"""Small networks with attention, at the top level so that they can be pickled, and models of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from harness import Model, classification
from harness.model import Training

__all__ = ["Encoder", "Fused", "encoder_model"]

WIDTH, HEADS, TOKENS = 16, 4, 6


class Block(torch.nn.Module):
    """Attention with a layer for each of query, key and value, and a residual connection around it."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.num_heads, self.head_dim = HEADS, WIDTH // HEADS
        self.query, self.key, self.value, self.out = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(4))
        with torch.no_grad():
            self.out.weight.mul_(strength)
            self.out.bias.mul_(strength)

    def forward(self, tokens: Any) -> Any:
        split = (part(tokens).unflatten(2, (self.num_heads, -1)) for part in (self.query, self.key, self.value))
        mixed = scaled_dot_product_attention(*(part.transpose(1, 2) for part in split))
        return tokens + self.out(mixed.transpose(1, 2).flatten(2))


class Fused(torch.nn.Module):
    """One layer gives query, key and value, as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        self.joined, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Any) -> Any:
        parts = self.joined(tokens).chunk(3, dim=-1)
        query, key, value = (part.unflatten(2, (-1, WIDTH // HEADS)).transpose(1, 2) for part in parts)
        return self.out(scaled_dot_product_attention(query, key, value=value).transpose(1, 2).flatten(2))


class Constant(Fused):
    """As `Fused`, with the number of heads written into its code."""

    def forward(self, tokens: Any) -> Any:
        parts = self.joined(tokens).chunk(3, dim=-1)
        query, key, value = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        return self.out(scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(-1, TOKENS, WIDTH))


class Turned(Fused):
    """As `Fused`, with something done to the query between its layer and the attention."""

    def forward(self, tokens: Any) -> Any:
        parts = self.joined(tokens).chunk(3, dim=-1)
        query, key, value = (part.unflatten(2, (-1, WIDTH // HEADS)).transpose(1, 2) for part in parts)
        return self.out(scaled_dot_product_attention(query.cos(), key, value).transpose(1, 2).flatten(2))


class Encoder(torch.nn.Module):
    """Blocks of one shape, then the mean over tokens and two classes: (B, 6, 16) -> (B, 2)."""

    def __init__(self, *blocks: torch.nn.Module) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)
        self.head = torch.nn.Linear(WIDTH, 2)

    def forward(self, tokens: Any) -> Any:
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(dim=1))


def encoder_model(*kinds: Any) -> Model:
    """A model of an encoder of untrained blocks; without kinds three of `Block`, the middle one nearly idle."""

    def load() -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            blocks = [kind() for kind in kinds] or [Block(1.0), Block(0.01), Block(1.0)]
            return Encoder(*blocks).eval()

    return Model(
        name="encoder",
        form="torch",
        load=load,
        inputs=lambda batch, seed: {"tokens": _tokens(batch, 100 + seed)[0]},
        evaluate=classification(lambda: ({"tokens": _tokens(100, 1)[0]}, _tokens(100, 1)[1])),
        training=_training,
    )


def _training() -> Training:
    def batches(epoch: int) -> Any:
        for number in range(4):
            tokens, labels = _tokens(16, 1000 + 4 * epoch + number)
            yield {"tokens": tokens}, labels

    return Training(batches=batches, loss=torch.nn.functional.cross_entropy, epochs=2, learning_rate=1e-2)


def _tokens(count: int, seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    tokens = random.standard_normal((count, TOKENS, WIDTH)).astype(np.float32)
    tokens[:, :, 0] += 2 * labels[:, None] - 1
    return tokens, labels
