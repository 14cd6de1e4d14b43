"""What is asked of a model before an artefact is made of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import PreparationError
from harness.grid import Case
from harness.hardware import cpu
from harness.techniques import reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_torch_model
from harness.worker.outputs import check_repeats
from harness.worker.prepare import _make, check_inputs


def test_inputs_must_follow_the_seed() -> None:
    """Or the network, which answers equal inputs equally, would be said to ignore them."""
    constant = [{"x": np.ones((1, 4), np.float32), "length": np.array([4])} for _ in range(8)]
    with pytest.raises(PreparationError, match=r"Model\.inputs of tiny gives the same values for every seed"):
        check_inputs("tiny", constant)
    check_inputs("tiny", [{**batch, "x": batch["x"] * number} for number, batch in enumerate(constant)])


class Centred(torch.nn.Module):
    """Changes its inputs, and gives what lies in their memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12)

    def forward(self, image: Any) -> Any:
        return image.sub_(0.5)


class Remembering(torch.nn.Module):
    """Keeps its last answer, which is a part of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12)
        self.register_buffer("last", torch.zeros(()))

    def forward(self, image: Any) -> Any:
        self.last = self.layer(image) + 0.5 * self.last
        return self.last


@pytest.mark.parametrize("kind", [Centred, Remembering])
def test_a_network_that_answers_the_same_inputs_otherwise_the_second_time_is_refused(
    kind: type[torch.nn.Module], tmp_path: Path
) -> None:
    """Turns call with the same staged inputs: each of them would end without the cause."""
    model = dataclasses.replace(tiny_torch_model(), load=kind)
    with pytest.raises(PreparationError, match=r"output output differs by .* again with the same inputs; .* in place"):
        _make(Case(model, as_pipeline(reference), cpu), tmp_path)


def test_rounding_is_no_other_answer_and_another_shape_is() -> None:
    first = {"output": np.ones((2, 3), np.float32)}
    check_repeats({"output": first["output"] * np.float32(1 + 1e-5)}, first)
    for again in ({"output": np.ones((1, 3), np.float32)}, {}, {"output": np.full((2, 3), np.nan, np.float32)}):
        with pytest.raises(PreparationError, match=r"differs by (inf|nan)"):
            check_repeats(again, first)
