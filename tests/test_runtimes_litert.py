"""LiteRT: what it serves, what it says of it, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema

from harness import PreparationError
from harness.hardware import Cpu, cpu
from harness.runtimes.litert import LiteRt
from harness.runtimes.litert_graph import Graph, Operator, renamed, signed
from harness.runtimes.litert_session import LiteRtSession, delegated
from harness.techniques import batched, litert, reference
from harness.testing import check_technique
from tests.bare import imported_by_an_arm
from tests.litert_networks import dense, ids, network, tiny_litert_model, transposed, written


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    LiteRt().pack(tiny_litert_model(tmp_path).load().read_bytes(), {}, tmp_path, cpu)
    return tmp_path


def serve(content: bytes, folder: Path, **options: Any) -> LiteRtSession:
    LiteRt().pack(content, {}, folder, cpu)
    return LiteRt(**options).load(folder, cpu)


def inputs(seed: int = 0) -> Any:
    return tiny_litert_model(Path("unused")).inputs(1, seed)


def called(session: LiteRtSession, arrays: Any) -> Any:
    return session.fetch(session(session.stage(arrays)))


def test_an_arm_imports_no_other_runtime_and_no_reader(packed: Path) -> None:
    others = ("torch", "onnx", "onnxruntime", "scipy", "flatbuffers", "litert_quantizer")
    assert imported_by_an_arm(LiteRt, packed, *others) == []


def test_facts_of_a_float_network(packed: Path) -> None:
    assert LiteRt().load(packed, cpu).facts(inputs()) == {
        "runtime": "litert",
        "provider": "XNNPACK",
        "parameters": 144 * 48 + 48 * 4,
        "sparsity": 0.0,
        "quantized": 0.0,
        "weights.float32": 1.0,
        "precision": "float32",
        "arithmetic.float32": 1.0,
        "nodes": 3,
        "nodes.quantized": 0,
        "nodes.XNNPACK": 3,
        "fallbacks": 0,
    }


def test_without_the_delegate_litert_executes_all_by_itself(packed: Path) -> None:
    facts = LiteRt(xnnpack=False).load(packed, cpu).facts(inputs())
    assert (facts["provider"], facts["nodes.LiteRT"], facts["fallbacks"]) == ("LiteRT", 3, 0)
    assert "nodes.XNNPACK" not in facts


def test_both_give_the_same_values_with_one_thread_and_with_two(packed: Path) -> None:
    sessions = [LiteRt(xnnpack).load(packed, Cpu(threads)) for xnnpack in (True, False) for threads in (1, 2)]
    first, *others = [called(session, inputs())["output"] for session in sessions]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4)


def test_calls_alternate_between_inputs(packed: Path) -> None:
    session = LiteRt().load(packed, cpu)
    staged = [session.stage(inputs(seed)) for seed in (0, 1)]
    alone = [session.fetch(session(one))["output"] for one in staged]
    outputs = [session(staged[number]) for number in (0, 1, 0)]  # fetched only after the later calls
    for found, number in zip(outputs, (0, 1, 0), strict=True):
        np.testing.assert_array_equal(session.fetch(found)["output"], alone[number])


def test_the_reference_of_a_litert_model_is_litert(tmp_path: Path) -> None:
    model = tiny_litert_model(tmp_path)
    with pytest.raises(AssertionError, match="promises only what is true of tiny_litert as it is"):
        check_technique(reference, model)


def test_the_technique_only_changes_who_executes(tmp_path: Path) -> None:
    evidence, facts = check_technique(litert(xnnpack=False), tiny_litert_model(tmp_path))
    assert [item.promise for item in evidence] == ["runtime = litert", "provider = LiteRT"]
    assert facts["provider"] == "LiteRT"


def test_a_package_without_the_delegate_breaks_the_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.runtimes import litert_session

    class WithoutDelegate(litert_session.Interpreter):  # type: ignore[misc]
        def __init__(self, path: str, **options: Any) -> None:
            kernels = litert_session.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            super().__init__(path, **{**options, "experimental_op_resolver_type": kernels})

    monkeypatch.setattr(litert_session, "Interpreter", WithoutDelegate)
    with pytest.raises(AssertionError, match="promised provider = XNNPACK, found LiteRT"):
        check_technique(litert, tiny_litert_model(tmp_path))


def test_integers_are_staged_in_the_width_of_the_file(tmp_path: Path) -> None:
    session = serve(ids(), tmp_path)
    rows = called(session, {"ids": np.array([[0, 5, 1, 1]], np.int64)})["rows"]
    np.testing.assert_array_equal(rows[0, :, 0], [0, 40, 8, 8])
    with pytest.raises(PreparationError, match="holds numbers that int32 can't hold"):
        session.stage({"ids": np.array([[0, 2**40, 1, 1]])})


def test_numbers_between_integers_are_not_cut_off_for_a_network_that_takes_integers(tmp_path: Path) -> None:
    """A half became a nought, and nothing said so."""
    session = serve(ids(), tmp_path)
    with pytest.raises(PreparationError, match="'ids' is float32 and holds numbers that int32 can't hold"):
        session.stage({"ids": np.array([[0.5, 1, 2, 3]], np.float32)})
    assert session.stage({"ids": np.array([[0, 1, 2, 3]], np.float32)})[0][1].tolist() == [[0, 1, 2, 3]]


def test_inputs_that_do_not_fit_are_refused(packed: Path) -> None:
    session = LiteRt().load(packed, cpu)
    with pytest.raises(PreparationError, match="reads an input 'image', and is given picture; "):
        session.stage({"picture": np.zeros((1, 1, 12, 12), np.float32)})
    with pytest.raises(PreparationError, match=r"put batched before litert \(batched\(8\) \| litert\)"):
        session.stage({"image": np.zeros((8, 1, 12, 12), np.float32)})


def test_inputs_of_another_length_are_to_be_padded(packed: Path) -> None:
    """They were told to be put in batches, which helps the first axis alone."""
    with pytest.raises(PreparationError, match=r"made for one shape, so let Model.evaluate pass inputs of the lengths"):
        LiteRt().load(packed, cpu).stage({"image": np.zeros((1, 1, 12, 16), np.float32)})


def test_batching_what_is_litert_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="made for one shape"):
        check_technique(batched(2), tiny_litert_model(tmp_path))


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="got a dict instead of the bytes"):
        LiteRt().pack({}, {}, tmp_path, cpu)
    with pytest.raises(PreparationError, match="LiteRT refuses the network"):
        serve(b"nothing", tmp_path)
    with pytest.raises(PreparationError, match="TFL3, is missing"):
        Graph(b"nothing")


def test_names_are_those_of_the_signature_or_else_of_the_tensors(tmp_path: Path) -> None:
    tensors = {"x": ((1, 2), "float32"), "w": np.eye(2, dtype=np.float32), "y": ((1, 2), "float32")}
    nodes = [("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense())]
    arrays = {"x": np.ones((1, 2), np.float32)}
    plain = network(tensors, nodes, ["x"], ["y"], signatures=())
    assert list(called(serve(plain, tmp_path), arrays)) == ["y"]
    named = renamed(network(tensors, nodes, ["x"], ["y"]), ["left"], ["right"])
    assert list(called(serve(named, tmp_path), {"left": arrays["x"]})) == ["right"]
    several = network(tensors, nodes, ["x"], ["y"], signatures=("one", "two"))
    with pytest.raises(PreparationError, match=r"2 signatures \(one, two\), and one is needed"):
        serve(several, tmp_path)


def test_a_file_without_a_signature_can_have_one(tmp_path: Path) -> None:
    """The quantizer calibrates by a signature alone."""
    tensors = {"x": ((1, 2), "float32"), "w": np.eye(2, dtype=np.float32), "y": ((1, 2), "float32")}
    nodes = [("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense())]
    made = signed(network(tensors, nodes, ["x"], ["y"], signatures=()))
    session = serve(made, tmp_path)
    assert (session.signature, list(called(session, {"x": np.ones((1, 2), np.float32)}))) == ("serving_default", ["y"])
    assert signed(made) == made


def test_outputs_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    tensors = {"x": ((1, 2), "float32"), "z": ((1, 2), "float32"), "a": ((1, 2), "float32")}
    nodes = [("NEG", ["x"], ["z"], None), ("ABS", ["x"], ["a"], None)]
    found = called(serve(network(tensors, nodes, ["x"], ["z", "a"]), tmp_path), {"x": np.ones((1, 2), np.float32)})
    assert [(name, float(array[0, 0])) for name, array in found.items()] == [("z", -1.0), ("a", 1.0)]


def quantized_tensor(name: str, dtype: Any, shape: tuple[int, ...], scales: list[float], points: list[int]) -> Any:
    tensor, quantization = schema.TensorT(), schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint, quantization.quantizedDimension = scales, points, 0
    tensor.name, tensor.type, tensor.shape, tensor.hasRank = name, dtype, list(shape), True
    tensor.quantization = quantization
    return tensor


def with_constant(tensor: Any, data: bytes) -> bytes:
    """A file that holds one constant, which nothing reads."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    tensor.buffer = 1
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [tensor], [], [], []
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT(), buffer], []
    return written(model)


