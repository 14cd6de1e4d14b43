"""A model that does not fit into its hardware: told from every other failure, by real children under a real limit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import MeasurementError
from harness.grid import Case
from harness.hardware import Cpu, cpu, edge
from harness.hardware.limit import means
from harness.measure.artefacts import Artefact
from harness.measure.limits import evidence_of, need_of, or_without, too_large, unlimited
from harness.measure.passes import energy_facts, measure_energy, measure_memory
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.techniques.base import as_pipeline, reference
from harness.testing import tiny_torch_model
from harness.worker.artefact import read_manifest
from tests.artefacts import make_artefact

TREE = Tree(Path(__file__).parent.parent)
PLAN = Plan(deadline=30)
SMALL = edge(memory="300MB")

pytestmark = pytest.mark.skipif(bool(means()[1]), reason=f"memory can't be limited here: {means()[1]}")


def case_on(hardware: Cpu) -> Case:
    return Case(tiny_torch_model(), as_pipeline(reference), hardware)


def artefact_of(folder: Path, fault: str = "", after: int = 12) -> Artefact:
    made = make_artefact(folder / "artefact", fault, after)
    return Artefact(TREE, made, read_manifest(made), fresh=True)


def memory_of(case: Case, artefact: Artefact, logs: Path):
    found, failure = or_without(case, lambda where: measure_memory(where, artefact, PLAN, logs / "memory.log"))
    if failure:
        raise too_large(case, failure, need_of(found))
    return found


def test_what_fits_is_measured_and_the_limit_is_evidence(tmp_path: Path) -> None:
    case = case_on(SMALL)
    memory = memory_of(case, artefact_of(tmp_path), tmp_path)
    assert 0 < memory.values["memory.peak"] < memory.asked < 300e6
    (evidence,) = evidence_of(case, memory)
    assert (evidence.technique, evidence.promise, evidence.kept) == ("edge.300MB", "memory <= 300MB", True)
    assert evidence.found.startswith("300 MB by ")


@pytest.mark.parametrize("fault", ["grow", "grow_or_abort", "grow_or_exit"])
def test_what_does_not_fit_is_out_of_memory_however_it_ends(tmp_path: Path, fault: str) -> None:
    """And it is said how much it needs: 400 MB of its own, and what Python and numpy need."""
    artefact = artefact_of(tmp_path, fault, after=5)
    with pytest.raises(MeasurementError, match=r"needs more than edge\.300MB allows: .*held 4\d\d MB") as caught:
        memory_of(case_on(SMALL), artefact, tmp_path)
    assert caught.value.outcome == "oom"
    assert memory_of(case_on(cpu), artefact, tmp_path).values["memory.peak"] > 400e6
    assert memory_of(case_on(edge(memory="800MB")), artefact, tmp_path).values["memory.peak"] > 400e6


@pytest.mark.parametrize(("fault", "outcome"), [("raise", "failed"), ("abort", "crashed")])
def test_what_fails_without_the_limit_as_well_keeps_its_outcome(tmp_path: Path, fault: str, outcome: str) -> None:
    artefact = artefact_of(tmp_path, fault, after=5)
    with pytest.raises(MeasurementError) as caught:
        memory_of(case_on(SMALL), artefact, tmp_path)
    assert caught.value.outcome == outcome
    assert "needs more" not in str(caught.value)


def test_hardware_without_limits_is_tried_once() -> None:
    tried = []

    def fail(case: Case) -> None:
        tried.append(case.hardware)
        raise MeasurementError("no", outcome="crashed")

    assert unlimited(case_on(cpu)) is None
    for hardware in (cpu, SMALL):
        with pytest.raises(MeasurementError, match=r"^no$"):
            or_without(case_on(hardware), fail)
    assert tried == [cpu, SMALL, cpu]


def test_what_ran_and_gave_something_wrong_is_not_for_the_limit() -> None:
    tried = []

    def give_nonsense(case: Case) -> None:
        tried.append(case.hardware)
        raise MeasurementError("outputs differ", outcome="invalid")

    with pytest.raises(MeasurementError, match="outputs differ"):
        or_without(case_on(SMALL), give_nonsense)
    assert tried == [SMALL]


@dataclass(frozen=True)
class CountedCpu(Cpu):
    """A CPU whose counter of energy goes up by 20 W, as if it were there."""

    def energy_meter(self) -> Watts:
        return Watts()


class Watts:
    source = "a clock"

    def read(self) -> tuple[int, ...]:
        import time

        return (time.monotonic_ns(),)

    def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        return (after[0] - before[0]) / 1e9 * 20


def test_energy_is_all_that_was_counted_over_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.measure.passes.IDLE_SECONDS", 0.05)
    monkeypatch.setattr("harness.measure.passes.ENERGY_SECONDS", 0.2)
    found = measure_energy(case_on(CountedCpu()), artefact_of(tmp_path, "slow", after=0), PLAN, tmp_path)
    assert found.seconds >= 0.2
    assert found.watts == pytest.approx(20, rel=0.01)
    assert found.idle_watts == pytest.approx(20, rel=0.05)
    assert found.joules * found.calls == pytest.approx(20 * found.seconds, rel=0.01)
    assert found.joules >= 20 * 0.002  # a call sleeps two milliseconds
    assert energy_facts(found)["energy"].startswith(f"a clock: {found.calls} calls in ")
    assert energy_facts("no counter (buy one)") == {"energy": "not measured: no counter (buy one)"}
