"""Silero voice detection: a stream that is heard a second at a time, with a state that errors add up in."""

from harness import Metric, grid
from harness.hardware import cpu, cuda
from harness.techniques import batched, bf16, fp16, int8_dynamic, int8_static, onnxruntime, openvino, reference
from suites.models import silero

ACCEPTABLE = 0.94
AUC = Metric(
    name="auc",
    unit="share",
    better="higher",
    slack=0.002,
    portable=True,
    help="Chance that a frame of speech scores above one without, at whatever threshold.",
)


@grid(
    model=[silero],
    technique=[reference, onnxruntime(level="basic"), bf16, fp16, batched(8)],
    hardware=[cpu, cuda],
    metrics=[AUC],
)
def test_inference(case, bench):
    """What needs no torch network."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE
    assert result["auc"] >= 0.97


@grid(
    model=[silero],
    technique=[
        int8_static(ops="Conv"),
        int8_dynamic(ops="LSTM"),
        int8_static(ops="Conv") | int8_dynamic(ops="LSTM"),
    ],
    hardware=[cpu],
    metrics=[AUC],
)
def test_integers(case, bench):
    """INT8 in ONNX Runtime, which has these kernels for CPUs alone.

    The convolutions stand static quantization, and the LSTM dynamic.
    """
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE
    assert result["auc"] >= 0.97


@grid(model=[silero], technique=[openvino], hardware=[cpu], metrics=[AUC])
def test_openvino(case, bench):
    """OpenVINO, where it is installed; INT8 by NNCF, of the LSTM too, costs a fifth of the F1."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE
    assert result["auc"] >= 0.97


@grid(model=[silero], technique=[int8_dynamic(ops="Conv")], hardware=[cpu], metrics=[AUC])
def test_what_breaks_it(case, bench):
    """Slower, and deaf: convolutions whose inputs are quantized by each call's own range.

    Here so that the report shows it; nothing is promised but that it gets no worse.
    """
    bench(case)
