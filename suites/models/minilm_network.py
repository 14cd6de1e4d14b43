"""The MiniLM encoder. Imports torch, so it is imported only where one is made.

Architecture: BERT (Devlin et al., arXiv 1810.04805) with the sizes of MiniLM-L6-H384 (Wang et al., arXiv 2002.10957);
pooling and normalisation as in sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MiniLM", "renamed"]

WORDS, POSITIONS, WIDTH, HEADS, INNER, LAYERS = 30522, 512, 384, 12, 1536, 6
EPSILON = 1e-12


class MiniLM(nn.Module):
    """ids (B, L) int64 and mask (B, L) int64, 1 for a token and 0 for padding -> (B, 384) float32 of length 1.

    Works in any floating type of its weights; pooling and normalisation are in float32 always, since a sum over tokens
    and a square root lose most in a short type.
    """

    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(WORDS, WIDTH)
        self.position = nn.Embedding(POSITIONS, WIDTH)
        self.kind = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)
        hidden = self.norm(self.word(ids) + self.position(positions) + self.kind.weight[0])
        seen = (mask > 0)[:, None, None, :]
        for layer in self.layers:
            hidden = layer(hidden, seen)
        weight = mask[:, :, None].float()
        pooled = (hidden.float() * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        return functional.normalize(pooled, dim=1)


class Layer(nn.Module):
    """One transformer layer, normalised after each of its two parts: (B, L, 384), (B, 1, 1, L) bool -> (B, L, 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.attention_norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.wide = nn.Linear(WIDTH, INNER)
        self.narrow = nn.Linear(INNER, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        query, key, value = (_heads(part(hidden)) for part in (self.query, self.key, self.value))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        hidden = self.attention_norm(hidden + self.attended(attended.transpose(1, 2).flatten(2)))
        result: Tensor = self.norm(hidden + self.narrow(functional.gelu(self.wide(hidden))))
        return result


def renamed(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a Hugging Face BERT checkpoint under the names of `MiniLM`, without the unused pooler."""
    names = {
        "embeddings.word_embeddings": "word",
        "embeddings.position_embeddings": "position",
        "embeddings.token_type_embeddings": "kind",
        "embeddings.LayerNorm": "norm",
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "attended",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "wide",
        "output.dense": "narrow",
        "output.LayerNorm": "norm",
    }
    weights = {}
    for name, tensor in checkpoint.items():
        found = re.fullmatch(r"(?:encoder\.layer\.(\d+)\.)?(.+)\.(weight|bias)", name)
        if found and found[2] in names:
            prefix = f"layers.{found[1]}." if found[1] else ""
            weights[f"{prefix}{names[found[2]]}.{found[3]}"] = tensor
    return weights


def _heads(tokens: Tensor) -> Tensor:
    """(B, L, heads x 32) -> (B, heads, L, 32); how many heads there are is read from the tensor."""
    return tokens.unflatten(2, (-1, WIDTH // HEADS)).transpose(1, 2)
