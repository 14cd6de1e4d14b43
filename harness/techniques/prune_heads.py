"""Pruning of attention heads: their rows and columns are cut out of the layers around the attention."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.runtimes.packages import installed
from harness.techniques.base import technique
from harness.techniques.prune import training_to_finetune
from harness.techniques.structure import Batch, cant_run, change, check_same, outputs_on, probes_of, with_macs
from harness.techniques.training import retrain, training_of

__all__ = ["pruned_heads"]


@technique(takes="torch", needs=training_to_finetune, requires=installed("torch", "torch"))
def pruned_heads(deployment: Deployment, fraction: float, finetune: bool = True) -> Deployment:
    """The least important heads of each attention removed: `fraction` of them, and at least one stays.

    Heads are found where the network calls torch's `scaled_dot_product_attention`, with one linear layer or several
    before it and one after it. The importance of a head is how much the outputs change (relative L2, on calibration
    data or else on the inputs of calls) while it gives zeros. Its channels are then cut out of those layers, and what
    is left must give what the network gave with these heads muted. With `finetune` it is trained.
    Source: Michel, Levy & Neubig, arXiv 1905.10650; Voita et al., arXiv 1905.09418.
    """
    if not 0 < fraction < 1:
        raise SuiteError(f"pruned_heads({fraction}): fraction is the share of heads to remove, between 0 and 1")
    from harness.runtimes.torch_session import elements
    from harness.techniques.attention_probe import Attention, attentions

    network = copy.deepcopy(deployment.network)
    batches = probes_of(deployment)
    found = attentions(network, batches[0])
    chosen: list[tuple[Attention, list[int]]] = []
    expected = outputs_on(network, batches)
    for attention in found:
        count = min(round(fraction * attention.heads), attention.heads - 1)
        changes = [
            change(outputs_on(network, batches, _muted([(attention, [head])])), expected)
            for head in range(attention.heads)
        ]
        chosen.append((attention, sorted(range(attention.heads), key=changes.__getitem__)[:count]))
    if not any(heads for _, heads in chosen):
        raise PreparationError(f"pruned_heads({fraction}) removes none of the {found[0].heads} heads of an attention")
    before = elements(network)
    muted = outputs_on(network, batches, _muted(chosen))
    gone = sum(attention.cut(heads) for attention, heads in chosen)
    _check(network, batches, muted)
    if finetune:
        retrain(network, training_of(deployment.model))
    left = sum(attention.heads - len(heads) for attention, heads in chosen)
    return (
        with_macs(deployment, network)
        .promising(Promise("parameters", at_least=1, at_most=before - gone))
        .noting(**{"heads.before": sum(attention.heads for attention in found), "heads.after": left})
    )


def _check(network: Any, batches: Sequence[Batch], muted: Sequence[Any]) -> None:
    try:
        outputs = outputs_on(network, batches)
    except RuntimeError as error:
        raise cant_run("heads", error) from error
    check_same("the heads", outputs, muted)


@contextmanager
def _muted(chosen: Sequence[tuple[Any, list[int]]]) -> Iterator[None]:
    """Meanwhile these heads of these attentions give zeros to the layer after them."""
    import torch

    with ExitStack() as stack:
        for attention, heads in chosen:
            silent = torch.zeros(attention.after.in_features, dtype=torch.bool)
            silent[attention.read_by_after(heads)] = True
            handle = attention.after.register_forward_pre_hook(
                lambda _, inputs, silent=silent: (inputs[0].masked_fill(silent, 0.0), *inputs[1:])
            )
            stack.callback(handle.remove)
        yield
