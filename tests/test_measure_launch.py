"""A launch: real processes that take turns; the arithmetic on what they showed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.errors import MeasurementError
from harness.hardware import cpu
from harness.measure.launch import ArmSpec, launch
from harness.measure.tree import Tree
from harness.measure.turns import plan_turn
from harness.plan import Plan
from tests.artefacts import make_artefact

TREE = Tree(Path(__file__).parent.parent)
PLAN = Plan(seconds=0.2, rounds=4)


def run(tmp_path: Path, arms: dict[str, ArmSpec], phase: str = "screen"):
    return launch(arms, hardware=cpu, plan=PLAN, rng=random.Random(3), logs=tmp_path, phase=phase)


def test_ratios_are_paired_and_an_item(tmp_path: Path) -> None:
    slow = str(make_artefact(tmp_path / "slow", "slow", after=0))
    arms = {
        "candidate": ArmSpec(TREE, slow, items=4),
        "reference": ArmSpec(TREE, slow, items=1),
        "anchor": ArmSpec(TREE),
    }
    one = run(tmp_path, arms)
    assert one.phase == "screen"
    assert one.rounds >= PLAN.rounds
    # Both arms sleep two milliseconds a call, and the candidate's call holds four items.
    assert one.speedup == pytest.approx(4, rel=0.2)
    assert 0.0018 < one.latency["p50"] < 0.006
    assert one.latency["p50"] <= one.latency["p90"] <= one.latency["p95"] <= one.latency["p99"]
    assert one.anchored == pytest.approx(
        one.latency["p50"] / sorted(one.samples["anchor"])[len(one.samples["anchor"]) // 2], rel=0.5
    )
    assert one.cpu_share < 0.5
    assert set(one.samples) == {"candidate", "reference", "anchor"}
    assert one.started_first in arms


def test_a_reference_has_no_speedup(tmp_path: Path) -> None:
    folder = str(make_artefact(tmp_path / "a"))
    one = run(tmp_path, {"candidate": ArmSpec(TREE, folder), "anchor": ArmSpec(TREE)})
    assert one.speedup is None
    assert one.anchored > 0


def test_a_fault_in_the_middle_of_the_turns_is_an_error(tmp_path: Path) -> None:
    folder = str(make_artefact(tmp_path / "a", "exit", after=1500))
    with pytest.raises(MeasurementError, match="before it had answered") as caught:
        run(tmp_path, {"candidate": ArmSpec(TREE, folder), "anchor": ArmSpec(TREE)})
    assert caught.value.outcome == "premature_exit"


@pytest.mark.parametrize(
    ("call", "discard", "calls"),
    [
        (20e-6, 50, 200),
        (100e-6, 10, 40),
        (1e-3, 1, 4),
        (3e-3, 1, 3),
        (10e-3, 1, 3),
        (90e-3, 1, 2),
        (0.2, 0, 1),
        (3.0, 0, 1),
    ],
)
def test_turns_fit_the_length_of_a_call(call: float, discard: int, calls: int) -> None:
    turn = plan_turn(call, aim=0.004)
    assert (turn.discard, turn.calls) == (discard, calls)
