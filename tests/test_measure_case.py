"""A case and its reference are called with the same inputs, what holds where they are evaluated on other data or where
one of them is too large, and the warning of what was not compiled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from harness.errors import MeasurementError, UnavailableError
from harness.grid import Address, Case
from harness.hardware import Cpu, cpu, edge
from harness.measure import case as measuring
from harness.measure.artefacts import Artefact
from harness.measure.case import Measurer
from harness.measure.passes import OF_OTHER_DATA, EvaluationPass
from harness.measure.sampling import Sampled
from harness.measure.tree import Tree
from harness.model import digest_arrays
from harness.plan import Plan
from harness.records import Outcome, Result
from harness.techniques import batched
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model
from harness.worker.artefact import load_batches, read_manifest, save_batches
from harness.worker.protocol import Evaluated, MemoryMeasured
from tests.artefacts import make_artefact

Batch = dict[str, Any]


def an_artefact(folder: Path, batch: str, change: Callable[[Batch], Batch] = dict) -> Artefact:
    """One whose inputs were changed, as those that another process gives may be."""
    path = make_artefact(folder) / "inputs.npz"
    batches = [change(one) for one in load_batches(path)]
    save_batches(path, batches)
    inputs = {f"{i}/{name}": array for i, one in enumerate(batches) for name, array in one.items()}
    workload = {"batch": batch, "inputs": digest_arrays(inputs)}
    return Artefact(Tree(folder), folder, dataclasses.replace(read_manifest(folder), workload=workload), fresh=False)


def evaluated(data: str, answers: int = 4) -> EvaluationPass:
    reply = Evaluated(0.9, "accuracy", data)
    return EvaluationPass(reply, np.ones(answers), np.arange(answers), {"0": np.arange(4.0)}, (4,))


@dataclass
class Made:
    """Artefacts and passes that are there, in the place of those that children make."""

    artefact: Artefact
    of_reference: Artefact
    data: str
    data_again: str = ""
    asked: int = 0
    answers: int = 4

    def get(self, case: Case, *_: object) -> Artefact:
        return self.of_reference if case.id == case.reference.id else self.artefact

    def check_going_on(self, _: str) -> None:
        pass

    def check_unedited(self, _: str) -> None:
        pass

    def make_ahead(self, *_: object) -> int:
        return 0

    def memory(self, *_: object) -> MemoryMeasured:
        return MemoryMeasured({}, "none")

    def reference(self, *_: object) -> EvaluationPass:
        return evaluated("data")

    def evaluation(self, *_: object) -> tuple[EvaluationPass, None]:
        self.asked += 1
        data = self.data_again if self.asked > 1 and self.data_again else self.data
        return evaluated(data, self.answers), None


def in_trees(folder: Path, made: Made, hardware: Cpu = cpu, **changes: object) -> tuple[Result, Result | None]:
    """The result without its times, and the other tree's."""
    stub = cast(Any, made)
    measurer = Measurer(stub, stub, Plan(), folder / "logs", lambda *_: 0, lambda _: None, timed=lambda _: False)
    case = Case(tiny_onnx_model(folder), as_pipeline(batched(4)), hardware)
    address = Address(str(folder), "test_it.py", "test_it", case.id)
    changed = dataclasses.replace(measurer, **cast(Any, changes))
    return changed.measure(case, address, "it", "test_it.py::test_it", {})


def measured(folder: Path, made: Made) -> Result:
    return in_trees(folder, made)[0]


@pytest.fixture(autouse=True)
def _no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_energy(*_: object) -> None:
        raise UnavailableError("nothing counts it")

    monkeypatch.setattr(measuring, "measure_energy", measure_energy)


def test_a_case_that_was_evaluated_on_other_data_than_its_reference_has_no_fidelity(tmp_path: Path) -> None:
    """An evaluation that asks about what was answered before has others with each technique that answers otherwise."""
    one, other = an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1")
    same = measured(tmp_path, made := Made(one, other, "data"))
    assert made.asked == 1
    assert same.measurement("fidelity.error")
    assert (same.outcome, same.warnings) == (Outcome.COMPLETED, ())
    assert "fidelity" not in same.facts
    found = measured(tmp_path, Made(one, other, "others"))
    assert found.outcome is Outcome.COMPLETED
    assert found.measurement("accuracy")
    assert not [each.metric for each in found.measurements if each.metric.startswith("fidelity.")]
    assert found.facts["fidelity"] == OF_OTHER_DATA
    (warning,) = found.warnings
    assert warning.startswith("its evaluation has other data than its reference's (Evaluation.workload)")


