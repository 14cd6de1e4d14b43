"""What `@grid` makes of its axes."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import Deployment, SuiteError, grid, plugin, technique
from harness.cli import importing
from harness.grid import Address, Case, find_case, grid_of
from harness.hardware import Cpu, cpu
from harness.measure.availability import Availability
from harness.techniques import Pipeline, Technique, batched, onnxruntime, reference
from harness.techniques.base import as_pipeline
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


def test_cases_that_share_an_id_are_refused_with_a_cure_that_helps() -> None:
    """Another name was asked for where one technique had two parameters, and has one name."""

    @technique
    def sized(deployment: Deployment, least: int = 1, most: float = 8.0) -> Deployment:
        return deployment

    with pytest.raises(SuiteError, match=r"tiny/sized:4/cpu; give .*, or make the parameter that differs keyword-only"):
        grid(**{**AXES, "technique": [sized(least=4), sized(most=4)]})
    with pytest.raises(SuiteError, match=r"tiny/batched:1/cpu; give one of them another name$"):
        grid(**{**AXES, "model": [tiny_torch_model(), tiny_torch_model()]})


def test_a_technique_of_ones_own_can_not_be_called_as_the_reference_is() -> None:
    """Its case was taken for the model as it is, or the model as it is was measured under its name."""

    def function(deployment: Deployment) -> Deployment:
        return deployment

    function.__name__ = reference.name
    own = technique(function)
    for value in (own, batched(2) | own):
        with pytest.raises(SuiteError, match=r"called reference, .* give it another name"):
            grid(**{**AXES, "technique": [batched(1), value]})
    grid(**{**AXES, "technique": [reference, reference | batched(2)]})


def test_a_function_under_two_grids_is_refused_where_it_is_judged_and_served_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inner grid vanished without a word; then the tree before the pull request that mends it was refused too."""

    @grid(**{**AXES, "technique": [batched(8)]})
    @grid(**AXES)
    def test_it(case, bench): ...

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "test_two", SimpleNamespace(test_it=test_it))
    case, _ = find_case(Address(str(tmp_path), "test_two.py", "test_it", "tiny/batched:8/cpu"))
    assert case.id == "tiny/batched:8/cpu"

    said = r"^test_two\.py.*: test_it stands under two grids, and only one would be measured; give each a function of"
    asked = SimpleNamespace(function=test_it, definition=SimpleNamespace(nodeid="test_two.py::test_it"))
    with pytest.raises(pytest.UsageError, match=said):
        plugin.pytest_generate_tests(cast(Any, asked))
    monkeypatch.setattr(importing, "_paths", lambda *_: ())
    with pytest.raises(SuiteError, match=said):
        importing.import_suite(tmp_path, "test_two.py")


def test_a_case_that_is_put_together_has_the_techniques_of_its_own_grids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`harness optimize` measured another grid's technique of the same id, and recommended this one by it."""

    models = {name: tiny_torch_model(name) for name in ("a", "b")}

    def fused() -> Technique:
        def function(deployment: Deployment) -> Deployment:
            return deployment

        function.__name__ = "fused"
        return technique(function)

    def tried(name: str, *techniques: Technique | Pipeline) -> Any:
        @grid(model=[models[name]], technique=techniques, hardware=[cpu])
        def test_it(case, bench): ...

        return test_it

    vision, text = fused(), fused()
    module = SimpleNamespace(test_a=tried("a", vision, batched(2)), test_b=tried("b", text))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "test_two", module)

    def steps(case_id: str) -> tuple[Technique, ...]:
        return find_case(Address(str(tmp_path), "test_two.py", "", case_id))[0].technique.steps

    assert steps("a/fused/cpu") == (vision,)
    assert steps("a/fused/cpu")[0].function is vision.function
    assert steps("b/reference+fused/cpu") == (reference, text)
    with pytest.raises(SuiteError, match=r"test_two\.py: no grid of b on cpu has batched:2$"):
        steps("b/batched:2/cpu")
    module.test_c = tried("b", text | onnxruntime, onnxruntime("all") | batched(2))
    assert steps("b/batched:2+onnxruntime/cpu") == (batched(2), onnxruntime), "a default that is written out is one"
    module.test_d = tried("b", vision | batched(2))
    with pytest.raises(SuiteError, match="differ and share the id fused; give one of them another name"):
        steps("b/fused/cpu")


def test_what_cases_need_alike_is_looked_up_once_a_second_and_seen_when_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of ten thousand cases read the kernel's files before anything was measured, and again when it came."""
    said: list[str | None] = [None]
    asked: list[str] = []

    def available(self: Cpu) -> str | None:
        asked.append(self.name)
        return said[0]

    monkeypatch.setattr(Cpu, "available", available)
    model, two, four = tiny_torch_model(), as_pipeline(batched(2)), as_pipeline(batched(4))
    cases = [Case(dataclasses.replace(model, name=f"m{number}"), two, cpu) for number in range(100)]
    lacks = Availability().lacks
    assert {lacks(case, 50 + number / 128) for number, case in enumerate(cases)} == {None}
    assert asked == ["cpu"]
    others = (
        Case(model, four, cpu),
        Case(model, two, cpu(threads=2)),
        Case(dataclasses.replace(model, form="onnx"), two, cpu),
    )
    assert [lacks(case, 50.5) for case in others] == [None] * 3
    assert asked == ["cpu", "cpu", "cpu.2threads", "cpu"], "what one lacks, another one need not"
    said[0] = "it is gone"
    assert [lacks(cases[0], now) for now in (50.9, 51.0)] == [None, "it is gone"]
