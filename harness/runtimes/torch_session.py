"""A torch module loaded and ready, and what can be read from it. Imports torch: import this inside functions only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from harness.errors import MeasurementError, PreparationError
from harness.records import Scalar
from harness.runtimes.facts import (
    N_M,
    Weight,
    arithmetic_facts,
    is_weight_dtype,
    is_weight_shape,
    kept_patterns,
    weight_facts,
)
from harness.runtimes.torch_graph import graph_weights
from harness.runtimes.torch_operators import INTEGER, OperatorTypes, address_of, dtype_name

if TYPE_CHECKING:
    import numpy as np

    from harness.hardware.base import Hardware

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = [
    "TorchSession",
    "arrays_of",
    "as_tensors",
    "elements",
    "enter_torch",
    "kept_outputs",
    "module_weights",
    "multiply_in_full",
    "named_outputs",
    "other_product_weights",
    "product_weights",
    "weight_tensors",
]

_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Weights that a torch.nn.MultiheadAttention has beside those of its linear layer, the first or the others."""


def enter_torch(hardware: Hardware) -> Any:
    """Make torch in this process ready for a hardware and give its device.

    Denormal numbers count as zero: a few of them in a pruned network make a CPU many times slower, and by how much
    depends on the inputs. Products of fp32 numbers stay fp32 (`multiply_in_full`).
    """
    identity = hardware.describe()
    torch.set_num_threads(int(identity.get("threads", 1)))
    torch.set_flush_denormal(True)
    multiply_in_full()
    return torch.device("cuda" if identity["kind"] == "cuda" else "cpu")


def multiply_in_full() -> None:
    """Let products of fp32 numbers stay fp32 from now on, so that `float32` is true of them.

    A GPU rounds convolutions to TF32 by default, and an environment or a suite may have asked for TF32, or on a CPU for
    bfloat16. To be called again after modules of a suite were imported.
    """
    # These two first: torch refuses to say what is set where its older interface and its newer one disagree.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for level in (torch.backends, torch.backends.cudnn, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn):
        level.fp32_precision = "ieee"


def as_tensors(arrays: Arrays, device: Any = "cpu") -> tuple[Any, ...]:
    """Arrays as tensors on a device, in their order."""
    # A copy: torch shares memory with the array otherwise, and warns about arrays that are read-only.
    return tuple(torch.from_numpy(array.copy()).to(device) for array in arrays.values())


def named_outputs(outputs: Any) -> dict[str, Any]:
    """Outputs of a module by name: a tensor is `output`, those of a sequence `output_0` and on, a mapping's its keys.

    Raises `PreparationError` for anything else.
    """
    if isinstance(outputs, torch.Tensor):
        return {"output": outputs}
    if isinstance(outputs, Mapping):
        named = {str(key): value for key, value in outputs.items()}
    elif isinstance(outputs, (list, tuple)):
        named = {f"output_{number}": value for number, value in enumerate(outputs)}
    else:
        named = {"output": outputs}
    for name, value in named.items():
        if not isinstance(value, torch.Tensor):
            raise PreparationError(
                f"output {name} of the network is a {type(value).__name__}; let forward give a tensor, or a list, "
                "tuple or mapping of tensors"
            )
    return named


def kept_outputs(outputs: Any) -> dict[str, Any]:
    """Copies of `named_outputs`: a network may answer in a buffer of its own, which its next call overwrites."""
    return {name: tensor.clone() for name, tensor in named_outputs(outputs).items()}


