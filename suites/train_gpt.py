"""Make `suites/models/gpt.safetensors`: `python -m suites.train_gpt`, about three minutes on one thread.

The file is committed, so that every machine measures the same network; another CPU may round differently and give
slightly different weights.
"""

from __future__ import annotations

import sys
from typing import Any

from suites.training import keep, reproducibly

STEPS, BATCH = 1600, 32
EPOCH = 1000
"""Number of the one epoch of this training; fine-tuning has those from 0 on."""
PEAK = 4e-3
"""Largest learning rate."""


def main() -> int:
    """Train from a fixed seed, write the weights, and print what both ways of reading give on the test."""
    import torch

    from suites.models.gpt import CONTEXT, WEIGHTS, batches, gpt_decode, gpt_prefill, symbols
    from suites.models.gpt_network import Gpt

    reproducibly()
    print(f"{len(symbols('training'))} characters for training, {len(symbols('test'))} for the test", flush=True)
    network = Gpt()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=STEPS)
    total = 0.0
    for step, (inputs, labels) in enumerate(batches(EPOCH, STEPS, BATCH, CONTEXT), 1):
        logits = network(torch.from_numpy(inputs["ids"]))["logits"]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(labels).flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            print(f"step {step} of {STEPS}: loss {total / 100:.4f}", flush=True)
            total = 0.0
    keep(network, WEIGHTS)
    for model in (gpt_prefill, gpt_decode):
        found = model.evaluate(_predictor(model.load()))
        perplexity = found.metrics["perplexity"]
        print(f"{model.name}: {found.value:.4f} of {len(found.scores)} characters, perplexity {perplexity:.3f}")
    return 0


def _predictor(network: Any) -> Any:
    import torch

    def predict(inputs: Any) -> Any:
        with torch.inference_mode():
            return {name: tensor.numpy() for name, tensor in network(*map(torch.from_numpy, inputs.values())).items()}

    return predict


if __name__ == "__main__":
    sys.exit(main())
