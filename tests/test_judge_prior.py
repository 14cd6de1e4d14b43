from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness.judge import Prior, Spread, fit_prior
from harness.judge.prior import DEFAULT_BLOCK, DEFAULT_LAUNCH, LEAST_BLOCK_SPREAD, MOST_FREEDOM, between, pooled
from tests.judge_samples import a_block, some_times


def blocks_of(rng: np.random.Generator, launch: float, block: float, number: int = 3, launches: int = 4) -> list:
    """Blocks of values around 1 with these standard deviations of their logarithms."""
    hours = rng.normal(0, block, number)
    return [a_block({"speedup": np.exp(hour + rng.normal(0, launch, launches)).tolist()}) for hour in hours]


def test_a_prior_weighs_by_degrees_of_freedom() -> None:
    found = Spread(4.0, 6.0).moderate(1.0, 2.0)
    assert (found.variance, found.freedom) == ((6 * 4 + 2 * 1) / 8, 8.0)


def test_variances_within_and_between_groups() -> None:
    groups = [[0.0, 2.0], [10.0, 14.0], [5.0]]
    assert pooled(groups) == Spread((2.0 + 8.0) / 2, 2.0)
    assert between(groups) == Spread(pytest.approx(np.var([1.0, 12.0, 5.0], ddof=1)), 2.0)
    assert pooled([[1.0]]).freedom == 0
    assert between([[1.0, 2.0]]).freedom == 0


def test_equal_spreads_are_learnt_and_held_firmly_but_not_too_firmly() -> None:
    rng = np.random.default_rng(1)
    found = fit_prior(some_times(blocks_of(rng, 0.010, 0.020)) for _ in range(200))
    assert math.sqrt(found.launches("speedup").variance) == pytest.approx(0.010, rel=0.05)
    # The mean of a block of four launches differs by the hour and by a quarter of the launches' variance.
    assert math.sqrt(found.blocks("speedup").variance) == pytest.approx(math.sqrt(0.02**2 + 0.01**2 / 4), rel=0.1)
    assert found.launches("speedup").freedom == MOST_FREEDOM
    assert found.blocks("speedup").freedom == MOST_FREEDOM


def test_spreads_that_differ_from_case_to_case_are_held_weakly() -> None:
    """Variances drawn as Smyth's model has them, d0 = 4 and s0 = 0.01, are found again."""
    rng = np.random.default_rng(2)
    spreads = 0.01 * np.sqrt(4.0 / rng.chisquare(4.0, 400))
    found = fit_prior(some_times(blocks_of(rng, spread, 0.0, launches=8)) for spread in spreads).launches("speedup")
    assert found.freedom == pytest.approx(4.0, rel=0.2)
    assert math.sqrt(found.variance) == pytest.approx(0.01, rel=0.08)


def test_too_few_baselines_teach_nothing() -> None:
    rng = np.random.default_rng(3)
    few = [some_times(blocks_of(rng, 0.001, 0.001)) for _ in range(4)]
    assert fit_prior(few).launches("speedup") == DEFAULT_LAUNCH
    assert fit_prior(few).blocks("speedup") == DEFAULT_BLOCK
    assert Prior().launches("anything") == DEFAULT_LAUNCH
    one_block_each = [some_times(blocks_of(rng, 0.01, 0.01, number=1)) for _ in range(50)]
    assert fit_prior(one_block_each).blocks("speedup") == DEFAULT_BLOCK
    assert fit_prior(one_block_each).launches("speedup") != DEFAULT_LAUNCH


def test_hours_are_never_taken_to_be_alike() -> None:
    equal = [some_times([a_block({"speedup": [2.0, 2.0]})] * 3) for _ in range(20)]
    found = fit_prior(equal)
    assert found.blocks("speedup").variance == pytest.approx(LEAST_BLOCK_SPREAD**2)
    assert found.launches("speedup").variance > 0


def test_the_document_has_how_far_blocks_that_are_alike_come_below_what_is_usual() -> None:
    document = (Path(__file__).parent.parent / "docs" / "verdicts.md").read_text(encoding="utf-8")

    def least(freedom: float, blocks: int) -> str:
        spread = Spread(LEAST_BLOCK_SPREAD**2, freedom).moderate(0.0, blocks - 1)
        return f"{100 * math.sqrt(spread.variance):.2f} %"

    told = " ".join(document.split())
    assert f"The other cases count for at most {MOST_FREEDOM:g} degrees of freedom" in told
    assert f"to {least(MOST_FREEDOM, 3)} with three blocks and to {least(MOST_FREEDOM, 8)} with eight" in told
    assert f"to {least(1.7, 3)} and {least(1.7, 8)} at 1.7 degrees of freedom" in told


def test_ratios_to_the_anchor_are_what_is_learnt_where_there_are_any() -> None:
    rng = np.random.default_rng(4)
    noisy, quiet = (lambda: rng.normal(1, 0.3, 4).clip(0.1).tolist()), (lambda: rng.normal(1, 0.01, 4).tolist())
    files = [
        some_times([a_block({"latency.p50": noisy()}, {"latency.p50": quiet()}) for _ in range(3)]) for _ in range(60)
    ]
    assert math.sqrt(fit_prior(files).launches("latency.p50").variance) == pytest.approx(0.01, rel=0.1)


def test_values_without_a_logarithm_are_left_out() -> None:
    files = [some_times([a_block({"memory.peak": [value]})] * 3) for value in (0.0, -1.0, math.inf, math.nan, 5.0)]
    assert set(fit_prior(files).block) == {"memory.peak"}