def arrays_of(outputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs by name as arrays: floating point in float32, others as they are."""
    # Conjugates and negatives are views with a mark that numpy does not know.
    tensors = {name: tensor.detach().cpu().resolve_conj().resolve_neg() for name, tensor in outputs.items()}
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).numpy() for name, tensor in tensors.items()
    }


class TorchSession:
    """Calls `function`, which is `module` itself or its compiled form, without recording gradients."""

    def __init__(
        self,
        name: str,
        module: Any,
        function: Callable[..., Any],
        device: Any,
        *,
        guard: Callable[[], AbstractContextManager[Any]] = torch.inference_mode,
    ) -> None:
        self._name = name
        self._module = module
        self._function = function
        self._device = device
        self._guard = guard

    def stage(self, inputs: Arrays) -> tuple[Any, ...]:
        staged = as_tensors(inputs, self._device)
        # A network that is for one length says so here, and not in its forward, where that would be timed.
        if check := getattr(self._module, "check_staged", None):
            check(staged)
        return staged

    def __call__(self, staged: tuple[Any, ...]) -> Any:
        with self._guard():
            return self._function(*staged)

    def fetch(self, outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        return arrays_of(named_outputs(outputs))

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """Weights as the module holds them, and the operators and types of one eager call of it.

        Raises `MeasurementError` (outcome `invalid`) where products were computed on another device than the session's.
        """
        with self._guard(), OperatorTypes() as operators:
            self._module(*self.stage(example))
        if strays := operators.devices - {self._device.type}:
            raise MeasurementError(
                f"the network is on {self._device.type}, and computes products on {', '.join(sorted(strays))}: torchao "
                "multiplies integers there whose sizes are no multiples of 8; leave these layers out, or use another "
                "runtime",
                outcome="invalid",
            )
        device = next((weight.device for weight in _tensors(self._module)), self._device)
        return {
            "runtime": self._name,
            "provider": device.type,
            **weight_facts(module_weights(self._module, operators.addresses)),
            **arithmetic_facts(operators.products, operators.others),
            "nodes": len(operators.products) + len(operators.others),
            "nodes.quantized": operators.products.count(INTEGER),
        }


def module_weights(module: Any, addresses: Iterable[Collection[int]] = ()) -> list[Weight]:
    """The weights of a module, shared ones once; see `harness.runtimes.facts` for what a weight is.

    `addresses` are those of an `OperatorTypes`: weights that other products read keep to no pattern.
    """
    multiplied = {id(weight) for weight in product_weights(module)}
    others = {id(weight) for weight in other_product_weights(module, addresses)}
    found = [(id(tensor), _weight(tensor, multiplied=id(tensor) in multiplied)) for tensor in weight_tensors(module)]
    none = dict.fromkeys(N_M, 0)
    return [dataclasses.replace(weight, patterns=none) if key in others else weight for key, weight in found]


def elements(module: Any) -> int:
    """How many elements the weights of a module have, shared ones once."""
    return sum(weight.numel() for weight in weight_tensors(module))


def weight_tensors(module: Any) -> list[Any]:
    """The parameters and buffers of a module that are weights, shared ones once."""
    return [
        tensor for tensor in _tensors(module) if is_weight_shape(tensor.shape) and is_weight_dtype(dtype_name(tensor))
    ]


def product_weights(module: Any) -> list[Any]:
    """The weights of linear layers, convolutions and attention, shared ones once; axis 1 is the inputs'.

    Those that torchao has quantized are among them, and those of the products of exported graphs.
    """
    found: dict[int, Any] = {}
    for layer in module.modules():
        if isinstance(layer, GraphModule):
            found.update({id(weight): weight for weight in graph_weights(layer)})
        convolution = isinstance(layer, torch.nn.modules.conv._ConvNd) and not layer.transposed
        names = ("weight",) if convolution or isinstance(layer, torch.nn.Linear) else ()
        for name in _PROJECTIONS if isinstance(layer, torch.nn.MultiheadAttention) else names:
            weight = getattr(layer, name, None)
            if isinstance(weight, torch.Tensor) and is_weight_shape(weight.shape):
                found[id(weight)] = weight
    return list(found.values())


def other_product_weights(module: Any, addresses: Iterable[Collection[int]]) -> list[Any]:
    """The plain weights that products read at these addresses, given for each product, and that are of no layer.

    A parameter that code multiplies with, for instance, whose input axis nobody tells. Those of recurrent layers and
    transposed convolutions are none. Nor is what a layer's weight is multiplied with: learned queries are its inputs,
    and in a batch of one they are read where the parameter lies.
    """
    apart = (torch.nn.RNNBase, torch.nn.modules.conv._ConvTransposeNd)
    layers = [layer for layer in module.modules() if isinstance(layer, apart)]
    known = [*product_weights(module), *(weight for layer in layers for weight in layer.parameters(recurse=False))]
    names, places = {id(weight) for weight in known}, [_place(weight) for weight in known]
    read = {
        address
        for product in addresses
        if not any(address in place for place in places for address in product)
        for address in product
    }
    return [
        tensor
        for tensor in weight_tensors(module)
        if id(tensor) not in names
        and not is_traceable_wrapper_subclass(tensor)
        and (place := _place(tensor))
        and any(address in place for address in read)
    ]


def _place(tensor: Any) -> range:
    """The addresses of a tensor's numbers; none where torch has no address for it."""
    start = address_of(tensor)
    return range(start, start + tensor.numel() * tensor.element_size()) if start else range(0)


def _weight(tensor: Any, *, multiplied: bool) -> Weight:
    """A weight as it is stored: of a wrapper, the type of the largest tensor inside, which holds the numbers."""
    if not is_traceable_wrapper_subclass(tensor):
        values = tensor.float() if dtype_name(tensor).startswith("float8") else tensor
        patterns = kept_patterns((values != 0).cpu().numpy(), 1) if multiplied else None
        zeros = tensor.numel() - int(torch.count_nonzero(values))
        return Weight(dtype_name(tensor), tensor.numel(), zeros, patterns=patterns)
    inside = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
    stored = max(inside, key=torch.numel)
    if stored.numel() == tensor.numel():
        nonzero = tensor.dequantize() != 0
        patterns = kept_patterns(nonzero.cpu().numpy(), 1) if multiplied else None
        zeros = tensor.numel() - int(torch.count_nonzero(nonzero))
        return Weight(dtype_name(stored), tensor.numel(), zeros, patterns=patterns)
    # Several numbers lie in one element; which of them are zero is not looked at.
    return Weight(f"int{8 * stored.numel() * stored.element_size() // tensor.numel()}", tensor.numel(), 0)


def _tensors(module: Any) -> Iterator[Any]:
    """Parameters and buffers: an exporter makes both to initializers."""
    yield from module.parameters()
    yield from module.buffers()
