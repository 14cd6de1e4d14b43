"""The one training loop: recovers pruned networks and teaches students, and gives the same weights each time."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError, SuiteError
from harness.model import Model, Training, in_order

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["retrain", "train", "training_of"]


def train(
    network: Any,
    training: Training,
    *,
    teacher: Any = None,
    loss: Callable[[Any, Any, Any], Any] | None = None,
    after_step: Callable[[float], None] | None = None,
    seed: int = 0,
) -> None:
    """Train all weights of a torch network in place, on the CPU, and leave it in evaluation mode.

    teacher     gives its outputs to `loss`, without gradients
    loss        (outputs, labels, teacher's outputs or None) -> scalar tensor; the training's own where not given
    after_step  called after each change of the weights with the share of the training that is done, 1 at the end
    seed        of what the network (dropout) and `Training.batches` draw from the generators of the process, and of the
                batches: another seed goes on with the epochs that the one before has not used

    AdamW with a cosine schedule from the training's learning rate to zero (Loshchilov & Hutter, arXiv 1711.05101 and
    1608.03983), one thread, deterministic algorithms, denormals as zero: the same weights for each run on a machine,
    and for each hardware that they are served on. Raises `PreparationError` for no batches, for a loss that is not
    finite, and for embeddings with sparse gradients, which AdamW does not take.
    """
    import torch

    from harness.runtimes.torch_session import as_tensors

    def of_training(outputs: Any, labels: Any, taught: Any) -> Any:  # noqa: ARG001 - has no teacher
        return training.loss(outputs, labels)

    tables = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    sparse = [name for name, module in network.named_modules() if isinstance(module, tables) and module.sparse]
    if sparse:
        raise PreparationError(
            f"{', '.join(sparse)} of the network would have sparse gradients, which AdamW does not take; let load make "
            "such a layer with sparse=False, which computes the same"
        )
    loss = loss or of_training
    with _deterministic(seed):
        optimizer = torch.optim.AdamW(network.requires_grad_(True).parameters())
        network.train()
        for rate, done, inputs, labels in _schedule(training, seed):
            tensors = as_tensors(inputs)
            value = loss(network(*tensors), torch.from_numpy(labels.copy()), _taught(teacher, tensors))
            if not math.isfinite(value.item()):
                raise PreparationError(f"training diverged: the loss is {value.item()} (lower Training.learning_rate)")
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            if after_step:
                after_step(done)
        network.eval()


def retrain(network: Any, training: Training, *, after_step: Callable[[float], None] | None = None) -> None:
    """Train what pruning has left of a network, as `train` does: a weight that is zero before stays zero.

    So what one technique has removed comes back in no later one's training.
    """
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    removed = [(weight, zero) for weight in weights if (zero := weight.detach() == 0).any()]

    def keep_zeros(done: float) -> None:
        for weight, zero in removed:
            weight.data.masked_fill_(zero, 0.0)
        if after_step:
            after_step(done)

    train(network, training, after_step=keep_zeros)


def training_of(model: Model) -> Training:
    """The model's training, its inputs in the order of `Model.inputs`. Raises `SuiteError` where it has none."""
    if model.training is None:
        raise SuiteError(f"training a network needs Model.training, and the model {model.name} has none")
    training, names = model.training(), list(model.inputs(1, 0))

    def batches(epoch: int) -> Iterator[tuple[Arrays, np.ndarray[Any, Any]]]:
        return ((in_order(inputs, names), labels) for inputs, labels in training.batches(epoch))

    return dataclasses.replace(training, batches=batches)


def _schedule(training: Training, seed: int = 0) -> Iterator[tuple[float, float, Mapping[str, Any], Any]]:
    """Learning rate, share of the training that is done after it, inputs and labels of each step."""
    for epoch in range(training.epochs):
        batches = list(training.batches(epoch + seed * training.epochs))
        if not batches:
            raise PreparationError(f"Training.batches({epoch}) gave no batches")
        for number, (inputs, labels) in enumerate(batches):
            progress = (epoch + number / len(batches)) / training.epochs
            done = (epoch + (number + 1) / len(batches)) / training.epochs
            yield training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress)), done, inputs, labels


def _taught(teacher: Any, inputs: tuple[Any, ...]) -> Any:
    import torch

    if teacher is None:
        return None
    with torch.no_grad():
        return teacher(*inputs)


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """One thread, a seed and deterministic algorithms; what was set before is set again afterwards."""
    import numpy as np
    import torch

    drawn, drawn_by_numpy = random.getstate(), np.random.get_state()
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            yield
    finally:
        random.setstate(drawn)
        np.random.set_state(drawn_by_numpy)
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)