def test_four_bits_are_unpacked_lowest_first() -> None:
    tensor = quantized_tensor("w", schema.TensorType.INT4, (3, 3), [1.0], [0])
    values = [0, -8, 7, 1, 0, -1, 2, 0, 3]
    nibbles = [value & 15 for value in (*values, 5)]  # the last one fills up the byte, and is no element
    data = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    (weight,) = Graph(with_constant(tensor, data)).weights()
    assert (weight.dtype, weight.elements, weight.zeros, weight.magnitude) == ("int4", 9, 3, 8)


def test_zeros_of_integers_are_at_their_channels_zero_point() -> None:
    tensor = quantized_tensor("w", schema.TensorType.INT8, (2, 3), [1.0, 1.0], [3, 0])
    (weight,) = Graph(with_constant(tensor, np.array([3, 3, 0, 0, 3, 1], np.int8).tobytes())).weights()
    assert (weight.zeros, weight.magnitude) == (3, 3)


def test_a_weight_that_is_stored_sparsely_is_refused_by_name() -> None:
    """It has fewer numbers than its shape, and ended in numpy's error."""
    tensor = quantized_tensor("w", schema.TensorType.FLOAT32, (2, 3), [1.0], [0])
    tensor.sparsity = schema.SparsityParametersT()
    with pytest.raises(PreparationError, match=r"weight 'w' of the \.tflite file is stored sparsely"):
        Graph(with_constant(tensor, np.ones(2, np.float32).tobytes())).weights()


