"""The one training loop: recovers pruned networks and teaches students, and gives the same weights each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.errors import PreparationError
from harness.model import Training

__all__ = ["train"]

SEED = 0


def train(
    network: Any,
    training: Training,
    *,
    teacher: Any = None,
    loss: Callable[[Any, Any, Any], Any] | None = None,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train all weights of a torch network in place, on the CPU, and leave it in evaluation mode.

    teacher     gives its outputs to `loss`, without gradients
    loss        (outputs, labels, teacher's outputs or None) -> scalar tensor; the training's own where not given
    after_step  called after each change of the weights

    AdamW with a cosine schedule from the training's learning rate to zero (Loshchilov & Hutter, arXiv 1711.05101 and
    1608.03983), one thread, deterministic algorithms, denormals as zero: the same weights for each run on a machine,
    and for each hardware that they are served on. Raises `PreparationError` for no batches and for a loss that is not
    finite.
    """
    import torch

    def of_training(outputs: Any, labels: Any, taught: Any) -> Any:  # noqa: ARG001 - has no teacher
        return training.loss(outputs, labels)

    loss = loss or of_training
    with _deterministic():
        optimizer = torch.optim.AdamW(network.requires_grad_(True).parameters())
        network.train()
        for rate, inputs, labels in _schedule(training):
            tensors = _tensors(inputs)
            value = loss(network(*tensors), torch.from_numpy(labels.copy()), _taught(teacher, tensors))
            if not math.isfinite(value.item()):
                raise PreparationError(f"training diverged: the loss is {value.item()} (lower Training.learning_rate)")
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            if after_step:
                after_step()
        network.eval()


def _schedule(training: Training) -> Iterator[tuple[float, Mapping[str, Any], Any]]:
    """Learning rate, inputs and labels of each step."""
    for epoch in range(training.epochs):
        batches = list(training.batches(epoch))
        if not batches:
            raise PreparationError(f"Training.batches({epoch}) gave no batches")
        for number, (inputs, labels) in enumerate(batches):
            progress = (epoch + number / len(batches)) / training.epochs
            yield training.learning_rate * 0.5 * (1 + math.cos(math.pi * progress)), inputs, labels


def _tensors(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.from_numpy(array.copy()) for array in inputs.values())


def _taught(teacher: Any, inputs: tuple[Any, ...]) -> Any:
    import torch

    if teacher is None:
        return None
    with torch.no_grad():
        return teacher(*inputs)


@contextmanager
def _deterministic() -> Iterator[None]:
    """One thread, a fixed seed and deterministic algorithms; what was set before is set again afterwards."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)
