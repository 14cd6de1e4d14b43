"""What `@grid` makes of its axes."""

from __future__ import annotations

from typing import Any

import pytest

from harness import SuiteError, grid
from harness.grid import grid_of
from harness.hardware import cpu
from harness.techniques import batched
from harness.testing import tiny_torch_model

AXES: dict[str, list[Any]] = {
    "model": [tiny_torch_model()],
    "technique": [batched(1), batched(2), batched(4)],
    "hardware": [cpu],
}


@pytest.mark.parametrize("axis", AXES)
def test_an_axis_that_can_be_read_only_once_gives_all_its_cases(axis: str) -> None:
    axes: dict[str, Any] = {**AXES, axis: iter(AXES[axis])}

    @grid(**axes)
    def test_it(case, bench): ...

    found = grid_of(test_it)
    assert found is not None
    assert [case.id for case in found.cases()] == [f"tiny/batched:{n}/cpu" for n in (1, 2, 4)]


@pytest.mark.parametrize("axis", AXES)
def test_an_empty_iterator_is_an_empty_axis(axis: str) -> None:
    axes: dict[str, Any] = {**AXES, axis: iter(())}
    with pytest.raises(SuiteError, match=f"axis '{axis}' is empty"):
        grid(**axes)


def test_a_function_under_two_grids_is_refused() -> None:
    """The inner grid vanished without a word, and its cases with it."""

    @grid(**AXES)
    def test_it(case, bench): ...

    words = "test_it stands under two grids, and only one would be measured; give each a function of its own"
    with pytest.raises(SuiteError, match=words):
        grid(**{**AXES, "technique": [batched(8)]})(test_it)
    found = grid_of(test_it)
    assert found is not None
    assert len(found.cases()) == 3
