"""Make `suites/models/diamonds.safetensors`: `python -m suites.train_diamonds`, about a minute on one thread.

The file is committed, so that every machine measures the same network; another CPU may round differently and give
slightly different weights.
"""

from __future__ import annotations

import sys

EPOCHS, BATCH = 40, 256
PEAK = 4e-3
"""Largest learning rate."""


def main() -> int:
    """Train the teacher from a fixed seed, write it, and print its accuracy on the test set."""
    import torch
    from safetensors.torch import save_file
    from torch.nn.functional import l1_loss

    from suites.models.diamonds import WEIGHTS, batches, diamonds, scaled, stones
    from suites.models.diamonds_network import teacher

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    network = scaled(teacher())
    size = len(stones("training")[1])
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=EPOCHS * (size // BATCH))
    for epoch in range(EPOCHS):
        total, steps = 0.0, 0
        for inputs, wanted in batches(epoch, size, BATCH):
            optimizer.zero_grad()
            loss = l1_loss(network(*map(torch.from_numpy, inputs.values())), torch.from_numpy(wanted))
            loss.backward()
            optimizer.step()
            schedule.step()
            total, steps = total + loss.item(), steps + 1
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / steps:.4f}", flush=True)
    network.eval()
    with torch.inference_mode():
        found = diamonds.evaluate(
            lambda inputs: {"price": network(*(torch.from_numpy(array.copy()) for array in inputs.values())).numpy()}
        )
    error = found.metrics["price_error"]
    print(f"{len(found.scores)} stones of the test: {found.value:.4f} {found.label}, median error {error:.4f}")
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, WEIGHTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
