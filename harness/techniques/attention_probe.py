"""Finding which channels of which layers are an attention's heads. Imports torch: import this inside functions only.

A network is run once with marks instead of numbers: each linear layer gives the number of each of its channels, and
each attention the numbers of its heads and their places. Where the marks arrive tells what was split, transposed and
joined on the way, whatever names and shapes the code uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from harness.errors import PreparationError

__all__ = ["Attention", "attentions", "shapes_attended"]

_PARTS = ("query", "key", "value")


@dataclass(frozen=True, eq=False)
class Attention:
    """One call of `scaled_dot_product_attention` with `heads` heads.

    before   (linear layer, (heads, channels of a head) numbers of its outputs) for query, key and value
    after    the linear layer that reads it
    columns  (heads, channels of a head) numbers of the inputs of `after`
    owners   modules that hold those layers
    """

    heads: int
    before: tuple[tuple[Any, Any], ...]
    after: Any
    columns: Any
    owners: tuple[Any, ...]

    def read_by_after(self, heads: Sequence[int]) -> Any:
        """Numbers of the inputs of `after` that come from these heads."""
        return self.columns[list(heads)].flatten()

    def cut(self, heads: Sequence[int]) -> int:
        """Remove heads in place, and give how many elements of weight matrices went with them.

        Attributes of the owners that are named after heads and hold their number (`num_heads`) get the new number.
        """
        rows: dict[int, tuple[Any, list[int]]] = {}
        for layer, channels in self.before:
            rows.setdefault(id(layer), (layer, []))[1].extend(channels[list(heads)].flatten().tolist())
        removed = sum(_cut(layer, 0, numbers) for layer, numbers in rows.values())
        removed += _cut(self.after, 1, self.read_by_after(heads).tolist())
        for owner in self.owners:
            for name, value in vars(owner).items():
                if "head" in name and "dim" not in name and "size" not in name and type(value) is int:
                    setattr(owner, name, value - len(heads) if value == self.heads else value)
        return removed


def attentions(network: Any, batch: Sequence[Any]) -> list[Attention]:
    """The attentions of a network. Raises `PreparationError` where there is none, or one that can't be cut."""
    probe = _Probe([module for module in network.modules() if isinstance(module, torch.nn.Linear)])
    with ExitStack() as stack:
        for layer in probe.layers:
            handle = layer.register_forward_hook(probe.marked)
            stack.callback(handle.remove)
        with torch.no_grad(), probe:
            network(*batch)
    if not probe.calls:
        raise PreparationError(
            "there are no heads to remove: they are found where a network calls "
            "torch.nn.functional.scaled_dot_product_attention itself (torch.nn.TransformerEncoder does not)"
        )
    found = [probe.attention(call, network) for call in probe.calls]
    layers = [layer for each in found for layer in {id(each.after): each.after, **_layers(each)}.values()]
    if len({id(layer) for layer in layers}) < len(layers):
        raise PreparationError("two attentions share a linear layer, so that their heads can't be cut one by one")
    return found


def shapes_attended(network: Any, batch: Sequence[Any]) -> list[list[tuple[int, ...]]]:
    """The shapes of query, key and value at each call of `scaled_dot_product_attention`, in their order."""
    watch = _Watch()
    with torch.no_grad(), watch:
        network(*batch)
    return watch.shapes


def _layers(attention: Attention) -> dict[int, Any]:
    return {id(layer): layer for layer, _ in attention.before}


