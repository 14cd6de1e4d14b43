"""Pruning weight by weight: zeros over the whole network, and zeros in the pattern that sparse kernels want.

Techniques that make the network itself smaller are in `harness.techniques.structure`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.runtimes.facts import N_M
from harness.runtimes.packages import installed
from harness.techniques.base import technique
from harness.techniques.structure import Batch, example_of
from harness.techniques.training import retrain, training_of

__all__ = ["pruned_n_m", "pruned_weights", "training_to_finetune", "weight_parameters"]

Masks = list[tuple[Any, Any]]
"""(parameter, mask of its elements to remove)."""

SCOPES = ("global", "layer")
SCHEDULES = ("oneshot", "gradual")
_RAMP = 0.75
"""Share of the training in which a gradual sparsity rises; in the rest the weights that are left settle."""
_SHORT = 0.001
"""How far the share of zeros may lie below the one asked for."""
_STEPS = 16
"""Times at which a gradual sparsity is raised."""


def training_to_finetune(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """What a technique with the parameter `finetune` needs of the model."""
    return ("training",) if parameters["finetune"] else ()


@technique(takes="torch", needs=training_to_finetune, requires=installed("torch", "torch"))
def pruned_weights(
    deployment: Deployment,
    sparsity: float,
    finetune: bool = True,
    *,
    scope: str = "global",
    schedule: str = "oneshot",
) -> Deployment:
    """The smallest weights set to zero: `sparsity` is the share of all weights but buffers, over the whole network.

    With `finetune`, what remains is trained, and what was removed stays zero. `scope="layer"` removes the share from
    each weight tensor instead of from all together. `schedule="gradual"` removes while it trains: the sparsity rises
    as `sparsity * (1 - (1 - t)^3)`, with t from 0 to 1 over the first three quarters of the fine-tuning. Dense kernels
    multiply by zeros as fast as by anything else: expect a file that compresses well and no speed, except in runtimes
    with sparse kernels.
    Source: Han et al., arXiv 1506.02626; the cubic schedule is equation 1 of Zhu & Gupta, arXiv 1710.01878.
    """
    if not 0 < sparsity < 1:
        raise SuiteError(f"pruned_weights({sparsity}): sparsity is the share of weights to remove, between 0 and 1")
    if scope not in SCOPES or schedule not in SCHEDULES:
        raise SuiteError(f"pruned_weights: scope is {' or '.join(SCOPES)}, schedule is {' or '.join(SCHEDULES)}")
    if schedule == "gradual" and not finetune:
        raise SuiteError("pruned_weights: a gradual schedule removes weights while it trains, so it needs finetune")
    network = copy.deepcopy(deployment.network)

    def masks(share: float) -> Masks:
        return _smallest(network, share, scope)

    if schedule == "gradual":
        retrain(network, training_of(deployment.model), after_step=_gradually(masks, sparsity))
    else:
        _remove(deployment, network, masks(sparsity), finetune=finetune)
    return (
        deployment.replace(network=network)
        .promising(Promise("sparsity", at_least=_reached(network, sparsity) - _SHORT))
        .noting(**{"sparsity.kernels": "none in the runtimes here: zeros are multiplied like all numbers"})
    )


@technique(takes="torch", needs=training_to_finetune, requires=installed("torch", "torch"))
def pruned_n_m(deployment: Deployment, n: int = 2, m: int = 4, finetune: bool = True) -> Deployment:
    """In each group of `m` weights beside each other on the input axis, the `m - n` smallest set to zero.

    The pattern that sparse tensor cores want: 2:4 on NVIDIA GPUs from Ampere on. Linear layers, convolutions and the
    projections of a torch.nn.MultiheadAttention are pruned, except those whose number of input channels is no multiple
    of m. A parameter that code multiplies with by itself stays as it is. It brings no speed on a CPU, where no runtime
    has kernels for it, nor on a GPU in a runtime that does not ask for sparse kernels, as none here does.
    Source: Mishra et al., arXiv 2104.08378; Zhou et al., arXiv 2102.04010.
    """
    if f"{n}:{m}" not in N_M:
        raise SuiteError(f"pruned_n_m({n}, {m}): the patterns that are looked for in what runs are {', '.join(N_M)}")
    network = copy.deepcopy(deployment.network)
    masks, reached, elsewhere = _pattern(network, example_of(deployment), n, m)
    if reached < 0.5:
        others = (
            f"; {elsewhere:.0%} are read by other products, which torch.nn.Linear would replace" if elsewhere else ""
        )
        raise PreparationError(
            f"pruned_n_m({n}, {m}): {reached:.0%} of the weights in products are those of linear layers, convolutions "
            f"and attention with inputs that come in groups of {m}, and it needs half of them{others}"
        )
    _remove(deployment, network, masks, finetune=finetune)
    where = f"none on {deployment.hardware.name} in the runtimes here: zeros are multiplied like all numbers"
    return (
        deployment.replace(network=network)
        .promising(Promise(f"sparsity.{n}:{m}", at_least=reached - 0.001))
        .noting(**{"sparsity.kernels": where})
    )


def _remove(deployment: Deployment, network: Any, masks: Masks, *, finetune: bool) -> None:
    """Set what the masks name to zero and, with fine-tuning, train the rest."""

    for parameter, mask in masks:
        parameter.data.masked_fill_(mask, 0.0)
    if finetune:
        retrain(network, training_of(deployment.model))


def _gradually(masks: Callable[[float], Masks], sparsity: float) -> Callable[[float], None]:
    """What to do after each step of training so that the sparsity rises to its end. Zeros are never revived."""
    current: Masks = []
    raised = 0

    def set_to_zero() -> None:
        for parameter, mask in current:
            parameter.data.masked_fill_(mask, 0.0)

    def after_step(progress: float) -> None:
        nonlocal current, raised
        # A step of training has moved what is removed: by more than what stays is large, it would be chosen no more.
        set_to_zero()
        ramp = min(progress / _RAMP, 1.0)
        if int(ramp * _STEPS) > raised:
            raised = int(ramp * _STEPS)
            current = masks(sparsity * (1 - (1 - raised / _STEPS) ** 3))
            set_to_zero()

    return after_step


def _smallest(network: Any, share: float, scope: str) -> Masks:
    """Masks of the smallest weights of a network; ties are broken by position."""
    weights = weight_parameters(network)
    if not weights:
        raise PreparationError("there is nothing to prune: the network has no weights of two or more axes")
    if scope == "layer":
        # Rounded up, so that many small layers do not fall short of the share together.
        return [pair for weight in weights for pair in _least([weight], math.ceil(share * weight.numel()))]
    total: int = sum(weight.numel() for weight in weights)
    # To the nearest whole weight; of few weights more, where that would fall short of what is promised.
    return _least(weights, max(round(share * total), math.ceil((share - _SHORT) * total)))


def weight_parameters(network: Any) -> list[Any]:
    """The weights that can be trained, and so pruned: no buffers, such as a table of positions."""
    from harness.runtimes.facts import is_weight_shape

    return [p for p in network.parameters() if p.is_floating_point() and is_weight_shape(p.shape)]


def _reached(network: Any, share: float) -> float:
    """The share of all weights that is zero once `share` of those that can be pruned is.

    Facts count buffers with two axes as weights, and they keep the numbers that they have. Never more than `share`,
    also where buffers are full of zeros: an exporter may fold them away.
    """
    import torch

    from harness.runtimes.torch_session import weight_tensors

    weights, pruned = weight_tensors(network), weight_parameters(network)
    removed = {id(weight) for weight in pruned}
    zeros = sum(w.numel() - int(torch.count_nonzero(w)) for w in weights if id(w) not in removed)
    reached: float = share * sum(weight.numel() for weight in pruned) + zeros
    total: int = sum(weight.numel() for weight in weights)
    return min(share, reached / total)


def _least(weights: Sequence[Any], count: int) -> Masks:
    """Masks of the `count` smallest magnitudes among some weights."""
    import torch

    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    removed = torch.zeros(len(magnitudes), dtype=torch.bool)
    removed[magnitudes.argsort(stable=True)[:count]] = True
    parts = removed.split([weight.numel() for weight in weights])
    return [(weight, part.reshape(weight.shape)) for weight, part in zip(weights, parts, strict=True)]


def _pattern(network: Any, example: Batch, n: int, m: int) -> tuple[Masks, float, float]:
    """Masks that leave n of each m weights on the input axis, and of the weights that products read the shares that
    they cover, and that other products than those of layers read, as a call shows.
    """
    import torch
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    from harness.runtimes.torch_operators import OperatorTypes
    from harness.runtimes.torch_session import other_product_weights, product_weights

    with torch.no_grad(), OperatorTypes() as operators:
        network(*example)
    weights = product_weights(network)
    others = sum(weight.numel() for weight in other_product_weights(network, operators.addresses))
    masks, covered = [], 0
    for weight in weights:
        # What is quantized stays as it is; the tensors of torchao say that they are of floating point.
        plain = weight.is_floating_point() and not is_traceable_wrapper_subclass(weight)
        if plain and weight.shape[1] % m == 0:
            groups = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, m))
            smallest = groups.argsort(dim=-1, stable=True)[..., : m - n]
            mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, smallest, True)
            masks.append((weight, mask.flatten(-2).movedim(-1, 1)))
            covered += weight.numel()
    total = max(sum(weight.numel() for weight in weights) + others, 1)
    return masks, covered / total, others / total
