"""MiniLM sentence encoder: what each optimisation costs and buys on a transformer."""

import pytest

from harness import grid
from harness.hardware import cpu, cuda
from harness.techniques import (
    aotinductor,
    autocast,
    batched,
    bf16,
    compiled,
    fp8,
    fp16,
    int4_weights,
    int8_dynamic,
    int8_static,
    int8_weights,
    onnxruntime,
    openvino,
    pruned_heads,
    pruned_layers,
    pruned_n_m,
    pruned_weights,
    reference,
    tensorrt,
    tensorrt_rtx,
)
from suites.models import minilm

ACCEPTABLE = 0.72
"""A head on embeddings that are worse would be better off with counted words."""


@grid(
    model=[minilm],
    technique=[
        reference,
        bf16,
        onnxruntime,
    ],
    hardware=[cpu, cuda],
)
def test_inference(case, bench):
    """Precision, and another runtime."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[minilm],
    technique=[
        autocast,
        compiled,
        aotinductor,
        bf16 | compiled,
        bf16 | aotinductor,
        onnxruntime | fp16,
        pruned_weights(0.3, finetune=False),
        pruned_heads(0.2, finetune=False),
        pruned_layers(1, finetune=False),
        batched(8),
        bf16 | batched(8),
    ],
    hardware=[cpu, cuda],
)
def test_more(case, bench):
    """What takes long to measure: networks as large as this one, and calls of several sentences."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(model=[minilm], technique=[fp16, fp8 | compiled], hardware=[cuda])
def test_short_floats(case, bench):
    """On a GPU alone: most CPUs take several times as long in float16 as in float32, and have no FP8."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(
    model=[minilm],
    technique=[
        tensorrt,
        bf16 | tensorrt,
        tensorrt | fp16,
        tensorrt | int8_static("percentile", ops="MatMul"),
        tensorrt | fp16 | batched(8),
        tensorrt_rtx | fp16,
    ],
    hardware=[cuda],
)
def test_tensorrt(case, bench):
    """Engines for the one GPU that is there."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(
    model=[minilm],
    technique=[
        onnxruntime | int8_dynamic,
        onnxruntime | int8_dynamic | batched(8),
        onnxruntime | int8_static("percentile", ops="MatMul"),
    ],
    hardware=[cpu],
)
def test_integers(case, bench):
    """INT8 in ONNX Runtime, which has these kernels for CPUs alone.

    Quantizing more than the matrix products statically costs a tenth of the accuracy and more.
    """
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[minilm],
    technique=[
        int8_dynamic,
        int8_dynamic | compiled,
        int8_weights,
        onnxruntime | int8_weights,
        onnxruntime | int4_weights,
    ],
    hardware=[cpu],
)
def test_more_integers(case, bench):
    """INT8 by torchao, and weights alone: smaller files, and in ONNX Runtime slower than float32."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[minilm],
    technique=[
        openvino,
        openvino(precision="bfloat16"),
        openvino | int8_weights,
    ],
    hardware=[cpu],
)
def test_openvino(case, bench):
    """OpenVINO, where it is installed, with weights in INT8 by NNCF."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[minilm],
    technique=[onnxruntime | int8_static(ops="MatMul"), pruned_n_m(finetune=False)],
    hardware=[cpu],
)
def test_what_breaks_it(case, bench):
    """Ranges from the least to the largest value seen, which a few large ones decide; half of the weights by a pattern.

    Here so that the report shows it; nothing is promised but that it gets no worse.
    """
    bench(case)
