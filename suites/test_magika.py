"""Magika file types: what can be done to a model that exists only as ONNX."""

import pytest

from harness import grid
from harness.hardware import cpu, cuda
from harness.techniques import batched, compiled, fp16, int8_dynamic, int8_static, onnxruntime, reference
from suites.models import magika

ACCEPTABLE = 0.68
"""Most examples are windows of half a kilobyte, which the network as it is gets right two times in three."""


@grid(
    model=[magika],
    technique=[reference, compiled, fp16],
    hardware=[cpu, cuda],
)
def test_inference(case, bench):
    """What needs no torch network."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(model=[magika], technique=[onnxruntime(level="basic"), batched(16)], hardware=[cpu, cuda])
def test_more(case, bench):
    """Fewer of ONNX Runtime's optimisations, and calls of several files, which take long to measure."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(model=[magika], technique=[int8_static(ops="Conv")], hardware=[cpu])
def test_integers(case, bench):
    """INT8 in ONNX Runtime, which has these kernels for CPUs alone."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(model=[magika], technique=[int8_static(ops="Conv") | batched(16)], hardware=[cpu])
def test_more_integers(case, bench):
    """The same with several files a call."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@pytest.mark.full
@grid(model=[magika], technique=[int8_dynamic(ops="Conv")], hardware=[cpu])
def test_what_is_slower(case, bench):
    """As right as before and several times slower: ONNX Runtime's integer convolutions without static ranges."""
    result = bench(case)
    assert result.accuracy >= ACCEPTABLE


@grid(model=[magika], technique=[int8_static], hardware=[cpu])
def test_what_breaks_it(case, bench):
    """Faster and useless: the numbers that it multiplies outside its convolutions have ranges that 8 bits can't hold.

    Here so that the report shows what a speed-up alone would hide; nothing is promised but that it gets no worse.
    """
    bench(case)
