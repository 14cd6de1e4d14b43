"""A torch module, and inputs of it, as files. Imports torch: import this inside functions only."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from harness.errors import PreparationError
from harness.runtimes.base import check_form
from harness.runtimes.packages import check_not_hidden
from harness.runtimes.torch_session import as_tensors, multiply_in_full

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["load_module", "read_example", "save_module", "write_example"]

_FILE = "model.pt"
_EXAMPLE = "example.pt"


def save_module(network: Any, folder: Path) -> None:
    """Write a module, structure and weights, as it is. Raises `PreparationError` for one that can't be pickled, or that
    another process could not load.
    """
    check_form(network, torch.nn.Module, "a torch runtime", "a torch.nn.Module")
    if any(isinstance(layer, torch.jit.ScriptModule) for layer in network.modules()):
        raise PreparationError(
            "the network is TorchScript, which torch.save can't write; let load give the Python module, or "
            "bring its .onnx file as Model(form='onnx')"
        )
    check_not_hidden(type(layer) for layer in network.modules())
    layers = ((name, layer) for name, layer in network.named_modules() if is_parametrized(layer))
    if found := [f"{name}.{weight}".lstrip(".") for name, layer in layers for weight in layer.parametrizations]:
        raise PreparationError(
            f"torch can't write {', '.join(found)}, which parametrizations compute anew at each call; let load end "
            "with torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') for each of these layers, and "
            "after weight_norm also with layer._load_state_dict_pre_hooks.clear()"
        )
    network.eval()
    try:
        torch.save(network, folder / _FILE)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        raise PreparationError(
            f"the network can't be written: {error}; define its classes and functions at the top level of a module "
            "that the suite imports"
        ) from error


def load_module(folder: Path, device: Any) -> Any:
    """Load what `save_module` wrote onto a device.

    The whole module is unpickled, which runs code. A state dict would not do: a network whose channels were removed
    can't be rebuilt from its class. The file is the harness's own, written by the prepare child of the same run or
    cache, and its digest is checked by the caller before it comes here.

    Weights of recurrent layers lie in one piece, where cuDNN wants them so. Modules of the suite are imported, and may
    have asked for products in fewer bits, or for another number of threads, when they were: those of fp32 numbers are
    in fp32 afterwards, and threads as many as before.

    Raises `PreparationError` where a class of it can't be imported.
    """
    threads = torch.get_num_threads()
    try:
        network = torch.load(folder / _FILE, map_location=device, weights_only=False)
    except ImportError as error:
        raise PreparationError(
            f"the network can't be loaded: {error}; the process that serves it does not call load, so what load "
            "alone makes importable (sys.path, trust_remote_code) is not found there; name its folder in pytest's "
            "option `pythonpath`"
        ) from error
    # Each weight came to the device by itself, and cuDNN would gather them anew at each call.
    for layer in network.modules():
        if isinstance(layer, torch.nn.RNNBase):
            layer.flatten_parameters()
    multiply_in_full()
    torch.set_num_threads(threads)
    network.eval()
    return network


def write_example(example: Arrays, folder: Path) -> None:
    """Keep one batch of inputs, for whose shapes a load compiles or captures."""
    torch.save(list(as_tensors(example)), folder / _EXAMPLE)


def read_example(folder: Path) -> tuple[Any, ...]:
    """What `write_example` wrote."""
    return tuple(torch.load(folder / _EXAMPLE, weights_only=True))