@pytest.mark.parametrize(("breaks", "warned"), [(0, 0), (3, 1)])
def test_what_torch_compile_left_to_run_eagerly_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: int, warned: int
) -> None:
    """One small graph keeps the promises of `compiled`, whatever the bulk of the network does."""
    monkeypatch.setattr(measuring, "sample", lambda *_, **__: Sampled((), cut_short=False))
    monkeypatch.setattr(measuring, "measurements_of", lambda *_: ())
    one, other = an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1")
    facts = {**one.manifest.facts, "graphs": 1, "graph_breaks": breaks}
    made = Made(dataclasses.replace(one, manifest=dataclasses.replace(one.manifest, facts=facts)), other, "data")
    absent = SimpleNamespace(tree=Tree(tmp_path / "checkout" / "ml", revision="a" * 40, checkout=tmp_path / "checkout"))
    changes: tuple[dict[str, Any], ...] = ({}, {"timed": lambda _: True}, {"other": absent})
    for change in changes:
        found, _ = in_trees(tmp_path, made, **change)
        assert (found.outcome, found.reason) == (Outcome.COMPLETED, "")
        assert sum("torch.compile gave up in 3 places" in one for one in found.warnings) == warned


def test_a_case_that_gave_another_number_of_answers_than_its_reference_is_invalid(tmp_path: Path) -> None:
    one, other = an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1")
    found = measured(tmp_path, Made(one, other, "data", answers=3))
    assert found.outcome is Outcome.INVALID
    assert found.reason.startswith("tiny_onnx/batched:4/cpu: its evaluation has 3 answers, and 4 of its reference")
    assert measured(tmp_path, Made(one, other, "others", answers=3)).outcome is Outcome.COMPLETED


def test_an_evaluation_that_has_other_data_in_every_process_is_invalid(tmp_path: Path) -> None:
    """Its accuracy was incomparable with every baseline, and green for ever, also where its reference's is the same."""
    one, other = an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1")
    found = measured(tmp_path, Made(one, other, "others", "yet others"))
    assert found.outcome is Outcome.INVALID
    assert "Model.evaluate has other data in every process" in found.reason


@pytest.mark.parametrize(
    ("answered", "outcome"),
    [(("a", "b", "b"), Outcome.COMPLETED), (("a", "b", "c"), Outcome.INVALID), (("a", "a"), Outcome.COMPLETED)],
    ids=["changed in the tree", "others in every process", "the same"],
)
def test_an_evaluation_that_has_other_data_in_every_process_is_invalid_in_turns_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: tuple[str, ...], outcome: Outcome
) -> None:
    """Its accuracy was incomparable with each other tree's, as if its data had been changed there."""
    given = iter(answered)

    class Drawing(Made):
        def evaluation(self, *_: object) -> tuple[EvaluationPass, None]:
            return evaluated(next(given)), None

    monkeypatch.setattr(measuring, "sample", lambda *_, **__: Sampled((), cut_short=False))
    monkeypatch.setattr(measuring, "measurements_of", lambda *_: ())
    made = Drawing(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "")
    there = SimpleNamespace(tree=Tree(tmp_path), get=made.get)
    found, previous = in_trees(tmp_path, made, other=there)
    assert previous is not None
    assert (found.outcome, previous.outcome) == (outcome, Outcome.COMPLETED)
    assert ("Model.evaluate has other data in every process" in found.reason) is (outcome is Outcome.INVALID)
    assert next(given, "") == "", "it is evaluated once more where the data differ, and not else"


