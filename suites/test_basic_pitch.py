"""Basic Pitch on the edge: one small network that hears notes, as an ONNX and as a LiteRT file."""

import pytest

from harness import grid
from harness.hardware import cpu, cuda
from harness.metrics import resolve
from harness.techniques import (
    batched,
    fp16,
    int4_dynamic,
    int4_weights,
    int8_dynamic,
    int8_static,
    int8_weights,
    litert,
    onnxruntime,
    reference,
)
from suites.models import basic_pitch, basic_pitch_litert

ACCEPTABLE = 0.90
SPECTRUM = ("*cq_t2010v2*", "*normalized_log*")
"""What makes the spectrum of the samples and its logarithm, by the names that the .tflite file has."""
MEMORY = [resolve()[name].with_tolerance(0.02, slack=9 * 2**20) for name in ("memory.peak", "memory.inference")]
"""ONNX Runtime takes 8 MiB more for this network in about every second process, by where the system puts its memory."""


@grid(model=[basic_pitch], technique=[reference], hardware=[cpu, cuda], metrics=MEMORY)
def test_inference(case, bench):
    """As ONNX, in ONNX Runtime."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[basic_pitch],
    technique=[onnxruntime(level="basic"), fp16, batched(4)],
    hardware=[cpu, cuda],
)
def test_more(case, bench):
    """What needs no torch network."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(
    model=[basic_pitch_litert],
    technique=[reference, litert(xnnpack=False), int8_dynamic, int8_static(keep=SPECTRUM), int8_weights],
    hardware=[cpu],
)
def test_litert(case, bench):
    """The same weights in LiteRT, whose dynamic INT8 has kernels for convolutions; static INT8 behind the spectrum."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(model=[basic_pitch], technique=[int8_static(ops="Conv"), int8_dynamic(ops="Conv")], hardware=[cpu])
def test_what_breaks_it(case, bench):
    """The spectrum of loud and quiet tones has a range that 8 bits can't hold.

    Here so that the report shows it; nothing is promised but that it gets no worse.
    """
    bench(case)


@pytest.mark.full
@grid(model=[basic_pitch_litert], technique=[int8_static, int4_dynamic, int4_weights], hardware=[cpu])
def test_what_breaks_it_in_litert(case, bench):
    """The same range, and weights in 15 steps a channel."""
    bench(case)
