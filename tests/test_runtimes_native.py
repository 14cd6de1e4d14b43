"""A model as it comes: what its `load` may give."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import SuiteError
from harness.model import Model
from harness.runtimes.native import load_network
from harness.testing import tiny_onnx_model


@pytest.mark.parametrize(
    ("form", "given", "words"),
    [
        ("torch", {"weight": 1}, "gave a dict; form 'torch' wants a torch.nn.Module"),
        ("torch", None, "gave a NoneType; form 'torch' wants a torch.nn.Module"),
        # As torch.export.load gives a program, which has weights and no `eval`.
        (
            "torch",
            SimpleNamespace(buffers=list, parameters=list),
            "gave a SimpleNamespace; form 'torch' wants a torch.nn.Module",
        ),
        ("onnx", b"graph", "gave a bytes; form 'onnx' wants the path of an .onnx file"),
        ("litert", b"graph", "gave a bytes; form 'litert' wants the path of a .tflite file"),
    ],
)
def test_what_load_gives_fits_the_form(form: str, given: Any, words: str) -> None:
    model = dataclasses.replace(tiny_onnx_model(Path("unused")), name="wrong", form=form, load=lambda: given)
    with pytest.raises(SuiteError) as error:
        load_network(model)
    assert str(error.value) == f"Model.load of wrong {words}"


def test_a_torch_network_that_is_not_on_the_cpu_is_refused_with_the_cure() -> None:
    """Of one that load left on a GPU the reference was green, and exports failed with torch's words alone."""
    torch = pytest.importorskip("torch")
    words = r"Model\.load of tiny_onnx gave a network on meta, .*: let load give it there \(map_location='cpu'\)"
    buffers_alone = torch.nn.BatchNorm1d(2, affine=False, device="meta")
    for network in (torch.nn.Linear(2, 2, device="meta"), buffers_alone):
        model = tiny_onnx_model(Path("unused"))
        model = dataclasses.replace(model, form="torch", load=lambda network=network: network)
        with pytest.raises(SuiteError, match=words):
            load_network(model)


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"graph")
    for path in (tmp_path / "a.tflite", str(tmp_path / "a.tflite")):
        model = dataclasses.replace(tiny_onnx_model(Path("unused")), form="litert", load=lambda path=path: path)
        assert load_network(model) == b"graph"


def with_weights_in(folder: Path, location: str) -> tuple[Model, bytes]:
    """The tiny ONNX model with its first weights in another file, and what that must hold."""
    onnx = pytest.importorskip("onnx")
    model = tiny_onnx_model(folder)
    network = onnx.load(str(model.load()))
    tensor = network.graph.initializer[0]
    weights: bytes = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    path = folder / "crafted.onnx"
    path.write_bytes(network.SerializeToString())
    return dataclasses.replace(model, load=lambda: path), weights


@pytest.mark.parametrize("way", ["above", "absolute", "link", "folder that is a link", "nowhere"])
def test_an_onnx_file_reads_weights_in_its_own_folder_alone(tmp_path: Path, way: str) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    secret = outside / "secret"
    (folder / "link").symlink_to(secret)
    (folder / "linked").symlink_to(outside, target_is_directory=True)
    locations = {
        "above": "../outside/secret",
        "absolute": str(secret),
        "link": "link",
        "folder that is a link": "linked/secret",
        "nowhere": "none",
    }
    model, weights = with_weights_in(folder, locations[way])
    secret.write_bytes(weights)
    with pytest.raises(SuiteError) as error:
        load_network(model)
    assert f"Model.load of tiny_onnx gave {folder / 'crafted.onnx'}, and onnx refuses" in str(error.value)
    assert "keep them beside it as plain files, and copy there what a link leads to" in str(error.value)


def test_an_onnx_file_may_have_weights_beside_it_that_are_there_in_full(tmp_path: Path) -> None:
    model, weights = with_weights_in(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(weights)
    assert load_network(model).graph.initializer[0].raw_data == weights
    onnx, path = pytest.importorskip("onnx"), model.load()
    network = onnx.load(str(path), load_external_data=False)
    entry = network.graph.initializer[0].external_data.add()
    entry.key, entry.value = "length", str(2**50)
    path.write_bytes(network.SerializeToString())
    with pytest.raises(SuiteError, match="exceeds available data"):
        load_network(model)
