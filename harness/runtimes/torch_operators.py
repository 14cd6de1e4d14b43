"""The operators of a torch call, and in which types they compute. Imports torch: import this inside functions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass

__all__ = ["INTEGER", "OperatorTypes", "address_of", "dtype_name", "is_integer", "is_product"]

INTEGER = "int8"
"""The type of a product of integers of 8 bits, signed or not, in the facts."""
_PRODUCTS = (
    "conv", "_conv", "mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "einsum", "mv", "addmv", "lstm", "gru",
    "rnn_", "scaled_dot_product", "_scaled_dot_product", "_transformer_encoder", "_native_multi_head", "mkldnn_rnn",
    "_int_mm", "_scaled_mm", "_weight_int", "_linear", "mkldnn__linear", "mkldnn__conv", "qlinear", "_qlinear", "qconv",
    "_qconv", "_mkl_linear", "_trilinear", "_grouped_mm", "_scaled_grouped_mm", "_cudnn_rnn", "_addmm", "addbmm",
)  # fmt: skip
"""How the names of operators begin that are matrix products, convolutions, recurrences or attention."""
_CONTROL_FLOW = ("cond", "while_loop", "map_impl", "scan")
"""Operators that call functions which they are given."""


class OperatorTypes(TorchDispatchMode):
    """Notes the type of the first tensor that each operator reads; those that read none create, and don't compute.

    An operator on a tensor that wraps others, as those of torchao do, is left to the wrapper, and what that calls is
    noted. One that fails is not: torchao tries products of integers, and computes in float32 where a GPU has none.
    Complex numbers are computed with in the type of their parts, and named by it. Of control flow, as torch.cond, it is
    what the branch that runs calls.
    `devices` are those of the products, and `addresses` where the tensors begin that each of them reads.
    """

    supports_higher_order_operators = True
    """Such as `out_dtype`, by which torchao multiplies on a GPU: it names the operator that computes first."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[str] = []
        self.others: list[str] = []
        self.devices: set[str] = set()
        self.addresses: list[set[int]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(is_traceable_wrapper_subclass(argument) for argument in args):
            return NotImplemented
        if function.name() in _CONTROL_FLOW:
            args = tuple(self._watching(argument) if callable(argument) else argument for argument in args)
        result = function(*args, **(kwargs or {}))
        tensor = next((argument for argument in args if isinstance(argument, torch.Tensor)), None)
        if tensor is not None:
            named = next((argument for argument in args if isinstance(argument, torch._ops.OpOverload)), function)
            dtype = str(tensor.dtype.to_real()).removeprefix("torch.")
            if is_product(named.name().partition("::")[2]):
                self.products.append(INTEGER if is_integer(dtype) else dtype)
                self.devices.add(tensor.device.type)
                self.addresses.append({address_of(one) for one in args if isinstance(one, torch.Tensor)})
            else:
                self.others.append(dtype)
        return result

    def _watching(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function with this mode on, which is off while an operator runs."""

        def watched(*arguments: Any) -> Any:
            with self:
                return function(*arguments)

        return watched


def is_product(name: str) -> bool:
    """Whether an operator, by its name without the namespace, is a product, convolution, recurrence or attention."""
    return name.startswith(_PRODUCTS)


def is_integer(dtype: str) -> bool:
    """Whether it is a type of integers of 8 bits, in which quantized networks compute."""
    return dtype in ("int8", "uint8", "qint8", "quint8")


def dtype_name(tensor: Any) -> str:
    """The type of a tensor's numbers by its name in the facts: `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def address_of(tensor: Any) -> int:
    """Where the numbers of a tensor begin; 0 where torch has no address for it, as in oneDNN's own layout."""
    try:
        return int(tensor.data_ptr())
    except RuntimeError:
        return 0