class _Watch(TorchFunctionMode):
    """Notes what attentions are called with, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[list[tuple[int, ...]]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.nn.functional.scaled_dot_product_attention:
            self.shapes.append([tuple(each.shape) for each in _operands(args, kwargs)])
        return function(*args, **kwargs)


def _operands(args: Any, kwargs: Any) -> Any:
    """Query, key and value of a call, by position or by name."""
    return (*args, *(kwargs[name] for name in _PARTS[len(args) :]))[:3]


@dataclass
class _Call:
    """What arrived at one attention, what marks it gave, and which layer read them."""

    marks: list[Any]
    shape: tuple[int, int]
    first: int
    after: Any = None
    columns: Any = None


class _Probe(TorchFunctionMode):
    """Puts marks in place of numbers. Marks are whole numbers, each given once in a pass."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__()
        self.layers = layers
        self.calls: list[_Call] = []
        self._next = 1
        self._first: dict[int, int] = {}

    def marked(self, layer: Any, inputs: Any, output: Any) -> Any:
        """Forward hook of a linear layer: sees whether an attention's marks arrive, and gives the layer's own."""
        ids = _same(inputs[0].reshape(1, 1, -1, inputs[0].shape[-1]))
        for call in self.calls:
            size = call.shape[0] * call.shape[1]
            if ids is not None and torch.equal(ids[0].sort().values, torch.arange(call.first, call.first + size)):
                call.after, call.columns = layer, ids[0].argsort().reshape(call.shape)
        self._first[id(layer)] = self._take(output.shape[-1])
        marks = torch.arange(self._first[id(layer)], self._next, dtype=torch.float32)
        return marks.expand(output.shape).to(output.dtype).contiguous()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is not torch.nn.functional.scaled_dot_product_attention:
            return function(*args, **kwargs)
        query, key, value = _operands(args, kwargs)
        shapes = [tuple(each.shape) for each in (query, key, value)]
        if query.dim() != 4 or not query.shape[1] == key.shape[1] == value.shape[1]:
            raise PreparationError(
                f"heads can't be cut where query, key and value have the shapes {shapes}: all three need the axes "
                "(batch, head, position, channel) and the same number of heads"
            )
        shape = (query.shape[1], value.shape[3])
        first = self._take(shape[0] * shape[1])
        self.calls.append(_Call([_same(each) for each in (query, key, value)], shape, first))
        marks = torch.arange(first, first + shape[0] * shape[1], dtype=torch.float32).reshape(shape)
        given = marks[None, :, None, :].expand(query.shape[0], -1, query.shape[2], -1)
        return given.to(value.dtype).contiguous()

    def attention(self, call: _Call, network: Any) -> Attention:
        """What is around an attention. Raises `PreparationError` where a mark did not arrive as it was given."""
        before = []
        for part, ids in zip(_PARTS, call.marks, strict=True):
            layer = None if ids is None else self._layer_of(ids)
            if ids is None or layer is None:
                raise PreparationError(
                    f"the {part} of an attention is not what one torch.nn.Linear of the network gives, only split and "
                    "moved, so its heads can't be cut"
                )
            before.append((layer, ids - self._first[id(layer)]))
        if call.after is None:
            raise PreparationError("no torch.nn.Linear reads an attention as it is, so its heads can't be cut")
        around = [layer for layer, _ in before] + [call.after]
        owners = tuple(module for module in network.modules() if any(child in around for child in module.children()))
        return Attention(call.shape[0], tuple(before), call.after, call.columns, owners)

    def _layer_of(self, ids: Any) -> Any:
        for layer in self.layers:
            first = self._first.get(id(layer))
            if first is not None and ids.min() >= first and ids.max() < first + layer.out_features:
                return layer
        return None

    def _take(self, count: int) -> int:
        first, self._next = self._next, self._next + count
        return first


def _same(marks: Any) -> Any:
    """The marks (heads, channels) that stand at every item and position of (batch, heads, positions, channels).

    None where they differ from place to place: then something else than moving has been done to them.
    """
    ids = marks[0, :, 0, :]
    return ids.long() if bool((marks == ids[None, :, None, :]).all()) else None


def _cut(layer: Any, axis: int, numbers: Sequence[int]) -> int:
    """Remove rows (outputs, axis 0) or columns (inputs, axis 1) of a linear layer in place."""
    weight = layer.weight.data
    keep = torch.ones(weight.shape[axis], dtype=torch.bool)
    keep[list(numbers)] = False
    layer.weight = torch.nn.Parameter(weight[keep] if axis == 0 else weight[:, keep])
    if axis == 0 and layer.bias is not None:
        layer.bias = torch.nn.Parameter(layer.bias.data[keep])
    layer.out_features, layer.in_features = layer.weight.shape
    return int(weight.numel() - layer.weight.numel())
