"""Make `suites/models/digits.safetensors`: `python -m suites.train_digits`, about two minutes on one thread.

The file is committed, so that every machine measures the same network; another CPU may round differently and give
slightly different weights.
"""

from __future__ import annotations

import sys
from typing import Any

from suites.training import fit, keep, reproducibly

EPOCHS, BATCH = 24, 64
PEAK = 4e-3
"""Largest learning rate."""


def main() -> int:
    """Train the teacher from a fixed seed, write it, and print its accuracy on the test set."""
    import torch
    from torch.nn.functional import cross_entropy

    from suites.models.digits import WEIGHTS, batches, images
    from suites.models.digits_network import teacher

    reproducibly()
    network = teacher().to(memory_format=torch.channels_last)
    size = len(images("training")[0])

    def loss(inputs: Any, labels: Any) -> Any:
        image = torch.from_numpy(inputs["image"]).contiguous(memory_format=torch.channels_last)
        return cross_entropy(network(image), labels, label_smoothing=0.05)

    def epoch(number: int) -> list[Any]:
        return list(batches(number, size, BATCH))

    fit(network, epoch, loss, epochs=EPOCHS, peak=PEAK, weight_decay=0.05)
    pixels, labels = images("test")
    with torch.inference_mode():
        answers = network(torch.from_numpy(pixels.copy())).argmax(dim=1).numpy()
    print(f"accuracy on {len(labels)} images of the test: {(answers == labels).mean():.4f}")
    keep(network, WEIGHTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
