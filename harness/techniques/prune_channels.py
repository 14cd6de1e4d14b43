"""Pruning of whole channels: the network that is left is dense and smaller."""

from __future__ import annotations

import copy
from typing import Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.runtimes.packages import installed
from harness.techniques.base import technique
from harness.techniques.prune import training_to_finetune, weight_parameters
from harness.techniques.structure import cant_run, example_of, shapes_of, with_macs
from harness.techniques.training import retrain, training_of

__all__ = ["output_layers", "pruned_channels"]


@technique(takes="torch", needs=training_to_finetune, requires=installed("torch", "torch", "torch_pruning"))
def pruned_channels(deployment: Deployment, fraction: float, finetune: bool = True) -> Deployment:
    """The channels with the smallest weights removed: `fraction` of them in each layer that does not give the outputs.

    The network that remains is dense and smaller, so that every runtime is faster with it; with `finetune` it is then
    trained. Where removing a fraction of the channels does not remove most of that fraction of the weights, because
    some layers can't be cut, the promise is broken. All heads of an attention that torch computes lose the same of
    their channels; where it can't be told whose they are, or code shares out anew what is left, it is refused. In an
    attention that is written out as products nobody sees them.
    Source: Fang et al., DepGraph, arXiv 2301.12900 (torch-pruning); Li et al., arXiv 1608.08710.
    """
    if not 0 < fraction < 1:
        raise SuiteError(f"pruned_channels({fraction}): fraction is the share of channels to remove, between 0 and 1")
    from harness.runtimes.torch_session import elements

    network = copy.deepcopy(deployment.network)
    before = elements(network)
    trained = sum(weight.numel() for weight in weight_parameters(network))
    _remove_channels(network, fraction, example_of(deployment))
    if finetune:
        retrain(network, training_of(deployment.model))
    return with_macs(deployment, network).promising(
        # Buffers, such as a table of positions, count as weights and stay as they are.
        Promise("parameters", at_least=1, at_most=int(before - trained + trained * (1 - 0.8 * fraction)))
    )


def _remove_channels(network: Any, fraction: float, example: tuple[Any, ...]) -> None:
    import torch
    import torch_pruning

    from harness.techniques.head_channels import HeadChannels

    for parameter in network.parameters():
        parameter.requires_grad_(True)
    with torch.no_grad():
        shapes = shapes_of(network(*example))
    heads = HeadChannels(network, example)
    pruner = torch_pruning.pruner.MagnitudePruner(
        network,
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=fraction,
        global_pruning=False,
        in_channel_groups={},  # its defaults are shared between pruners, and written to
        # Not as `num_heads`: an attention's group then goes by the layer behind it, whose own group takes its place.
        out_channel_groups={**heads.groups},
        ignored_layers=output_layers(network, example),
    )
    shared = _shared(network)
    try:
        removed = _step(pruner)
        _tie(shared)
        with torch.no_grad():
            found = shapes_of(network(*example))
    except RuntimeError as error:
        raise cant_run("channels", error) from error
    if found != shapes:
        raise PreparationError(f"removing channels changed the shapes of the outputs from {shapes} to {found}")
    heads.check(removed)


def _step(pruner: Any) -> dict[tuple[Any, int], set[int]]:
    """Let torch-pruning remove what it has chosen, and tell which outputs (0) and inputs (1) each layer has lost."""
    sides = (pruner.DG.is_out_channel_pruning_fn, pruner.DG.is_in_channel_pruning_fn)
    removed: dict[tuple[Any, int], set[int]] = {}
    for group in pruner.step(interactive=True):
        for dependency, numbers in group:
            for axis, is_of in enumerate(sides):
                if is_of(dependency.handler):
                    removed.setdefault((dependency.target.module, axis), set()).update(numbers)
        group.prune()
    return removed


def _shared(network: Any) -> list[list[tuple[Any, str]]]:
    """Where the parameters lie that are in several places: for each of them the modules, and its name in them."""
    places: dict[int, list[tuple[Any, str]]] = {}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            places.setdefault(id(parameter), []).append((module, name))
    return [found for found in places.values() if len(found) > 1]


def _tie(shared: list[list[tuple[Any, str]]]) -> None:
    """Let places have one parameter again where they were cut alike: torch-pruning gives each module one of its own."""
    import torch

    for (first, name), *others in shared:
        parameter = getattr(first, name)
        for module, other in others:
            if torch.equal(getattr(module, other), parameter):
                setattr(module, other, parameter)


def output_layers(network: Any, example: tuple[Any, ...]) -> list[Any]:
    """The layers whose channels are the outputs': the first with weights on each way back from an output.

    Those of the first output come first.
    """
    from harness.runtimes.torch_session import named_outputs

    owners = {
        id(module.weight): module
        for module in network.modules()
        if getattr(module, "weight", None) is not None and module.weight.dim() >= 2
    }
    found: dict[int, Any] = {}
    seen: set[Any] = set()
    pending = [output.grad_fn for output in named_outputs(network(*example)).values()][::-1]
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
