"""Export to ONNX: variable batch, the same values, and no trace of this machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from harness import PreparationError
from harness.runtimes.onnx_graph import network_weights
from harness.runtimes.torch_session import arrays_of, module_weights
from harness.techniques.export import TOLERANCE, _check, check_output, export, tolerance_of
from harness.techniques.torch_modules import AutocastNetwork, CastNetwork
from harness.testing import tiny_torch_model
from tests.onnx_networks import model, tensor
from tests.torch_networks import Buffered

TINY = tiny_torch_model()


def batches(*sizes: int) -> list[Any]:
    return [TINY.inputs(size, seed) for seed, size in enumerate(sizes)]


class Several(torch.nn.Module):
    """Takes any number of inputs and gives named outputs."""

    def forward(self, *inputs: Any) -> Any:
        return {"sum": inputs[0] + inputs[1], "product": inputs[0] * inputs[1]}


class Embedding(torch.nn.Module):
    """Names its inputs and outputs as the exporter names its weights and what operators give."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.head = torch.nn.Embedding(8, 4), torch.nn.Linear(4, 3)

    def forward(self, ids: Any, weight: Any) -> Any:
        mean = self.rows(ids).mean(1)
        return {"embedding": mean, "mean": mean.relu(), "rows.weight": self.head(mean * weight)}


class Constant(torch.nn.Module):
    """Looks at how many items it got, and so is traced for that number alone."""

    def forward(self, x: Any) -> Any:
        return x * len(list(x))


class Branching(torch.nn.Module):
    """Decides by a value of its input."""

    def forward(self, image: Any) -> Any:
        return image if image.sum() > 0 else -image


def test_the_exported_network_has_the_same_weights_and_any_batch() -> None:
    network = TINY.load()
    model = export(network, batches(2, 1, 5), batchable=True)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["output"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert sum(w.elements for w in network_weights(model)) == sum(w.elements for w in module_weights(network))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, dict(TINY.inputs(7, 9)))[0].shape == (7, 4)


def test_bfloat16_is_checked_in_float32_and_stays() -> None:
    network = CastNetwork(TINY.load(), torch.bfloat16).eval()
    model = export(network, batches(2, 1), batchable=True)
    assert {weight.dtype for weight in network_weights(model)} == {"bfloat16"}
    with pytest.raises(PreparationError, match=r"away from torch's; the limit is 0\.1"):
        _check(model, batches(2), [{"output": np.ones((2, 4), np.float32)}], TOLERANCE["bfloat16"], batchable=True)


def test_what_autocast_computes_in_is_how_far_an_export_may_be_off() -> None:
    """Its weights are float32, whose limit such products miss; and the products were run in bfloat16, on a CPU."""
    limits = {
        name: tolerance_of(AutocastNetwork(TINY.load(), getattr(torch, name))) for name in ("bfloat16", "float16")
    }
    assert limits == {name: TOLERANCE[name] for name in limits}
    casts = [("x", "narrow", "BFLOAT16"), ("w", "weight", "BFLOAT16"), ("product", "y", "FLOAT")]
    nodes = [onnx.helper.make_node("Cast", [a], [b], to=getattr(onnx.TensorProto, kind)) for a, b, kind in casts]
    nodes.insert(2, onnx.helper.make_node("MatMul", ["narrow", "weight"], ["product"]))
    network, ones = model(nodes, [tensor("w", np.eye(4))]), np.ones((2, 4), np.float32)
    _check(network, [{"x": ones}], [{"y": 1.05 * ones}], limits["bfloat16"], batchable=True)
    assert network.graph.node[0].attribute[0].i == onnx.TensorProto.BFLOAT16
    with pytest.raises(PreparationError, match=r"away from torch's; the limit is 0\.1"):
        _check(network, [{"x": ones}], [{"y": 1.5 * ones}], limits["bfloat16"], batchable=True)


def test_what_is_complex_stays_so_beside_weights_of_16_bits() -> None:
    """Rotary positions are kept so: their real part alone turns nothing."""
    network = torch.nn.Linear(4, 4)
    network.register_buffer("turns", torch.polar(torch.ones(4), torch.arange(4.0)))
    cast = CastNetwork(network, torch.bfloat16).network
    assert (cast.weight.dtype, cast.bias.dtype, cast.turns.dtype) == (torch.bfloat16, torch.bfloat16, torch.complex64)
    torch.testing.assert_close(cast.turns.imag, torch.arange(4.0).sin())


