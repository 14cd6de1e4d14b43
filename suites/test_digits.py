"""Digits classifier: what each optimisation costs and buys on a small convolutional network."""

import pytest

from harness import grid
from harness.hardware import cpu, cuda
from harness.techniques import (
    aotinductor,
    autocast,
    batched,
    bf16,
    compiled,
    cuda_graph,
    distilled,
    fp16,
    int4_dynamic,
    int8_dynamic,
    int8_static,
    int8_weights,
    litert,
    onnxruntime,
    openvino,
    pruned_channels,
    pruned_n_m,
    pruned_weights,
    reference,
    tensorrt,
    tensorrt_rtx,
)
from suites.models import digits, digits_student

ACCEPTABLE = 0.93
"""Nobody would ship a reader of digits that is worse, however fast."""


@grid(
    model=[digits],
    technique=[
        reference,
        bf16,
        fp16,
        compiled,
        onnxruntime,
        pruned_weights(0.8),
        pruned_channels(0.5),
        pruned_channels(0.5) | onnxruntime,
        distilled(into=digits_student),
        distilled(into=digits_student) | onnxruntime,
        batched(32),
        onnxruntime | batched(32),
    ],
    hardware=[cpu, cuda],
)
def test_inference(case, bench):
    """Precision, compilation, pruning, distillation and batching, alone and together."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(
    model=[digits],
    technique=[
        onnxruntime | int8_dynamic(ops="Conv"),
        onnxruntime | int8_static,
        pruned_channels(0.5) | onnxruntime | int8_static,
    ],
    hardware=[cpu],
)
def test_integers(case, bench):
    """INT8 in ONNX Runtime, which has these kernels for CPUs alone."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(
    model=[digits],
    technique=[openvino, openvino(precision="bfloat16"), openvino | int8_static],
    hardware=[cpu],
)
def test_openvino(case, bench):
    """OpenVINO, where it is installed; in float32 unless told otherwise, and in INT8 by NNCF."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(
    model=[digits],
    technique=[cuda_graph, bf16 | cuda_graph, cuda_graph | batched(32)],
    hardware=[cuda],
)
def test_cuda_graphs(case, bench):
    """What launching all kernels at once saves, which only GPUs have."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(
    model=[digits],
    technique=[
        tensorrt,
        tensorrt | fp16,
        tensorrt | int8_static,
        tensorrt | batched(32),
        tensorrt(max_batch=32),
        tensorrt_rtx,
        tensorrt_rtx | fp16,
        onnxruntime(provider="tensorrt"),
    ],
    hardware=[cuda],
)
def test_tensorrt(case, bench):
    """Engines for the one GPU that is there, alone and inside ONNX Runtime."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(model=[digits], technique=[onnxruntime(provider="openvino")], hardware=[cpu])
def test_providers(case, bench):
    """Other kernels behind the same interface, where the package that brings them is installed."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[digits],
    technique=[
        autocast,
        aotinductor,
        bf16 | compiled,
        bf16 | aotinductor,
        bf16 | batched(32),
        onnxruntime(level="basic"),
        onnxruntime | fp16,
        pruned_n_m,
        pruned_channels(0.5) | bf16,
        pruned_channels(0.5) | batched(32),
        distilled(into=digits_student) | bf16,
    ],
    hardware=[cpu, cuda],
)
def test_more(case, bench):
    """The same techniques, put together in other ways."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[digits],
    technique=[
        distilled(into=digits_student) | onnxruntime | int8_static,
        onnxruntime | int8_static | batched(32),
    ],
    hardware=[cpu],
)
def test_more_integers(case, bench):
    """INT8 of a smaller network, and of several images a call."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(model=[digits], technique=[int8_static | compiled, int8_dynamic, int8_weights], hardware=[cpu])
def test_integers_in_torch(case, bench):
    """INT8 by torchao: the compiler makes kernels of convolutions; the others reach linear layers, which are few."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[digits],
    technique=[
        litert,
        litert | int8_dynamic,
        litert | int8_static,
        litert | int4_dynamic,
        pruned_channels(0.5) | litert | int8_static,
        batched(32) | litert,
        batched(32) | litert | int8_static,
    ],
    hardware=[cpu],
)
def test_litert(case, bench):
    """LiteRT, as on a phone; a file is made for one batch, so that comes first."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[digits],
    technique=[
        openvino | fp16,
        openvino | int8_weights,
        openvino(precision="bfloat16") | int8_static,
        pruned_channels(0.5) | openvino | int8_static,
        openvino | int8_static | batched(32),
    ],
    hardware=[cpu],
)
def test_more_openvino(case, bench):
    """Smaller files, both kinds of short numbers at once, and integers of a smaller network and of several images."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE
