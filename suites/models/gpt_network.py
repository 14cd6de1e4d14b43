"""The networks of `suites.models.gpt`. Imports torch, so it is imported only where one is made.

Architecture: a decoder of the transformer (Vaswani et al., arXiv 1706.03762) that is normalised before each part, with
learnt positions, as in GPT-2 (Radford et al., 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CONTEXT", "HEADS", "HEAD_WIDTH", "LAYERS", "SLOTS", "SYMBOLS", "Decode", "Gpt"]

SYMBOLS, CONTEXT, LAYERS, HEADS, HEAD_WIDTH = 97, 128, 2, 3, 32
WIDTH = HEADS * HEAD_WIDTH
SLOTS = CONTEXT - 1
"""Characters that the cache has room for: the one that a call reads is never in it."""


class Gpt(nn.Module):
    """Reads a prompt at once: ids (B, T) int64, T <= 128 -> for each of its characters what follows, and the cache.

    logits  (B, T, 97): of the character after each one
    keys, values  (B, layers, heads, T, 32): what `Decode` needs of these characters
    """

    def __init__(self) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        hidden = self.symbol(ids) + self.position(torch.arange(ids.shape[1], device=ids.device))
        keys, values = [], []
        for layer in self.layers:
            hidden, key, value = layer(hidden)
            keys.append(key)
            values.append(value)
        return {
            "logits": self.head(self.norm(hidden)),
            "keys": torch.stack(keys, dim=1),
            "values": torch.stack(values, dim=1),
        }


class Decode(nn.Module):
    """Reads one more character: what follows it, and what is to be written into the cache for it.

    id, position  (B,) int64: the character, and how many were before it, 0 to 127
    keys, values  (B, layers, heads, 127, 32): the cache; its first `position` slots are read, the others are not
    logits        (B, 97)
    key, value    (B, layers, heads, 32): for slot `position` of the cache, which the caller keeps
    """

    def __init__(self, gpt: Gpt) -> None:
        super().__init__()
        self.gpt = gpt

    def forward(self, id: Tensor, position: Tensor, keys: Tensor, values: Tensor) -> dict[str, Tensor]:
        hidden = (self.gpt.symbol(id) + self.gpt.position(position))[:, None]
        slots = torch.arange(CONTEXT, device=id.device)
        # The last of the 128 is the character itself, put behind the cache.
        seen = ((slots < position[:, None]) | (slots == SLOTS))[:, None, None]
        new_keys, new_values = [], []
        for number, layer in enumerate(self.gpt.layers):
            hidden, key, value = layer(hidden, (keys[:, number], values[:, number]), seen)
            new_keys.append(key[:, :, 0])
            new_values.append(value[:, :, 0])
        return {
            "logits": self.gpt.head(self.gpt.norm(hidden))[:, 0],
            "key": torch.stack(new_keys, dim=1),
            "value": torch.stack(new_values, dim=1),
        }


class Layer(nn.Module):
    """One layer: (B, T, 96) -> (B, T, 96), and the keys and values (B, heads, T, 32) of these T characters.

    `cache` holds keys and values of characters before, and `seen` says which of them, and of the T, are looked at;
    without them, each character looks at itself and those before it among the T.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH)

    def forward(
        self, hidden: Tensor, cache: tuple[Tensor, Tensor] | None = None, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        normed = self.attention_norm(hidden)
        query, key, value = (_heads(part(normed)) for part in (self.query, self.key, self.value))
        if cache is None:
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            keys, values = (torch.cat(pair, dim=2) for pair in zip(cache, (key, value), strict=True))
            attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
        hidden = hidden + self.attended(attended.transpose(1, 2).flatten(2))
        return hidden + self.narrow(functional.gelu(self.wide(self.norm(hidden)))), key, value


def _heads(tokens: Tensor) -> Tensor:
    """(B, T, 96) -> (B, heads, T, 32)."""
    return tokens.unflatten(2, (HEADS, HEAD_WIDTH)).transpose(1, 2)