@pytest.mark.parametrize(
    ("batch", "change", "outcome"),
    [
        ("4", dict, Outcome.COMPLETED),
        ("4", lambda one: {"x": one["x"] * np.float32(1 + 1e-5)}, Outcome.COMPLETED),
        ("1", lambda one: {"x": one["x"][:1]}, Outcome.COMPLETED),
        ("4", lambda one: {"x": one["x"][::-1]}, Outcome.INVALID),
        ("4", lambda one: {"y": one["x"]}, Outcome.INVALID),
        ("4", lambda one: {"x": one["x"].astype(np.int64)}, Outcome.INVALID),
    ],
    ids=["the same", "rounded otherwise", "another batch", "another order", "another name", "another type"],
)
def test_a_case_that_is_called_with_other_inputs_than_its_reference_is_invalid(
    tmp_path: Path, batch: str, change: Callable[[Batch], Batch], outcome: Outcome
) -> None:
    """A set of texts has another order in each process: then no run's times were compared with any other's."""
    made = Made(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", batch, change), "data")
    found = measured(tmp_path, made)
    assert found.outcome is outcome
    assert ("Model.inputs gave it other values than its reference" in found.reason) is (outcome is Outcome.INVALID)


def test_a_commit_without_the_projects_folder_lacks_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No child can be started there, and that failed every case of a pull request that added the project."""

    def sample(*_: object, **__: object) -> None:
        raise UnavailableError("not in this test")

    monkeypatch.setattr(measuring, "sample", sample)
    made = Made(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "data")
    there = SimpleNamespace(tree=Tree(tmp_path / "checkout" / "ml", revision="a" * 40, checkout=tmp_path / "checkout"))
    _, previous = in_trees(tmp_path, made, other=there)
    assert previous is not None
    assert (previous.outcome, previous.reason) == (Outcome.ABSENT, "that commit has no folder ml")


def test_the_other_trees_result_says_which_units_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers were taken to be in the units of the working tree."""

    class Apart(Made):
        def evaluation(self, *_: object) -> tuple[EvaluationPass, None]:
            found, _ = super().evaluation()
            units = {"value": "share" if self.asked == 1 else "%", "lag": "ms"}
            return dataclasses.replace(found, reply=dataclasses.replace(found.reply, units=units)), None

    monkeypatch.setattr(measuring, "sample", lambda *_, **__: Sampled((), cut_short=False))
    monkeypatch.setattr(measuring, "measurements_of", lambda *_: ())
    made = Apart(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "data")
    there = SimpleNamespace(tree=Tree(tmp_path), get=made.get)
    found, previous = in_trees(tmp_path, made, other=there)
    assert previous is not None
    assert (found.outcome, previous.outcome) == (Outcome.COMPLETED, Outcome.COMPLETED)
    assert previous.facts == {**found.facts, "unit.value": "share"}, "and none in the facts that a report shows"


def test_what_ends_the_run_is_no_failure_of_a_case(tmp_path: Path) -> None:
    """A project's signal handler that calls pytest.exit failed the case in whose time it came, and the run went on."""

    class Ending(Made):
        def check_going_on(self, _: str) -> None:
            pytest.exit("enough")

    with pytest.raises(pytest.exit.Exception, match="enough"):
        measured(tmp_path, Ending(cast(Any, None), cast(Any, None), "data"))


@pytest.mark.parametrize("timed_in", ["its own", "turns"])
def test_a_case_whose_calls_took_too_long_to_be_timed_can_have_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed_in: str
) -> None:
    """As one whose memory took too long is told."""

    def sample(*_: object, **__: object) -> None:
        raise MeasurementError("candidate arm: no answer within 120 s", outcome=Outcome.TIMEOUT)

    monkeypatch.setattr(measuring, "sample", sample)
    made = Made(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "data")
    absent = SimpleNamespace(tree=Tree(tmp_path / "checkout" / "ml", revision="a" * 40, checkout=tmp_path / "checkout"))
    changes: dict[str, Any] = {"timed": lambda _: True} if timed_in == "its own" else {"other": absent}
    found, _ = in_trees(tmp_path, made, **changes)
    assert found.outcome is Outcome.TIMEOUT
    assert found.reason == "candidate arm: no answer within 120 s; if it needs longer: --plan deadline=480"


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], list[tuple[str, ...]]]:
    """The arms that are too large to be timed on edge, as a test sets them; and each sampling: where, and its arms."""
    large, asked = set[str](), list[tuple[str, ...]]()

    def sample(arms: Mapping[str, object], *, hardware: Cpu, **_: object) -> Sampled:
        asked.append((hardware.name, *sorted(arms)))
        if hardware == edge and (unfit := large & arms.keys()):
            raise MeasurementError(f"{max(unfit)} arm: the process was killed", outcome=Outcome.KILLED)
        return Sampled((), cut_short=False)

    monkeypatch.setattr(measuring, "sample", sample)
    monkeypatch.setattr(measuring, "measurements_of", lambda *_: ())
    return large, asked


