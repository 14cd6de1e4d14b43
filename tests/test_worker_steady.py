from __future__ import annotations

import random

import pytest

from harness.worker.steady import LIMIT_SECONDS, Steady, settle


def run(seconds_of_call) -> Steady:
    """Settle on scripted calls; nothing is waited for."""
    return settle(seconds_of_call)


@pytest.mark.parametrize("length", [20e-6, 1e-3, 0.05, 2.0])
def test_calls_that_are_steady_at_once(length: float) -> None:
    rng = random.Random(1)
    found = run(lambda number: length * rng.uniform(0.98, 1.02))
    assert found.steady
    assert found.call_seconds == pytest.approx(length, rel=0.03)
    assert found.calls <= 2 + 4 * max(1, min(200, 0.016 / length))


def test_a_warm_up_is_waited_for() -> None:
    found = run(lambda number: 0.001 * (1 + 4 * 0.99**number))
    assert found.steady
    assert found.calls > 200
    assert 0.001 < found.call_seconds < 0.0013


def test_a_compilation_after_many_calls_is_no_steady_state_before() -> None:
    """A runtime that becomes faster while it is watched is served by its later speed."""
    found = run(lambda number: 0.004 if number < 7 else 0.001)
    assert found.steady
    assert found.call_seconds == pytest.approx(0.001)


def test_what_never_settles_is_said_to_be_unsteady() -> None:
    found = run(lambda number: 0.002 * (1.0 if (number // 8) % 2 else 1.5))
    assert not found.steady
    assert found.calls * 0.002 < 2.5 * LIMIT_SECONDS


def test_long_calls_get_a_few_windows_and_no_more() -> None:
    found = run(lambda number: 3.0 if number % 2 else 4.0)
    assert not found.steady
    assert found.calls == 8
