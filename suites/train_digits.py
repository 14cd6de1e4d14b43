"""Make `suites/models/digits.safetensors`: `python -m suites.train_digits`, about two minutes on one thread.

The file is committed, so that every machine measures the same network; another CPU may round differently and give
slightly different weights.
"""

from __future__ import annotations

import sys

EPOCHS, BATCH = 24, 64
PEAK = 4e-3
"""Largest learning rate."""


def main() -> int:
    """Train the teacher from a fixed seed, write it, and print its accuracy on the test set."""
    import torch
    from safetensors.torch import save_file
    from torch.nn.functional import cross_entropy

    from suites.models.digits import WEIGHTS, batches, images
    from suites.models.digits_network import teacher

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    network = teacher().to(memory_format=torch.channels_last)
    pixels, _ = images("training")
    steps = EPOCHS * len(list(batches(0, len(pixels), BATCH)))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for inputs, labels in batches(epoch, len(pixels), BATCH):
            optimizer.zero_grad()
            image = torch.from_numpy(inputs["image"]).contiguous(memory_format=torch.channels_last)
            loss = cross_entropy(network(image), torch.from_numpy(labels), label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / len(pixels):.4f}", flush=True)
    network.eval()
    pixels, labels = images("test")
    with torch.inference_mode():
        answers = network(torch.from_numpy(pixels.copy())).argmax(dim=1).numpy()
    print(f"accuracy on {len(labels)} images of the test: {(answers == labels).mean():.4f}")
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, WEIGHTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