def test_nothing_of_this_machine_is_left_in_the_file() -> None:
    data = export(TINY.load(), batches(2), batchable=True).SerializeToString()
    assert str(Path(torch.__file__).parent).encode() not in data
    assert str(Path(__file__).parent).encode() not in data
    assert data == export(TINY.load(), batches(2), batchable=True).SerializeToString()


def test_a_batch_may_be_fixed() -> None:
    model = export(TINY.load(), batches(1), batchable=False)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_several_inputs_and_named_outputs_keep_their_names() -> None:
    inputs = [{"a": np.full((n, 3), n, np.float32), "b": np.ones((n, 3), np.float32)} for n in (2, 1)]
    model = export(Several(), inputs, batchable=True)
    assert [value.name for value in model.graph.input] == ["a", "b"]
    assert [value.name for value in model.graph.output] == ["sum", "product"]


def test_inputs_and_outputs_keep_names_that_weights_and_nodes_have_too() -> None:
    inputs = [{"ids": np.ones((n, 5), np.int64), "head.weight": np.ones((n, 1), np.float32)} for n in (2, 1)]
    model = export(Embedding(), inputs, batchable=True)
    assert [value.name for value in model.graph.input] == ["ids", "head.weight"]
    assert [value.name for value in model.graph.output] == ["embedding", "mean", "rows.weight"]
    assert sum(weight.elements for weight in network_weights(model)) == 8 * 4 + 3 * 4


def test_an_output_with_the_name_of_an_input_is_refused_with_the_cure() -> None:
    inputs = [{"sum": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)}]
    with pytest.raises(
        PreparationError, match=r"sum: the same name for an input and an output, .* the Model its input"
    ):
        export(Several(), inputs, batchable=True)


class Spectrum(torch.nn.Module):
    """Gives complex numbers."""

    def forward(self, x: Any) -> Any:
        return {"mean": x.mean(1), "spectrum": torch.fft.rfft(x)}


def test_a_complex_output_is_refused_with_the_cure() -> None:
    """The exporter gives its parts an axis of their own, and a selection of boxes (NMS) was blamed for the shape."""
    inputs = [{"x": np.ones((2, 4), np.float32)}]
    with pytest.raises(PreparationError, match=r"^spectrum: complex numbers, .* let forward give torch\.view_as_real"):
        export(Spectrum(), inputs, batchable=True)


def test_a_batch_that_did_not_stay_variable_is_refused() -> None:
    inputs = [{"x": np.ones((n, 3), np.float32)} for n in (2, 3)]
    with pytest.raises(PreparationError, match="exported"):
        export(Constant(), inputs, batchable=True)


@pytest.mark.parametrize(
    ("batchable", "shape", "why"),
    [
        (True, (3, 4), "its batch axis did not stay variable"),
        (True, (2, 5), r"its length depends on .* before it selects \(NMS\)"),
        (False, (3, 4), r"its length depends on .* before it selects \(NMS\)"),
    ],
)
def test_another_shape_than_torchs_is_blamed_on_the_batch_where_it_is_the_batchs(
    batchable: bool, shape: tuple[int, ...], why: str
) -> None:
    model = export(TINY.load(), batches(2), batchable=True)
    with pytest.raises(PreparationError, match=rf"the shape \[2, 4\] instead of .*: {why}"):
        _check(model, batches(2), [{"output": np.ones(shape, np.float32)}], TOLERANCE["float32"], batchable=batchable)


def test_an_export_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.onnx.export

    def wrong(network: Any, *args: Any, **kwargs: Any) -> Any:
        program = real(network, *args, **kwargs)
        model = program.model_proto
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "0.weight")
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.01, tensor.name))
        return SimpleNamespace(model=program.model, model_proto=model)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(PreparationError, match=r"away from torch's; the limit is 0\.001"):
        export(TINY.load(), batches(2), batchable=True)


