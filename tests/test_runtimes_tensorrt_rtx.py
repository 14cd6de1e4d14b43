"""TensorRT for RTX for real: it parses and builds without a GPU, and says that it can't load there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from harness import Deployment, PreparationError
from harness.hardware import cpu
from harness.runtimes.native import load_network, native_runtime
from harness.runtimes.tensorrt import TensorRtRtx
from harness.runtimes.tensorrt_build import build_engine, read_network
from harness.runtimes.tensorrt_package import log_of
from harness.techniques import bf16, fp16, int8_dynamic, int8_static, onnxruntime, tensorrt_rtx
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model, tiny_torch_model

trt = pytest.importorskip("tensorrt_rtx")

SHAPES = {"image": ([2, 1, 12, 12], [2, 1, 12, 12], [2, 1, 12, 12])}
MANY = {"image": ([1, 1, 12, 12], [8, 1, 12, 12], [32, 1, 12, 12])}


def made(technique: Any, folder: Path, onnx_model: bool = False) -> bytes:
    """The network that a technique leaves, serialized."""
    model = tiny_onnx_model(folder) if onnx_model else tiny_torch_model(trained=False)
    start = Deployment(model, load_network(model), native_runtime(model.form), cpu, folder)
    return bytes(as_pipeline(technique).apply(start).network.SerializeToString())


@pytest.mark.parametrize(
    ("technique", "onnx_model"),
    [
        (tensorrt_rtx, False),
        (tensorrt_rtx | fp16, False),
        (tensorrt_rtx | int8_static, False),
        (bf16 | tensorrt_rtx, False),
        (tensorrt_rtx, True),
        (tensorrt_rtx | fp16, True),
        (tensorrt_rtx | int8_static, True),
    ],
    ids=lambda value: getattr(value, "id", "onnx" if value else "torch"),
)
def test_engines_are_built_for_the_served_shapes_and_for_several_batches(
    technique: Any, onnx_model: bool, tmp_path: Path
) -> None:
    network = made(technique, tmp_path, onnx_model)
    for shapes in (SHAPES, MANY):
        engine, timings = build_engine(trt, network, shapes)
        assert len(engine) > 1000
        assert timings == b""


@pytest.mark.parametrize(
    ("technique", "dtype"),
    [
        (tensorrt_rtx, "FLOAT"),
        (tensorrt_rtx | fp16, "HALF"),
        (bf16 | tensorrt_rtx, "BF16"),
        (tensorrt_rtx | int8_static, "INT8"),
    ],
    ids=lambda value: getattr(value, "id", value),
)
def test_it_is_told_to_compute_in_the_types_of_the_network(technique: Any, dtype: str, tmp_path: Path) -> None:
    log = log_of(trt)
    definition, _parser = read_network(trt, trt.Builder(log), made(technique, tmp_path), log)
    layers = [definition.get_layer(number) for number in range(definition.num_layers)]
    makers = {layer.get_output(number).name: layer for layer in layers for number in range(layer.num_outputs)}
    products = [layer for layer in layers if layer.type in (trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY)]
    found = []
    for layer in products:
        tensor = layer.get_input(0)
        if makers.get(tensor.name) and makers[tensor.name].type == trt.LayerType.DEQUANTIZE:
            tensor = makers[tensor.name].get_input(0)
        found.append(tensor.dtype.name)
    assert found == [dtype] * 3


def test_the_recipe_of_onnx_runtimes_kernels_is_refused_with_the_cure(tmp_path: Path) -> None:
    network = made(onnxruntime | int8_static, tmp_path)
    with pytest.raises(
        PreparationError, match=r"(?s)tensorrt_rtx can't read the network.*Int32.*tensorrt_rtx \| int8_static"
    ):
        build_engine(trt, network, SHAPES)


def test_what_it_has_no_importer_for_is_refused(tmp_path: Path) -> None:
    network = made(tensorrt_rtx | int8_dynamic, tmp_path)
    with pytest.raises(PreparationError, match="can't read the network"):
        build_engine(trt, network, SHAPES)


def test_shapes_that_the_network_does_not_take_are_refused(tmp_path: Path) -> None:
    network = made(tensorrt_rtx, tmp_path, onnx_model=True)
    with pytest.raises(PreparationError):
        build_engine(trt, network, {"image": tuple([2, 1, 99, 12] for _ in range(3))})


def test_loading_without_a_gpu_says_so(tmp_path: Path) -> None:
    network = onnx.load(str(tiny_onnx_model(tmp_path).load()))
    with pytest.raises(PreparationError, match=r"tensorrt_rtx can't load the engine: .*harness doctor"):
        TensorRtRtx().pack(network, tiny_onnx_model(tmp_path).inputs(2, 0), tmp_path, cpu)
    assert list(tmp_path.rglob("*.engine"))
