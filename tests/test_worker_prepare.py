"""What is asked of a model before an artefact is made of it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import PreparationError
from harness.worker.prepare import check_inputs


def test_inputs_must_follow_the_seed() -> None:
    """Or the network, which answers equal inputs equally, would be said to ignore them."""
    constant = [{"x": np.ones((1, 4), np.float32), "length": np.array([4])} for _ in range(8)]
    with pytest.raises(PreparationError, match=r"Model\.inputs of tiny gives the same values for every seed"):
        check_inputs("tiny", constant)
    check_inputs("tiny", [{**batch, "x": batch["x"] * number} for number, batch in enumerate(constant)])
