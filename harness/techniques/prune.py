"""Pruning: weights set to zero one by one, or whole channels removed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.runtimes.packages import installed
from harness.techniques.base import technique
from harness.techniques.training import train

__all__ = ["pruned_channels", "pruned_weights"]


def _training_to_finetune(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return ("training",) if parameters["finetune"] else ()


@technique(takes="torch", needs=_training_to_finetune, requires=installed("torch", "torch"))
def pruned_weights(deployment: Deployment, sparsity: float, finetune: bool = True) -> Deployment:
    """The smallest weights set to zero: `sparsity` is the share of all weights, over the whole network.

    With `finetune`, what remains is trained, and what was removed stays zero. Dense kernels multiply by zeros as fast
    as by anything else: expect a file that compresses well and no speed, except in runtimes with sparse kernels.
    Source: Han et al., arXiv 1506.02626; Zhu & Gupta, arXiv 1710.01878.
    """
    if not 0 < sparsity < 1:
        raise SuiteError(f"pruned_weights({sparsity}): sparsity is the share of weights to remove, between 0 and 1")
    network = copy.deepcopy(deployment.network)
    masks = _smallest(network, sparsity)

    def apply() -> None:
        for parameter, mask in masks:
            parameter.data.masked_fill_(mask, 0.0)

    apply()
    if finetune:
        train(network, _training(deployment), after_step=apply)
    return deployment.replace(network=network).promising(Promise("sparsity", at_least=sparsity - 0.001))


@technique(takes="torch", needs=_training_to_finetune, requires=installed("torch", "torch", "torch_pruning"))
def pruned_channels(deployment: Deployment, fraction: float, finetune: bool = True) -> Deployment:
    """The channels with the smallest weights removed: `fraction` of them in each layer that does not give the outputs.

    The network that remains is dense and smaller, so that every runtime is faster with it; with `finetune` it is then
    trained. Where removing a fraction of the channels does not remove most of that fraction of the weights, because
    some layers can't be cut, the promise is broken.
    Source: Fang et al., DepGraph, arXiv 2301.12900 (torch-pruning); Li et al., arXiv 1608.08710.
    """
    if not 0 < fraction < 1:
        raise SuiteError(f"pruned_channels({fraction}): fraction is the share of channels to remove, between 0 and 1")
    from harness.runtimes.torch_session import module_weights

    network = copy.deepcopy(deployment.network)
    before = sum(weight.elements for weight in module_weights(network))
    _remove_channels(network, fraction, _example(deployment))
    if finetune:
        train(network, _training(deployment))
    return deployment.replace(network=network).promising(
        Promise("parameters", at_least=1, at_most=int(before * (1 - 0.8 * fraction)))
    )


def _smallest(network: Any, share: float) -> list[tuple[Any, Any]]:
    """(parameter, mask of its elements to remove) for the weights of a network; ties are broken by position."""
    import torch

    from harness.runtimes.facts import is_weight_shape

    weights = [p for p in network.parameters() if p.is_floating_point() and is_weight_shape(p.shape)]
    if not weights:
        raise PreparationError("there is nothing to prune: the network has no weights of two or more axes")
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    removed = torch.zeros(len(magnitudes), dtype=torch.bool)
    removed[magnitudes.argsort(stable=True)[: round(share * len(magnitudes))]] = True
    parts = removed.split([weight.numel() for weight in weights])
    return [(weight, part.reshape(weight.shape)) for weight, part in zip(weights, parts, strict=True)]


def _remove_channels(network: Any, fraction: float, example: tuple[Any, ...]) -> None:
    import torch
    import torch_pruning

    for parameter in network.parameters():
        parameter.requires_grad_(True)
    with torch.no_grad():
        shapes = _shapes(network(*example))
    pruner = torch_pruning.pruner.MagnitudePruner(
        network,
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=fraction,
        global_pruning=False,
        in_channel_groups={},  # its defaults are shared between pruners, and written to
        out_channel_groups={},
        ignored_layers=_output_layers(network, example),
    )
    pruner.step()
    try:
        with torch.no_grad():
            found = _shapes(network(*example))
    except RuntimeError as error:
        raise PreparationError(
            f"the network can't run with fewer channels: {error}; its code fixes their number, in a reshape to "
            "constant sizes for example (compute it from the tensors, or name this reason in Model.unsupported)"
        ) from error
    if found != shapes:
        raise PreparationError(f"removing channels changed the shapes of the outputs from {shapes} to {found}")


def _output_layers(network: Any, example: tuple[Any, ...]) -> list[Any]:
    """The layers whose channels are the outputs': the first with weights on each way back from an output."""
    from harness.runtimes.torch_session import named_outputs

    owners = {
        id(module.weight): module
        for module in network.modules()
        if getattr(module, "weight", None) is not None and module.weight.dim() >= 2
    }
    found: dict[int, Any] = {}
    seen: set[Any] = set()
    pending = [output.grad_fn for output in named_outputs(network(*example)).values()]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        operands = [operand for operand, _ in node.next_functions]
        layer = next((owners[key] for key in map(_parameter_of, operands) if key in owners), None)
        if layer is None:
            pending += operands
        else:
            found[id(layer)] = layer
    return list(found.values())


def _parameter_of(node: Any) -> int:
    """Identity of the parameter that a node of the autograd graph stands for, directly or transposed; 0 for none."""
    if node is not None and type(node).__name__ in ("TBackward0", "TransposeBackward0", "PermuteBackward0"):
        node = node.next_functions[0][0]
    return id(node.variable) if hasattr(node, "variable") else 0


def _example(deployment: Deployment) -> tuple[Any, ...]:
    import torch

    inputs = deployment.model.inputs(deployment.batch_size, 0)
    return tuple(torch.from_numpy(array.copy()) for array in inputs.values())


def _shapes(outputs: Any) -> dict[str, Any]:
    from harness.runtimes.torch_session import named_outputs

    return {name: tuple(tensor.shape) for name, tensor in named_outputs(outputs).items()}


def _training(deployment: Deployment) -> Any:
    if deployment.model.training is None:
        raise SuiteError(f"fine-tuning needs Model.training, and the model {deployment.model.name} has none")
    return deployment.model.training()
