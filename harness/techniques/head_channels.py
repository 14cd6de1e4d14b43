"""Whose channels are whose among attention heads, so that each head keeps its own where channels are removed.

Imports torch: import this inside functions only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from harness.errors import PreparationError
from harness.techniques.attention_probe import Attention, attentions, shapes_attended

__all__ = ["HeadChannels"]

Removed = Mapping[tuple[Any, int], Collection[int]]
"""(layer, 0 for its outputs or 1 for its inputs) -> numbers of the channels that it has lost."""


class HeadChannels:
    """The attention heads of a network whose channels are to be removed in place.

    groups  layer -> into how many groups of neighbouring channels its outputs fall, one for each head: where the same
            channels of each group are removed, all heads become smaller alike. Empty for a network without attention

    Heads are found where the network calls torch's `scaled_dot_product_attention` with an axis for them, and in
    torch.nn.MultiheadAttention.
    """

    def __init__(self, network: Any, example: Sequence[Any]) -> None:
        self._network, self._example = network, example
        self._modules = [module for module in network.modules() if isinstance(module, torch.nn.MultiheadAttention)]
        self._shapes = shapes_attended(network, example)
        self._found: list[Attention] = []
        self._reason = ""
        if self._shapes:
            self._found, self._reason = self._traced()
        self.groups: dict[Any, int] = {module: module.num_heads for module in self._modules}
        for attention in self._found:
            for layer, channels in attention.before:
                count, rest = divmod(layer.out_features, channels.shape[1])
                if not rest:
                    self.groups[layer] = count

    def check(self, removed: Removed) -> None:
        """Raise `PreparationError` where heads of what is left are not made of their own channels, or nobody can tell.

        The code of a network may share out anew what is left of a layer: it runs, and computes something else.
        """
        shapes = shapes_attended(self._network, self._example) if self._shapes else []
        if self._reason and shapes != self._shapes and any(map(_has_heads, self._shapes)):
            raise _refusal(f"can't be told from each other ({self._reason})")
        found = [] if self._reason or not shapes else self._traced()[0]
        kept = len(found) == len(self._found) and all(
            _kept(before, after, removed) for before, after in zip(self._found, found, strict=True)
        )
        if not kept or any(_uneven(module, removed.get((module, 0), ())) for module in self._modules):
            why = "are no longer made of their own: its code shares out anew what is left of a layer"
            raise _refusal(why, "use pruned_heads, which removes whole heads, or " if self._found else "")

    def _traced(self) -> tuple[list[Attention], str]:
        """The attentions, or none and the reason."""
        try:
            return attentions(self._network, self._example), ""
        # The network may also stumble over the marks that stand for its numbers.
        except (PreparationError, LookupError, RuntimeError, ValueError) as error:
            return [], str(error) or type(error).__name__


def _refusal(why: str, instead: str = "") -> PreparationError:
    return PreparationError(
        f"without some channels the heads of an attention {why}; {instead}name this reason in Model.unsupported"
    )


def _has_heads(shapes: Sequence[tuple[int, ...]]) -> bool:
    return any(len(shape) > 3 and shape[-3] > 1 for shape in shapes)


def _uneven(module: Any, gone: Collection[int]) -> bool:
    """Whether a torch.nn.MultiheadAttention, which shares its channels out in order, has lost more of one head."""
    width = (module.embed_dim + len(gone)) // module.num_heads
    return len({sum(number // width == head for number in gone) for head in range(module.num_heads)}) > 1


def _kept(before: Attention, after: Attention, removed: Removed) -> bool:
    """Whether all heads have channels that they had, the same ones in query and key, and in value and what reads it."""
    if before.heads != after.heads:
        return False
    sides = [
        *((layer, 0, had, has) for (layer, had), (_, has) in zip(before.before, after.before, strict=True)),
        (before.after, 1, before.columns, after.columns),
    ]
    places = [_places(layer, had, has, removed.get((layer, axis), ()), axis) for layer, axis, had, has in sides]
    query, key, value, read = places
    return None not in places and query == key and value == read


def _places(layer: Any, had: Any, has: Any, gone: Collection[int], axis: int) -> list[list[int]] | None:
    """Of the channels of each head, where they stood among those that it had; None for another head's.

    had, has  (heads, channels of a head) numbers before and after `gone` were removed
    """
    kept = [number for number in range(layer.weight.shape[axis] + len(gone)) if number not in gone]
    found = []
    for mine, left in zip(had.tolist(), has.tolist(), strict=True):
        numbers = [kept[number] for number in left]
        if not {*numbers} <= {*mine}:
            return None
        found.append([mine.index(number) for number in numbers])
    return found
