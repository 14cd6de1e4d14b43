"""Make `suites/models/minilm_head.safetensors`: `python -m suites.fit_minilm_head`, about a minute on one thread.

A logistic regression on the frozen fp32 embeddings of the training texts, with the L2 penalty that does best on a
fifth of them that is held out (the strongest of equals). The file is committed: the head is part of the question, not
of what is measured.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
BATCH = 32


def main() -> int:
    """Fit the head, write it, and print its accuracy on the test."""
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from suites.models.minilm import HEAD, minilm, texts

    torch.set_num_threads(1)
    network = minilm.load()
    sentences, labels = texts("training")
    features = _embed(network, sentences)
    fit, held_out = slice(0, len(labels) * 4 // 5), slice(len(labels) * 4 // 5, None)
    found = {}
    for penalty in PENALTIES:
        weight, bias = _logistic(features[fit], labels[fit], penalty)
        found[penalty] = _accuracy(features[held_out], labels[held_out], weight, bias)
        print(f"penalty {penalty:g}: {found[penalty]:.4f} on {len(labels[held_out])} texts held out")
    weight, bias = _logistic(features, labels, max(PENALTIES, key=lambda penalty: found[penalty]))
    save_file({"weight": weight.astype(np.float32), "bias": np.array([bias], dtype=np.float32)}, HEAD)
    sentences, labels = texts("test")
    print(f"{_accuracy(_embed(network, sentences), labels, weight, bias):.4f} on the {len(labels)} texts of the test")
    return 0


def _embed(network: Any, sentences: tuple[str, ...]) -> Array:
    import numpy as np
    import torch

    from suites.models.minilm import tokens

    parts = []
    with torch.inference_mode():
        for start in range(0, len(sentences), BATCH):
            inputs = tokens(sentences[start : start + BATCH])
            parts.append(network(torch.from_numpy(inputs["ids"]), torch.from_numpy(inputs["mask"])).numpy())
    return np.concatenate(parts).astype(np.float64)


def _logistic(features: Array, labels: Array, penalty: float) -> tuple[Array, float]:
    """Weight (384,) and bias that minimise the summed log loss plus `penalty / 2 * |weight|^2`."""
    import numpy as np
    from scipy.optimize import minimize

    sign = 2.0 * labels - 1.0

    def objective(point: Array) -> tuple[float, Array]:
        margin = sign * (features @ point[:-1] + point[-1])
        pull = -sign / (1.0 + np.exp(margin))
        gradient = np.append(features.T @ pull + penalty * point[:-1], pull.sum())
        return float(np.logaddexp(0.0, -margin).sum() + penalty / 2 * point[:-1] @ point[:-1]), gradient

    found = minimize(objective, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B")
    return found.x[:-1], float(found.x[-1])


def _accuracy(features: Array, labels: Array, weight: Array, bias: float) -> float:
    return float(((features @ weight + bias > 0) == labels).mean())


if __name__ == "__main__":
    sys.exit(main())