def test_scales_of_blocks_are_no_weights() -> None:
    """They are a tensor with a row for each output, and `int4_dynamic(block=32)` had more parameters than the model."""
    tensors = {
        "w": np.ones((4, 64), np.int8),
        "scales": np.ones((4, 2), np.float16),
        "x": ((1, 64), "float32"),
        "y": ((1, 4), "float32"),
    }
    content = network(tensors, [("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense())], ["x"], ["y"])
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    blocks, quantization = schema.BlockwiseQuantizationT(), schema.QuantizationParametersT()
    blocks.scales, blocks.blockSize = 1, 32  # and no zero points, which reads as 0
    quantization.details, quantization.detailsType = blocks, schema.QuantizationDetails.BlockwiseQuantization
    model.subgraphs[0].tensors[0].quantization = quantization
    (weight,) = Graph(written(model)).weights()
    assert (weight.dtype, weight.elements) == ("int8", 4 * 64)


def operator(number: int, reads: tuple[int, ...], writes: tuple[int, ...]) -> Operator:
    return Operator("ADD", number, reads, writes, ("",), "float32", ())


def test_operators_of_a_delegate_are_found_by_what_it_reads_and_writes() -> None:
    """0 -> 1 -> 2 -> 3, where 1 and 2 are taken by a delegate, and 4 is taken by another."""
    operators = [
        operator(0, (0,), (1,)),
        operator(1, (1, 9), (2,)),
        operator(2, (2, 1), (3,)),
        operator(3, (3,), (4,)),
        operator(4, (4,), (5,)),
    ]
    nodes = [{"inputs": [1, 9], "outputs": [3]}, {"inputs": [4], "outputs": [5]}]
    assert delegated(operators, nodes) == {1, 2, 4}
    assert delegated(operators, []) == set()


def test_what_lies_in_bodies_counts_as_what_lies_outside(tmp_path: Path) -> None:
    """A network whose products were in the branches of an IF had none, and computed in the type of its inputs."""
    options = schema.IfOptionsT()
    options.thenSubgraphIndex, options.elseSubgraphIndex = 1, 2
    x, y = ((1, 4), "float32"), ((1, 2), "float32")
    outer = network(
        {"left": ((1,), "bool"), "x": x, "y": y}, [("IF", ["left", "x"], ["y"], options)], ["left", "x"], ["y"]
    )
    model = schema.ModelT.InitFromPackedBuf(outer, 0)
    for scale in (1, 2):
        tensors = {"x": x, "w": np.full((2, 4), scale, np.float32), "y": y}
        branch = network(tensors, [("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense())], ["x"], ["y"])
        body = schema.ModelT.InitFromPackedBuf(branch, 0)
        for tensor in body.subgraphs[0].tensors:
            tensor.buffer += len(model.buffers)
        for operator in body.subgraphs[0].operators:
            operator.opcodeIndex += len(model.operatorCodes)
        model.buffers += body.buffers
        model.operatorCodes += body.operatorCodes
        model.subgraphs += body.subgraphs
    content = written(model)
    assert [one.name for one in Graph(content).bodies()] == ["FULLY_CONNECTED"] * 2
    facts = serve(content, tmp_path).facts({})
    assert (facts["nodes"], facts["precision"], facts["arithmetic.float32"]) == (3, "float32", 1.0)


def test_weights_behind_a_conversion_are_found(tmp_path: Path) -> None:
    tensors = {
        "x": ((1, 4), "float32"),
        "stored": np.array([[1, 0, 2, 0], [0, 0, 1, 1]], np.float16),
        "w": ((2, 4), "float32"),
        "y": ((1, 2), "float32"),
    }
    nodes = [
        ("DEQUANTIZE", ["stored"], ["w"], schema.DequantizeOptionsT()),
        ("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense()),
    ]
    content = network(tensors, nodes, ["x"], ["y"])
    ((weight, readers),) = Graph(content).weights_with_readers()
    assert (weight.dtype, [reader.name for reader in readers]) == ("float16", ["FULLY_CONNECTED"])
    facts = serve(content, tmp_path).facts({"x": np.ones((1, 4), np.float32)})
    assert (facts["weights.float16"], facts["sparsity"], facts["sparsity.2:4"]) == (1.0, 0.5, 1.0)
    assert facts["precision"] == "float32"


def test_a_weight_is_read_by_all_that_read_a_tensor_of_its_buffer() -> None:
    """Of a tied weight those of the first tensor were told alone."""
    table = np.arange(32, dtype=np.float32).reshape(8, 4)
    tensors = {
        "ids": ((1,), "int32"),
        "table": table,
        "row": ((1, 4), "float32"),
        "w": table,
        "y": ((1, 8), "float32"),
    }
    nodes = [
        ("GATHER", ["table", "ids"], ["row"], schema.GatherOptionsT()),
        ("FULLY_CONNECTED", ["row", "w", ""], ["y"], dense()),
    ]
    model = schema.ModelT.InitFromPackedBuf(network(tensors, nodes, ["ids"], ["y"]), 0)
    model.subgraphs[0].tensors[3].buffer = model.subgraphs[0].tensors[1].buffer
    ((weight, readers),) = Graph(written(model)).weights_with_readers()
    assert (weight.elements, [one.name for one in readers]) == (32, ["GATHER", "FULLY_CONNECTED"])


def test_constants_may_lie_behind_the_rest_of_the_file(tmp_path: Path) -> None:
    weights = np.array([[1, 2], [0, 4], [5, 6]], np.float32)
    tensors = {"x": ((1, 2), "float32"), "w": weights, "y": ((1, 3), "float32")}
    content = network(tensors, [("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense())], ["x"], ["y"])
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 2, weights.nbytes
    model.buffers[1].offset = 16 * (len(written(model)) // 16 + 1)
    behind = written(model).ljust(model.buffers[1].offset, b"\0") + weights.tobytes()
    for whole in (behind, renamed(behind, ["x"], ["y"])):
        (weight,) = Graph(whole).weights()
        assert (weight.elements, weight.zeros) == (6, 1)
        found = called(serve(whole, tmp_path), {"x": np.ones((1, 2), np.float32)})
        np.testing.assert_array_equal(found["y"], [[3, 4, 11]])


def test_a_model_that_is_litert_can_be_evaluated(tmp_path: Path) -> None:
    from harness.runtimes.predictor import Predictor

    model = tiny_litert_model(tmp_path)
    session = serve(Path(model.load()).read_bytes(), tmp_path)
    assert model.evaluate(Predictor(session, 1)).value > 0.9


def test_a_number_is_served_as_a_number(tmp_path: Path) -> None:
    tensors = {"number": ((), "float32"), "two": np.array([2], np.float32), "output": ((1,), "float32")}
    content = network(tensors, [("MUL", ["number", "two"], ["output"], schema.MulOptionsT())], ["number"], ["output"])
    assert called(serve(content, tmp_path), {"number": np.array(3, np.float32)})["output"] == [6]


@pytest.mark.parametrize("xnnpack", [True, False])
def test_denormals_count_as_zero_where_xnnpack_executes(tmp_path: Path, xnnpack: bool) -> None:
    """XNNPACK has the processor do so, with what it is given and with what it gives; LiteRT's own kernels do not."""
    assert np.float32(1e-20) * np.float32(1e-20) > 0  # a denormal, where they are computed with
    weights = np.array([[1e-20, 0], [0, 1e10]], np.float32)
    tensors = {"x": ((1, 2), "float32"), "w": weights, "y": ((1, 2), "float32")}
    content = network(tensors, [("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense())], ["x"], ["y"])
    session = serve(content, tmp_path, xnnpack=xnnpack)
    found = called(session, {"x": np.array([[1e-20, 1e-40]], np.float32)})["y"]
    assert (found > 0).tolist() == [[not xnnpack, not xnnpack]]


def test_a_transposed_convolution_computes_in_the_type_of_what_it_convolves(tmp_path: Path) -> None:
    """It reads the shape of its output first, in int32, which is neither that nor a weight."""
    (found,) = Graph(transposed()).operators()
    assert (found.dtype, found.weights) == ("float32", ("float32",))
    path = tmp_path / "transposed.tflite"
    path.write_bytes(transposed())
    model = dataclasses.replace(
        tiny_litert_model(tmp_path),
        load=lambda: path,
        inputs=lambda size, seed: {"x": np.full((size, 3, 3, 4), seed, np.float32)},
    )
    facts = serve(transposed(), tmp_path).facts(model.inputs(1, 0))
    assert (facts["precision"], facts["arithmetic.float32"]) == ("float32", 1.0)
    with pytest.raises(AssertionError, match="promises only what is true of tiny_litert as it is"):
        check_technique(reference, model)


def test_no_pattern_of_zeros_is_looked_for_in_a_transposed_convolution() -> None:
    """Nor is one in torch and ONNX networks: what was pruned before the conversion broke its promise."""
    (weight,) = Graph(transposed()).weights()
    assert (weight.elements, weight.patterns) == (128, None)
