"""A model as it comes: what its `load` may give."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness import SuiteError
from harness.runtimes.native import load_network
from harness.testing import tiny_onnx_model


@pytest.mark.parametrize(
    ("form", "given", "words"),
    [
        ("torch", {"weight": 1}, "gave a dict; form 'torch' wants a torch.nn.Module"),
        ("torch", None, "gave a NoneType; form 'torch' wants a torch.nn.Module"),
        ("onnx", b"graph", "gave a bytes; form 'onnx' wants the path of an .onnx file"),
        ("litert", b"graph", "gave a bytes; form 'litert' wants the path of a .tflite file"),
    ],
)
def test_what_load_gives_fits_the_form(form: str, given: Any, words: str) -> None:
    model = dataclasses.replace(tiny_onnx_model(Path("unused")), name="wrong", form=form, load=lambda: given)
    with pytest.raises(SuiteError) as error:
        load_network(model)
    assert str(error.value) == f"Model.load of wrong {words}"


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"graph")
    for path in (tmp_path / "a.tflite", str(tmp_path / "a.tflite")):
        model = dataclasses.replace(tiny_onnx_model(Path("unused")), form="litert", load=lambda path=path: path)
        assert load_network(model) == b"graph"
