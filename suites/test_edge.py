"""Small devices: what runs in little memory, which the operating system limits."""

import pytest

from harness import grid
from harness.hardware import edge
from harness.techniques import int8_static, onnxruntime, reference
from suites.models import digits, magika, silero

SMALL = edge(memory="128MB")


@grid(model=[silero], technique=[reference], hardware=[edge(memory="256MB")])
def test_voice(case, bench):
    """A voice detector, where it is mostly run."""
    result = bench(case)
    assert result.accuracy >= 0.94


@pytest.mark.full
@grid(model=[digits], technique=[reference, onnxruntime, onnxruntime | int8_static], hardware=[edge])
def test_digits(case, bench):
    """Torch itself fits into half a gigabyte."""
    result = bench(case)
    assert result.accuracy >= 0.93


@pytest.mark.full
@grid(model=[digits], technique=[onnxruntime, onnxruntime | int8_static], hardware=[SMALL])
def test_digits_without_torch(case, bench):
    """What torch is too large for: their reference does not fit, so they have no speedup."""
    result = bench(case)
    assert result.accuracy >= 0.93


@pytest.mark.full
@grid(model=[magika], technique=[reference, int8_static(ops="Conv")], hardware=[SMALL])
def test_file_types(case, bench):
    """A model that exists only as ONNX."""
    result = bench(case)
    assert result.accuracy >= 0.68