def test_a_reference_that_is_too_large_to_be_timed_leaves_a_case_that_is_not(
    tmp_path: Path, sampled: tuple[set[str], list[tuple[str, ...]]]
) -> None:
    """The case was called too large, where its memory pass had told that it fits."""
    large, asked = sampled
    large.add("reference")
    made = Made(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "data")
    changes: dict[str, Any] = {"timed": lambda _: True, "_oversized": {}}
    both = ("anchor", "candidate", "reference")
    for expected in ([("edge", *both), ("cpu", *both), ("edge", *both[:2])], [("edge", *both[:2])]):
        asked.clear()
        found, _ = in_trees(tmp_path, made, edge, **changes)
        assert (found.outcome, found.reason) == (Outcome.COMPLETED, "")
        said = "no speedup, since its reference can't run here: tiny_onnx/reference/edge: needs more than edge allows: "
        assert sum(said in one and "reference arm: the process was killed" in one for one in found.warnings) == 1
        assert asked == expected, "it is known from then on"


def test_a_case_of_another_tree_that_is_too_large_to_be_timed_is_what_does_not_fit(
    tmp_path: Path, sampled: tuple[set[str], list[tuple[str, ...]]]
) -> None:
    """The working tree's was called too large."""
    large, asked = sampled
    large.add("previous")
    made = Made(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "data")
    other = SimpleNamespace(tree=SimpleNamespace(root=tmp_path, check_folder=lambda: None), get=made.get)
    found, previous = in_trees(tmp_path, made, edge, other=other)
    assert (found.outcome, found.reason) == (Outcome.COMPLETED, "")
    assert previous is not None
    assert previous.outcome is Outcome.OOM
    assert "it ended with: previous arm: the process was killed" in previous.reason
    assert asked == [("edge", "candidate", "previous"), ("cpu", "candidate", "previous"), ("edge", "candidate")]


def test_a_case_that_is_too_large_to_be_timed_alone_is_so(
    tmp_path: Path, sampled: tuple[set[str], list[tuple[str, ...]]]
) -> None:
    """That its reference is no longer there makes it fit no better."""
    large, asked = sampled
    large |= {"candidate", "reference"}
    made = Made(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "data")
    found, _ = in_trees(tmp_path, made, edge, timed=lambda _: True)
    assert found.outcome is Outcome.OOM
    assert found.reason.startswith("tiny_onnx/batched:4/edge: needs more than edge allows: it fits until it is timed. ")
    assert len(asked) == 3


@pytest.mark.parametrize("timed_in", ["its own", "turns"])
def test_a_failure_of_the_candidate_is_not_blamed_on_the_arm_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed_in: str
) -> None:
    """One that ran when it was tried alone was green, and the other tree's case was called too large."""
    asked = list[str]()

    def sample(_: object, *, hardware: Cpu, **__: object) -> Sampled:
        asked.append(hardware.name)
        if asked == ["edge"]:
            raise MeasurementError("candidate arm: the process was killed", outcome=Outcome.KILLED)
        return Sampled((), cut_short=False)

    monkeypatch.setattr(measuring, "sample", sample)
    monkeypatch.setattr(measuring, "measurements_of", lambda *_: ())
    made = Made(an_artefact(tmp_path / "one", "4"), an_artefact(tmp_path / "other", "1"), "data")
    other = SimpleNamespace(tree=SimpleNamespace(root=tmp_path, check_folder=lambda: None), get=made.get)
    changes: dict[str, Any] = {"timed": lambda _: True} if timed_in == "its own" else {"other": other}
    found, previous = in_trees(tmp_path, made, edge, **changes)
    assert found.outcome is Outcome.OOM
    assert "it ended with: candidate arm: the process was killed" in found.reason
    assert asked == ["edge", "cpu"]
    assert previous is None or previous.outcome is Outcome.COMPLETED
