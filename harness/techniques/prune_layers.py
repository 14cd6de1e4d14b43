"""Pruning of depth: whole blocks of a network removed, the least important first."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.runtimes.packages import installed
from harness.techniques.base import technique
from harness.techniques.prune import training_to_finetune
from harness.techniques.structure import Batch, cant_run, change, check_same, outputs_on, probes_of, with_macs
from harness.techniques.training import retrain, training_of

__all__ = ["pruned_layers"]


@technique(takes="torch", needs=training_to_finetune, requires=installed("torch", "torch"))
def pruned_layers(deployment: Deployment, amount: int | float, finetune: bool = True) -> Deployment:
    """Whole blocks removed: `amount` of them as a whole number, or the share of them as a fraction.

    A block is a module with weights in a `ModuleList` or `Sequential` that is called once and gives a tensor of the
    shape and type of its first argument. The block whose absence changes the outputs least (relative L2, on
    calibration data or else on the inputs of calls) is removed, then the next, given that the first is gone. With
    `finetune` what is left is trained.
    Source: Sajjad et al., arXiv 2004.03844; Men et al., ShortGPT, arXiv 2403.03853, for dropping by influence.
    """
    if isinstance(amount, bool) or not (amount >= 1 if isinstance(amount, int) else 0 < amount < 1):
        raise SuiteError(f"pruned_layers({amount}): give a number of blocks (2), or a share of them between 0 and 1")
    from harness.runtimes.torch_session import elements

    network = copy.deepcopy(deployment.network)
    batches = probes_of(deployment)
    blocks = _blocks(network, batches[0])
    count = amount if isinstance(amount, int) else round(amount * len(blocks))
    if not 0 < count < len(blocks):
        raise PreparationError(
            f"pruned_layers({amount}) would remove {count} of {len(blocks)} blocks, and at least one must go and one "
            "stay; a block is a module with weights in a ModuleList or Sequential that gives what it takes in shape"
        )
    dropped = _least_important(network, blocks, count, batches)
    before = elements(network)
    muted = outputs_on(network, batches, _muted(dropped))
    _drop(dropped)
    try:
        outputs = outputs_on(network, batches)
    except (RuntimeError, IndexError, KeyError, AttributeError) as error:
        raise cant_run("blocks", error) from error
    check_same("the blocks", outputs, muted)
    # What a block shares with the rest stays. Something must go: blocks that were not dropped would keep the promise.
    left = min(elements(network), before - 1)
    if finetune:
        retrain(network, training_of(deployment.model))
    return (
        with_macs(deployment, network)
        .promising(Promise("parameters", at_least=1, at_most=left))
        .noting(**{"layers.removed": " ".join(sorted(block.name for block in dropped))})
    )


@dataclass(frozen=True, eq=False)
class _Block:
    """One module of a container, its place in it, and its name in the network."""

    name: str
    container: Any
    index: int

    @property
    def module(self) -> Any:
        return self.container[self.index]


def _blocks(network: Any, batch: Batch) -> list[_Block]:
    """The outermost modules in containers that could be left out."""
    import torch

    from harness.runtimes.torch_session import weight_tensors

    found = [
        _Block(f"{name}.{index}" if name else str(index), container, index)
        for name, container in network.named_modules()
        if isinstance(container, (torch.nn.ModuleList, torch.nn.Sequential))
        for index in range(len(container))
    ]
    calls: dict[int, list[bool]] = {id(block.module): [] for block in found}

    def note(module: Any, inputs: Any, output: Any) -> None:
        first = inputs[0] if inputs else None
        calls[id(module)].append(
            isinstance(first, torch.Tensor)
            and isinstance(output, torch.Tensor)
            and first.shape == output.shape
            and first.dtype == output.dtype
        )

    with ExitStack() as stack:
        for module in {id(block.module): block.module for block in found}.values():
            handle = module.register_forward_hook(note)
            stack.callback(handle.remove)
        outputs_on(network, [batch])
    kept: list[_Block] = []
    for block in found:
        inside = any(block.name.startswith(f"{other.name}.") for other in kept)
        if not inside and calls[id(block.module)] == [True] and weight_tensors(block.module):
            kept.append(block)
    return kept


def _least_important(network: Any, blocks: list[_Block], count: int, batches: list[Batch]) -> list[_Block]:
    """The blocks to drop, chosen one after the other: each time the one whose absence changes the outputs least."""
    expected = outputs_on(network, batches)
    dropped: list[_Block] = []
    for _ in range(count):
        left = [block for block in blocks if block not in dropped]
        changes = [change(outputs_on(network, batches, _muted([*dropped, block])), expected) for block in left]
        dropped.append(left[changes.index(min(changes))])
    return dropped


@contextmanager
def _muted(blocks: list[_Block]) -> Iterator[None]:
    """Meanwhile these blocks give what they get."""
    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.module.register_forward_hook(_passed_on).remove)
        yield


def _passed_on(_: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001 - a hook's arguments
    return inputs[0]


def _drop(blocks: list[_Block]) -> None:
    """Remove blocks from their containers, the last first, so that the places of the others stay what they are."""
    for block in sorted(blocks, key=lambda block: -block.index):
        del block.container[block.index]
