"""What the scripts that train the bundled networks share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    Batches = Collection[tuple[Any, np.ndarray[Any, Any]]]

__all__ = ["fit", "keep", "reproducibly"]


def reproducibly() -> None:
    """From here on torch computes on one thread, from a fixed seed, the same on each run on a machine."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)


def fit(
    network: nn.Module,
    batches: Callable[[int], Batches],
    loss: Callable[[Any, Tensor], Tensor],
    *,
    epochs: int,
    peak: float,
    weight_decay: float,
) -> None:
    """Train in place by AdamW with one cycle of the learning rate, print each epoch's loss, and end in evaluation mode.

    `batches` gives the inputs and labels of an epoch, `loss` that of a batch, and `peak` is the largest learning rate.
    """
    import torch

    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=epochs * len(batches(0)))
    for epoch in range(epochs):
        total, count = 0.0, 0
        for inputs, labels in batches(epoch):
            optimizer.zero_grad()
            value = loss(inputs, torch.from_numpy(labels))
            value.backward()
            optimizer.step()
            schedule.step()
            total, count = total + value.item() * len(labels), count + len(labels)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / count:.4f}", flush=True)
    network.eval()


def keep(network: nn.Module, path: Path) -> None:
    """Write a network's weights."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
