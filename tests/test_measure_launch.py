"""A launch: real processes that take turns; the arithmetic on what they showed."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import harness
from harness.disturbance import disturbances
from harness.errors import MeasurementError, WrongTreeError
from harness.hardware import Cpu, cpu
from harness.measure.launch import ArmSpec, _latency, launch
from harness.measure.tree import Tree
from harness.measure.turns import plan_turn
from harness.plan import Plan
from harness.records import Launch
from harness.worker.protocol import Loaded, Settled, Stopped, Turn, TurnDone
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


def test_percentiles_and_the_mean_are_those_that_their_names_say() -> None:
    """No other number of a launch would have told them apart."""
    found = _latency([number / 1000 for number in range(1001, 0, -1)])
    assert found == pytest.approx({"p50": 0.501, "p90": 0.901, "p95": 0.951, "p99": 0.991, "mean": 0.501})
    assert _latency([1.0, 1.0, 4.0])["mean"] == pytest.approx(2.0)


class Scripted:
    """In place of a child: it answers at once, never settles as the candidate, and may have lost a turn.

    `waited` has how long an answer of each kind was waited for at most.
    """

    lost = 0
    harness_file = harness.__file__
    asked: ClassVar[list[str]] = []
    waited: ClassVar[set[tuple[type, float]]] = set()

    def __init__(self, name: str, *_: object) -> None:
        self.role, self.taken, self.request = name.removesuffix(" arm"), 0, None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ask(self, request: Any) -> None:
        self.request = request
        if isinstance(request, Turn):
            self.asked.append(self.role)

    def reply(self, kind: type, deadline: float) -> Any:
        self.waited.add((kind, deadline))
        if kind is Loaded:
            return Loaded(0.1, self.harness_file)
        if kind is Settled:
            return Settled(0.001, 10, self.role != "candidate")
        self.taken += 1
        calls = self.request.calls  # type: ignore[attr-defined]
        return TurnDone((1_000_000,) * calls, 1_000_000 * calls)

    def stop(self, deadline: float) -> Stopped:
        self.waited.add((Stopped, deadline))
        return Stopped(self.taken - self.lost, {"throttled_calls": 3} if self.role == "candidate" else {})


def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *states: dict[str, Any], seed: int = 3) -> Launch:
    """A launch of scripted children on a device that is in these states before and after."""
    told = iter(states)
    monkeypatch.setattr(Cpu, "state", lambda _: next(told))
    monkeypatch.setattr("harness.measure.launch.Child", Scripted)
    meter = SimpleNamespace(share=lambda: 0.5, steal=lambda: 0.25)
    monkeypatch.setattr("harness.measure.launch.PressureMeter", lambda: meter)
    monkeypatch.setattr(Scripted, "asked", [])
    monkeypatch.setattr(Scripted, "waited", set())
    arms = {"candidate": ArmSpec(TREE, "a"), "anchor": ArmSpec(TREE)}
    plan = Plan(seconds=0.001, rounds=20, deadline=7.0)
    return launch(arms, hardware=cpu, plan=plan, rng=random.Random(seed), logs=tmp_path, phase="screen")


@pytest.mark.parametrize(
    ("before", "after", "slowdown"),
    [({"slowdown": "thermal", "throttled": 1}, 1, "thermal"), ({"throttled": 1}, 4, "throttled 3 times for heat")],
)
def test_a_launch_says_all_that_disturbed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, Any], after: int, slowdown: str
) -> None:
    states = {**before, "frequency": 3000.0}, {"slowdown": "none", "throttled": after, "frequency": 2500.0}
    assert disturbances(scripted(tmp_path, monkeypatch, *states)) == (
        "other work competed for the CPU",
        "the hypervisor gave the CPU to others",
        "the CPU's clock changed",
        f"the device slowed down ({slowdown})",
        "the device stayed below its clock",
        "calls of the candidate never came to a steady time",
    )


def test_arms_start_and_take_turns_in_random_order_and_each_turn_is_accounted_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scripted(tmp_path, monkeypatch, {}, {})
    asked = Scripted.asked
    assert len(asked) == 2 * one.rounds >= 40
    assert {tuple(asked[at : at + 2]) for at in range(0, len(asked), 2)} == {
        ("candidate", "anchor"),
        ("anchor", "candidate"),
    }
    firsts = {scripted(tmp_path, monkeypatch, {}, {}, seed=seed).started_first for seed in range(8)}
    assert firsts == {"candidate", "anchor"}
    monkeypatch.setattr(Scripted, "lost", 1)
    with pytest.raises(MeasurementError, match=r"arm took \d+ turns of \d+") as caught:
        scripted(tmp_path, monkeypatch, {}, {})
    assert caught.value.outcome == "invalid"


def test_no_answer_of_an_arm_is_waited_for_beyond_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs among those that are timed would hold up the run for ever."""
    scripted(tmp_path, monkeypatch, {}, {})
    assert Scripted.waited == {(Loaded, 7.0), (Settled, 7.0), (TurnDone, 7.0), (Stopped, 7.0)}


def test_an_arm_that_serves_another_trees_code_gives_no_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times would be told of this one."""
    monkeypatch.setattr(Scripted, "harness_file", str(tmp_path / "harness" / "__init__.py"))
    with pytest.raises(WrongTreeError, match=f"imported harness from {tmp_path}"):
        scripted(tmp_path, monkeypatch, {}, {})
    assert not Scripted.asked, "it was timed"