def test_an_export_that_no_file_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was said that ONNX Runtime can't run it, with protobuf's error."""
    monkeypatch.setattr("harness.runtimes.onnx_graph.LARGEST", 100)
    network = model([onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor("w", np.ones((4, 8)))])
    with pytest.raises(PreparationError, match="more than the 2 GB that one"):
        _check(network, [], [], TOLERANCE["float32"], batchable=True)


def test_ids_beside_scores_may_change_places_and_are_looked_at_where_they_are_all() -> None:
    """Two scores that differ by rounding do, and a right export was refused."""
    network = model([onnx.helper.make_node("TopK", ["x", "k"], ["scores", "ids"])], [tensor("k", [3], np.int64)])
    del network.graph.output[:]
    for name, kind in (("scores", onnx.TensorProto.FLOAT), ("ids", onnx.TensorProto.INT64)):
        network.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    examples = [{"x": np.array([[1, 4, 3, 2]], np.float32)}]
    scores, ids = np.array([[4, 3, 2]], np.float32), np.array([[2, 1, 3]], np.float32)
    _check(network, examples, [{"scores": scores, "ids": ids}], TOLERANCE["float32"], batchable=True)
    with pytest.raises(PreparationError, match="gives scores"):
        _check(network, examples, [{"scores": 1.01 * scores, "ids": ids}], TOLERANCE["float32"], batchable=True)
    with pytest.raises(PreparationError, match="gives ids"):
        _check(network, examples, [{"ids": ids}], TOLERANCE["float32"], batchable=True)


def test_each_example_is_held_against_its_own_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that answers in a buffer, the first ones were those of the last."""
    real = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda network, *args, **named: real(network.network, *args, **named))
    inputs = [{"x": np.full((1, 3), value, np.float32)} for value in (1, 2)]
    model = export(Buffered(torch.nn.Linear(3, 4), (1, 4)), inputs, batchable=False)
    assert [value.name for value in model.graph.output] == ["output"]


def test_whole_numbers_are_held_to_the_share_that_is_another() -> None:
    """One pixel of a mask, where two classes are equally near, was further away than rounding may be."""
    wanted = np.zeros((512, 512), bool)
    wanted[:100] = True
    found = wanted.copy()
    found[0, 0] = False
    check_output("mask", found, wanted, TOLERANCE["float32"])
    found[200:205] = True
    with pytest.raises(PreparationError, match=r"gives mask with 0\.0098 of its whole numbers .* the limit is 0\.001"):
        check_output("mask", found, wanted, TOLERANCE["float32"])
    pixels = np.full((8, 8), 200, np.uint8)
    check_output("a step of many in each pixel", pixels + np.uint8(1), pixels, TOLERANCE["float16"])


def test_whole_numbers_of_torch_are_compared_as_such() -> None:
    found = arrays_of({"y": torch.ones(2, dtype=torch.bfloat16), "ids": torch.arange(2), "mask": torch.ones(2) > 0})
    assert [array.dtype.name for array in found.values()] == ["float32", "int64", "bool"]


def test_complex_outputs_are_compared_in_both_of_their_parts() -> None:
    spectrum = torch.complex(torch.ones(4), torch.full((4,), 2.0))
    wanted = arrays_of({"spectrum": spectrum})["spectrum"]
    assert wanted.dtype == np.complex64
    check_output("spectrum", wanted.copy(), wanted, TOLERANCE["float32"])
    with pytest.raises(PreparationError, match=r"gives spectrum 1\.8 \(relative\) away from torch's; .* 0\.001"):
        check_output("spectrum", wanted.conj(), wanted, TOLERANCE["float32"])


def test_of_an_output_of_zeros_the_distance_itself_counts() -> None:
    wanted = np.zeros(4, np.float32)
    check_output("y", wanted + np.float32(1e-7), wanted, TOLERANCE["float32"])
    check_output("of rounding alone", wanted + np.float32(1e-7), wanted - np.float32(1e-8), TOLERANCE["float32"])
    with pytest.raises(PreparationError, match=r"gives y 0\.2 \(relative\)"):
        check_output("y", wanted + np.float32(0.1), wanted, TOLERANCE["float32"])


def test_what_the_exporter_cannot_trace_is_refused_with_the_reason() -> None:
    with pytest.raises(PreparationError, match="export failed"):
        export(Branching(), batches(2), batchable=True)


def test_what_the_exporter_cannot_import_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch imports the module of onnxscript that was written for it, which an older one lacks."""

    def lacking(*args: Any, **kwargs: Any) -> Any:
        try:
            raise ModuleNotFoundError("No module named 'onnxscript._framework_apis.torch_2_11'")
        except ModuleNotFoundError as error:
            raise RuntimeError("Failed to convert the exported program to an ONNX model. Pages of advice") from error

    monkeypatch.setattr(torch.onnx, "export", lacking)
    with pytest.raises(PreparationError, match=r"torch_2_11' \(pip install --upgrade onnxscript onnx-ir\)$"):
        export(TINY.load(), batches(2), batchable=True)
