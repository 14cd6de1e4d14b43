"""ONNX Runtime's quantizers: what they reach is promised, and no more; what computes in float32 is no INT8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from harness.techniques import int8_dynamic, int8_static
from harness.techniques.base import Technique
from harness.testing import check_technique
from tests.onnx_networks import as_model, model, tensor


def weight(name: str, *shape: int) -> Any:
    return tensor(name, np.random.default_rng(len(name)).standard_normal(shape))


def test_products_that_stay_float_are_not_excused_by_a_neighbour_that_does_not(tmp_path: Path) -> None:
    """ONNX Runtime has an integer kernel for the activation between them, and none for transposed convolutions."""
    steps = [
        helper.make_node("ConvTranspose", ["x", "a"], ["h"], strides=[2, 2]),
        helper.make_node("LeakyRelu", ["h"], ["l"]),
        helper.make_node("ConvTranspose", ["l", "b"], ["y"], strides=[2, 2]),
    ]
    network = model(steps, [weight("a", 4, 8, 2, 2), weight("b", 8, 3, 2, 2)], axes=(4, 4, 4))
    with pytest.raises(
        AssertionError, match=r"promised arithmetic\.int8 >= 0\.001, found not found.*nodes\.quantized': 1,"
    ):
        check_technique(int8_static, as_model(network, tmp_path))


@pytest.mark.parametrize("technique", [int8_dynamic(ops="Gather"), int8_static(ops="Gather")])
def test_of_tables_alone_no_arithmetic_is_promised(technique: Technique, tmp_path: Path) -> None:
    steps = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["y"]),
    ]
    network = model(steps, [weight("table", 64, 8), weight("w", 8, 4)])
    evidence, facts = check_technique(technique, as_model(network, tmp_path))
    assert [item.promise for item in evidence] == ["quantized >= 0.847"]
    assert (facts["quantized"], facts["precision"]) == (512 / 544, "float32")
