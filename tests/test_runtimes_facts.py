"""What counts as a weight, and how facts follow from weights and operators."""

from __future__ import annotations

import numpy as np
import pytest

from harness.fidelity import bits_of
from harness.runtimes.facts import (
    N_M,
    Weight,
    arithmetic_facts,
    is_weight_dtype,
    is_weight_shape,
    kept_patterns,
    weight_facts,
)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 32), True),
        ((8, 1, 3, 3), True),
        ((16, 1, 3), True),
        ((64,), False),
        ((), False),
        ((1, 64), False),
        ((1, 64, 1, 1), False),
        ((0, 64), False),
    ],
)
def test_a_weight_has_two_axes_longer_than_one(shape: tuple[int, ...], expected: bool) -> None:
    assert is_weight_shape(shape) is expected


@pytest.mark.parametrize(
    ("dtype", "bits", "weight"),
    [
        ("float32", 32, True),
        ("bfloat16", 16, True),
        ("float8_e4m3fn", 8, True),
        ("int8", 8, True),
        ("uint4", 4, True),
        ("int64", 64, False),
        ("int32", 32, False),
        ("bool", 0, False),
    ],
)
def test_types_of_weights(dtype: str, bits: int, weight: bool) -> None:
    assert bits_of(dtype) == bits
    assert is_weight_dtype(dtype) is weight


def test_shares_are_of_elements() -> None:
    facts = weight_facts([Weight("float32", 300, 30), Weight("int8", 100, 10, 127)])
    assert facts == {
        "parameters": 400,
        "sparsity": 0.1,
        "quantized": 0.25,
        "quantized.bits": 8,
        "weights.float32": 0.75,
        "weights.int8": 0.25,
    }


def test_a_network_without_weights_has_no_shares() -> None:
    assert weight_facts([]) == {"parameters": 0}


@pytest.mark.parametrize(
    ("dtype", "magnitude", "bits"),
    [("int8", 128, 8), ("int8", 127, 8), ("int8", 65, 8), ("int8", 64, 7), ("int8", 8, 4), ("uint8", 250, 8)],
)
def test_bits_that_quantized_weights_really_use(dtype: str, magnitude: int, bits: int) -> None:
    assert weight_facts([Weight(dtype, 10, 0, magnitude)])["quantized.bits"] == bits


def test_patterns_are_counted_along_the_axis_of_the_inputs() -> None:
    nonzero = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]], bool)
    assert kept_patterns(nonzero, 1) == {"1:2": 8, "1:4": 0, "2:4": 8, "4:8": 0}
    assert kept_patterns(nonzero.T, 0) == kept_patterns(nonzero, 1)
    assert kept_patterns(nonzero, 0) == dict.fromkeys(N_M, 0)  # three outputs are no groups
    kernels = np.repeat(nonzero[:, :, None], 9, axis=2)
    assert kept_patterns(kernels, 1)["2:4"] == 8 * 9


def test_a_pattern_is_a_fact_where_half_of_what_is_multiplied_keeps_to_it() -> None:
    embedding = Weight("float32", 1000, 0)
    pruned = Weight("float32", 60, 30, patterns={"2:4": 60, "1:4": 20})
    dense = Weight("float32", 40, 0, patterns={"2:4": 0})
    facts = weight_facts([embedding, pruned, dense])
    assert facts["sparsity.2:4"] == 0.6
    assert "sparsity.1:4" not in facts
    assert "sparsity.2:4" not in weight_facts([embedding])


def test_precision_is_that_of_the_products() -> None:
    facts = arithmetic_facts(["int8", "int8", "int8", "float32"], ["float32", "int64"])
    assert facts == {"precision": "float32+int8", "arithmetic.float32": 0.25, "arithmetic.int8": 0.75}


def test_without_products_precision_is_that_of_the_other_floating_point_operators() -> None:
    assert arithmetic_facts([], ["float32", "int64"])["precision"] == "float32"
    assert arithmetic_facts([], [])["precision"] == "unknown"
