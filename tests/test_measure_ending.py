"""What a case whose time was over is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import MeasurementError
from harness.grid import Address, Case
from harness.hardware import cpu
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.passes import evaluate, measure_memory
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.records import Outcome
from harness.techniques import reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model

PLAN = Plan()


class Silent:
    """A child that ends without an answer."""

    outcome = Outcome.TIMEOUT

    def __init__(self, name: str, log: Path, env: Mapping[str, str], tree: Tree) -> None:
        self._name = name

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, request: object) -> None:
        pass

    def tail(self) -> str:
        return "its last words"

    def reply(self, kind: type, deadline: float) -> object:
        raise MeasurementError(f"{self._name}: no answer within {deadline:g} s", outcome=self.outcome)


class Killed(Silent):
    outcome = Outcome.KILLED


def begin(what: str, folder: Path, child: type[Silent]) -> None:
    """Begin what such a child is started for."""
    case = Case(tiny_onnx_model(folder), as_pipeline(reference), cpu)
    address = Address(str(folder), "test_it.py", "test_it", case.id)
    artefact = Artefact(Tree(folder), folder, cast(Any, None), fresh=False)
    start, log = cast(Any, child), folder / "it.log"
    if what == "preparing":
        ArtefactCache(Tree(folder), folder / "artefacts", {}, PLAN, cold=True).get(case, address, folder, start)
    elif what == "evaluating":
        evaluate(case, address, artefact, PLAN, log, start)
    else:
        measure_memory(case, artefact, PLAN, log, start)


@pytest.mark.parametrize(
    ("what", "cure"),
    [
        ("preparing", "no answer within 900 s; if it needs longer: --plan prepare_deadline=3600"),
        ("evaluating", "no answer within 900 s; if it needs longer: --plan prepare_deadline=3600"),
        ("memory of", "no answer within 120 s; if it needs longer: --plan deadline=480"),
    ],
)
def test_a_child_whose_time_was_over_can_have_more(tmp_path: Path, what: str, cure: str) -> None:
    with pytest.raises(MeasurementError) as caught:
        begin(what, tmp_path, Silent)
    assert str(caught.value) == f"{what} tiny_onnx/reference/cpu: {cure}"
    assert caught.value.outcome == "timeout"
    with pytest.raises(MeasurementError) as caught:
        begin(what, tmp_path, Killed)
    assert "--plan" not in str(caught.value)
