"""`harness sensitivity`: the table of what each layer costs."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from harness.cli import importing
from harness.cli.main import main
from harness.cli.sensitivity import _record
from harness.codec import dumps
from harness.sensitivity import LayerCost, Sensitivity
from harness.techniques.quantize_onnx import Layer

SUITE = """
from pathlib import Path

from harness import grid
from harness.hardware import cpu
from harness.techniques import int8_static, reference
from harness.testing import tiny_onnx_model

@grid(
    model=[tiny_onnx_model(Path(__file__).parent)],
    technique=[reference, int8_static("entropy", ops="MatMul"), int8_static(transformer=False)],
    hardware=[cpu],
)
def test_costs(case, bench):
    bench(case)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    path = tmp_path / f"test_{tmp_path.name}.py"
    path.write_text(SUITE, encoding="utf-8")
    return path


def test_the_table(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensitivity", str(suite)]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "int8_static on tiny_onnx, one layer at a time; the most costly first"
    assert {"features", "classes"} <= {line.split()[0] for line in lines[4:]}
    assert "pt" in lines[4]
    assert "layer 1 of " in printed.err


def test_json_with_a_step_of_the_suite(
    suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_paths", lambda root, file, given: ())
    words = ["--technique", "int8_static:entropy:ops-MatMul", "--model", "tiny_onnx", "--evaluate", "1", "--json"]
    assert main(["sensitivity", str(suite), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["technique"] == "int8_static:entropy:ops-MatMul"
    assert [(layer["operator"], layer["drop"] is None) for layer in found["layers"]] == [
        ("MatMul", False),
        ("MatMul", True),
    ]
    assert found["layers"][0]["sqnr"] <= found["layers"][1]["sqnr"]


def test_what_is_no_number_is_null_in_json() -> None:
    """No record holds it, and the command ended when all layers had been measured."""
    cost = LayerCost(Layer("features", "MatMul", ("features",), 8), -math.inf, math.nan)
    measured = Sensitivity("tiny_onnx", "int8_static", math.nan, -math.inf, math.nan, (cost,))
    found = json.loads(dumps(_record(measured)))
    assert (found["accuracy"], found["sqnr"], found["drop"]) == (None, None, None)
    assert (found["layers"][0]["sqnr"], found["layers"][0]["drop"]) == (None, None)


def test_pytests_import_paths(suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (suite.parent / "src").mkdir()
    shape = f"shape_{suite.stem}"
    (suite.parent / "src" / f"{shape}.py").write_text("name = 'resnet'\n", encoding="utf-8")
    suite.write_text(f"import {shape}\n{SUITE}", encoding="utf-8")
    for _ in range(2):  # what could not be imported is not half there afterwards
        assert main(["sensitivity", str(suite), "--model", "resnet"]) == 2
        said = capsys.readouterr().err
        assert f"{suite.name} can't be imported: ModuleNotFoundError: No module named" in said
        assert "name the folder that it needs in pytest's option `pythonpath`" in said
    (suite.parent / "pytest.ini").write_text("[pytest]\npythonpath = src\n", encoding="utf-8")
    assert main(["sensitivity", str(suite), "--model", "resnet"]) == 2
    assert "has no model 'resnet'; there are tiny_onnx" in capsys.readouterr().err


def test_a_project_without_settings_is_where_the_user_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(importing, "_paths", lambda root, file, given: ())
    monkeypatch.chdir(tmp_path)
    package = f"suites_{tmp_path.name}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "models.py").write_text("name = 'blobs'\n", encoding="utf-8")
    suite = tmp_path / package / "test_blobs.py"
    suite.write_text(f"from {package}.models import nothing\n", encoding="utf-8")
    assert main(["sensitivity", f"{package}/test_blobs.py"]) == 2
    told = f"harness: {package}/test_blobs.py can't be imported: ImportError: cannot import name 'nothing'"
    assert capsys.readouterr().err.startswith(told)
    suite.write_text(f"from {package}.models import name\n", encoding="utf-8")
    assert main(["sensitivity", f"{package}/test_blobs.py"]) == 2
    assert "no function with a grid" in capsys.readouterr().err


def test_errors_name_the_file_as_the_user_gave_it(
    suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_paths", lambda root, file, given: ())
    inner = suite.parent / "inner"
    inner.mkdir()
    (inner / suite.name).write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.chdir(inner)
    assert main(["sensitivity", suite.name]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"harness: {suite.name} can't be imported: ZeroDivisionError")
    assert said.endswith(f"to see where: pytest --collect-only {suite.name}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "resnet"], "has no model 'resnet'; there are tiny_onnx"),
        (["--technique", "bf16"], "bf16 is no technique whose sensitivity can be measured"),
        (
            ["--technique", "int8_static:transformer-False"],
            "quantized as ONNX here, which has no transformer; leave it out",
        ),
    ],
)
def test_what_is_not_there(
    suite: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_paths", lambda root, file, given: ())
    assert main(["sensitivity", str(suite), *words]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_paths", lambda root, file, given: ())
    assert main(["sensitivity", str(tmp_path / "test_none.py")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    empty = tmp_path / f"test_empty_{tmp_path.name}.py"
    empty.write_text("", encoding="utf-8")
    assert main(["sensitivity", str(empty)]) == 2
    assert "no function with a grid" in capsys.readouterr().err
    skipping = tmp_path / f"test_skipping_{tmp_path.name}.py"
    skipping.write_text("import pytest\n\npytest.importorskip('no_such_thing')\n", encoding="utf-8")
    assert main(["sensitivity", str(skipping)]) == 2
    assert f"{skipping.name} skips itself as a whole: could not import 'no_such_thing'" in capsys.readouterr().err
