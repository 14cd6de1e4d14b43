"""Make `suites/models/diamonds.safetensors`: `python -m suites.train_diamonds`, about a minute on one thread.

The file is committed, so that every machine measures the same network; another CPU may round differently and give
slightly different weights.
"""

from __future__ import annotations

import sys
from typing import Any

from suites.training import fit, keep, reproducibly

EPOCHS, BATCH = 40, 256
PEAK = 4e-3
"""Largest learning rate."""


def main() -> int:
    """Train the teacher from a fixed seed, write it, and print its accuracy on the test set."""
    import torch
    from torch.nn.functional import l1_loss

    from suites.models.diamonds import WEIGHTS, batches, diamonds, scaled, stones
    from suites.models.diamonds_network import teacher

    reproducibly()
    network = scaled(teacher())
    size = len(stones("training")[1])

    def loss(inputs: Any, wanted: Any) -> Any:
        return l1_loss(network(*map(torch.from_numpy, inputs.values())), wanted)

    def epoch(number: int) -> list[Any]:
        return list(batches(number, size, BATCH))

    fit(network, epoch, loss, epochs=EPOCHS, peak=PEAK, weight_decay=0.02)
    with torch.inference_mode():
        found = diamonds.evaluate(
            lambda inputs: {"price": network(*(torch.from_numpy(array.copy()) for array in inputs.values())).numpy()}
        )
    error = found.metrics["price_error"]
    print(f"{len(found.scores)} stones of the test: {found.value:.4f} {found.label}, median error {error:.4f}")
    keep(network, WEIGHTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
