"""Prices of diamonds: a residual network of a table's rows, trained by `suites.train_diamonds`.

The table of 53,940 stones that came with ggplot2, here from the plotnine wheel: weight, proportions and size in
numbers, and three grades. Rows that stand there twice are taken once, and those whose size is zero or impossible not
at all; one of eight of the others, by a fixed seed, is for the test. A price counts as right within a tenth of the one
that was paid. `diamonds_student` is the smaller, untrained network that `distilled(into=diamonds_student)` teaches.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Evaluation, Model, Training, digest_arrays
from suites import data
from suites.pins import PLOTNINE

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from harness.model import Predict
    from suites.models.diamonds_network import Tabular

    Array = np.ndarray[Any, Any]

__all__ = ["WEIGHTS", "batches", "diamonds", "diamonds_student", "of_price", "scaled", "stones"]

WEIGHTS = Path(__file__).with_name("diamonds.safetensors")
TABLE = "plotnine/data/diamonds.csv"
NUMBERS = ("carat", "depth", "table", "x", "y", "z")
GRADES = {
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
    "color": tuple("DEFGHIJ"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}
LARGEST = 15.0
"""Millimetres: the few stones with a larger side are slips of the decimal point."""
SPLIT_SEED = 20240229
TEST_SHARE = 8
"""One stone of this many is for the test."""
WITHIN = 0.1
"""Relative error up to which a price is right."""
CENTRE, SPREAD = 7.8, 1.0
"""Of the logarithms of prices in dollars: the network gives (log(price) - CENTRE) / SPREAD."""
EPOCH, BATCH = 24_000, 256
"""Stones of one epoch of fine-tuning, drawn anew each epoch, and of a step."""


@functools.cache
def stones(part: str) -> tuple[Mapping[str, Array], Array]:
    """What the network takes, numbers (N, 6) float32 and grades (N, 3) int64, and prices (N,) float64. Read only."""
    import numpy as np

    lines = data.member(PLOTNINE, TABLE).read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(dict.fromkeys(lines)))
    numbers = np.array([[row[name] for name in NUMBERS] for row in rows], np.float32)
    grades = np.array([[values.index(row[name]) for name, values in GRADES.items()] for row in rows], np.int64)
    prices = np.array([row["price"] for row in rows], np.float64)
    possible = np.flatnonzero((numbers[:, 3:] > 0).all(axis=1) & (numbers[:, 3:] <= LARGEST).all(axis=1))
    order = np.random.default_rng(SPLIT_SEED).permutation(possible)
    of_test = len(order) // TEST_SHARE
    chosen = order[:of_test] if part == "test" else order[of_test:]
    found = numbers[chosen], grades[chosen], prices[chosen]
    for array in found:
        array.flags.writeable = False
    return {"numbers": found[0], "grades": found[1]}, found[2]


def scaled(network: Tabular) -> Tabular:
    """The network itself, told the mean and the standard deviation of each number in the training."""
    import torch

    numbers = stones("training")[0]["numbers"]
    network.mean.copy_(torch.from_numpy(numbers.mean(axis=0)))
    network.deviation.copy_(torch.from_numpy(numbers.std(axis=0)))
    return network


def of_price(prices: Array) -> Array:
    """What the network should give for prices: (N, 1) float32."""
    import numpy as np

    return ((np.log(prices) - CENTRE) / SPREAD).astype(np.float32)[:, None]


def batches(epoch: int, size: int = EPOCH, batch: int = BATCH) -> Iterator[tuple[Mapping[str, Array], Array]]:
    """Stones of one epoch of `size`, `batch` at a time, and what the network should give for them."""
    import numpy as np

    inputs, prices = stones("training")
    order = np.random.default_rng((SPLIT_SEED, epoch)).permutation(len(prices))[:size]
    for start in range(0, len(order) - batch + 1, batch):
        rows = order[start : start + batch]
        yield {name: array[rows] for name, array in inputs.items()}, of_price(prices[rows])


def _load() -> nn.Module:
    from safetensors.torch import load_file

    from suites.models.diamonds_network import teacher

    network = teacher()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def _load_student() -> nn.Module:
    import torch

    from suites.models.diamonds_network import student

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SPLIT_SEED)
        return scaled(student()).eval()


def _inputs(batch_size: int, seed: int) -> Mapping[str, Array]:
    import numpy as np

    inputs, prices = stones("test")
    rows = np.random.default_rng(seed).choice(len(prices), batch_size, replace=batch_size > len(prices))
    return {name: array[rows] for name, array in inputs.items()}


def _calibration() -> list[Mapping[str, Array]]:
    inputs, _ = stones("training")
    return [{name: array[start : start + 64] for name, array in inputs.items()} for start in range(0, 1024, 64)]


def _training() -> Training:
    return Training(batches=batches, loss=_absolute, epochs=5, learning_rate=4e-3)


def _absolute(values: Tensor, wanted: Tensor) -> Tensor:
    from torch.nn.functional import l1_loss

    return l1_loss(values, wanted)


def _evaluate(predict: Predict) -> Evaluation:
    import numpy as np

    inputs, prices = stones("test")
    values = np.asarray(next(iter(predict(inputs).values()))).reshape(-1).astype(np.float64)
    errors = np.abs(np.expm1(SPREAD * values + CENTRE - np.log(prices)))
    scores = (errors <= WITHIN).astype(np.float64)
    return Evaluation(
        value=float(scores.mean()),
        scores=scores,
        workload=digest_arrays({**inputs, "price": prices}),
        label="prices within 10 %",
        metrics={"price_error": float(np.median(errors))},
    )


def _table_digest() -> Mapping[str, str]:
    return data.digests([data.member(PLOTNINE, TABLE)])


def _data() -> Mapping[str, str]:
    return {**_table_digest(), **data.digests([WEIGHTS])}


diamonds = Model(
    name="diamonds",
    form="torch",
    load=_load,
    inputs=_inputs,
    evaluate=_evaluate,
    calibration=_calibration,
    training=_training,
    data=_data,
)

diamonds_student = dataclasses.replace(diamonds, name="diamonds_student", load=_load_student, data=_table_digest)
