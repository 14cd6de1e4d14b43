"""What a parameter does: sparsity, channels, teaching, batch size, ranges of INT8, levels of the graph, value by value.

All of it is left to the full selection (`pytest suites/ -m full`), and kept apart from the models' own suites, so that
`harness optimize` does not try every value there. A curve shows where a technique stops paying as well; so nothing is
promised of its points but that they get no worse.
"""

import pytest

from harness import grid
from harness.hardware import cpu, cuda
from harness.techniques import (
    batched,
    distilled,
    int8_static,
    onnxruntime,
    pruned_channels,
    pruned_weights,
    reference,
)
from suites.models import (
    basic_pitch,
    digits,
    digits_student,
    gpt_decode,
    gpt_prefill,
    gpt_student,
    magika,
    minilm,
    silero,
)

pytestmark = pytest.mark.full

BATCHES = (1, 2, 4, 8, 16, 32, 64)


@grid(
    model=[digits, gpt_prefill],
    technique=[reference, pruned_weights(0.5), pruned_weights(0.8), pruned_weights(0.9), pruned_weights(0.95)],
    hardware=[cpu],
)
def test_sparsity(case, bench):
    """Accuracy against sparsity, with training after it."""
    bench(case)


@grid(
    model=[digits, minilm],
    technique=[pruned_weights(sparsity, finetune=False) for sparsity in (0.3, 0.5, 0.7)],
    hardware=[cpu],
)
def test_sparsity_untrained(case, bench):
    """Accuracy against sparsity, without."""
    bench(case)


@grid(
    model=[digits],
    technique=[
        pruned_channels(0.3),
        pruned_channels(0.5),
        pruned_channels(0.7),
        pruned_channels(0.5, finetune=False),
        pruned_channels(0.3) | onnxruntime,
        pruned_channels(0.7) | onnxruntime,
    ],
    hardware=[cpu],
)
def test_channels(case, bench):
    """Speed and accuracy against removed channels."""
    bench(case)


@grid(model=[digits], technique=[distilled(into=digits_student, seeds=5)], hardware=[cpu])
def test_teacher(case, bench):
    """Whether the teacher helps: five trainings with it and five without, which the case's facts tell."""
    bench(case)


@grid(
    model=[digits],
    technique=[
        distilled(into=pruned_channels(0.5, finetune=False)),
        distilled(into=digits_student, features=1.0),
        pruned_weights(0.9, schedule="gradual"),
        pruned_weights(0.9, scope="layer"),
    ],
    hardware=[cpu],
)
def test_ways(case, bench):
    """A pruned copy as the student, features as well as answers, and weights removed bit by bit or layer by layer."""
    bench(case)


@grid(model=[magika], technique=[int8_static(max_drop=0.01)], hardware=[cpu])
def test_drop(case, bench):
    """Layers that cost more accuracy than is allowed are found, and stay in float."""
    result = bench(case)
    assert result.accuracy >= 0.70


@grid(model=[digits, minilm], technique=[onnxruntime], hardware=[cpu(threads=2)])
def test_threads(case, bench):
    """What a second core brings to a call, beside the same with one in `test_levels`."""
    bench(case)


@grid(model=[gpt_prefill], technique=[distilled(into=gpt_student, temperature=1.0)], hardware=[cpu])
def test_temperature(case, bench):
    """A language model's own answers, not softened, help where softened ones do harm."""
    bench(case)


@grid(
    model=[digits, minilm],
    technique=[
        *(batched(size) for size in BATCHES),
        *(onnxruntime | batched(size) for size in BATCHES),
    ],
    hardware=[cpu, cuda],
)
def test_batches(case, bench):
    """Throughput and latency against items a call in two runtimes: the knee is found in the report."""
    bench(case)


@grid(
    model=[gpt_prefill, gpt_decode],
    technique=[onnxruntime | batched(size) for size in (1, 2, 8, 32, 128)],
    hardware=[cpu, cuda],
)
def test_batches_of_text(case, bench):
    """The same of a language model, whose two phases use a processor differently."""
    bench(case)


@grid(
    model=[magika, basic_pitch],
    technique=[batched(size) for size in (1, 2, 4, 8)],
    hardware=[cpu, cuda],
)
def test_batches_onnx(case, bench):
    """The same of networks that exist only as ONNX."""
    bench(case)


@grid(
    model=[digits],
    technique=[
        onnxruntime | int8_static("minmax"),
        onnxruntime | int8_static("entropy"),
        onnxruntime | int8_static("percentile"),
        onnxruntime | int8_static(per_channel=False),
    ],
    hardware=[cpu],
)
def test_ranges(case, bench):
    """How the ranges of static INT8 are chosen."""
    bench(case)


@grid(
    model=[magika, silero],
    technique=[int8_static(method, ops="Conv") for method in ("minmax", "entropy", "percentile")],
    hardware=[cpu],
)
def test_ranges_onnx(case, bench):
    """The same where convolutions alone stand it."""
    bench(case)


@grid(
    model=[digits, minilm, magika, silero],
    technique=[onnxruntime(level=level) for level in ("disable", "basic", "extended", "all")],
    hardware=[cpu],
)
def test_levels(case, bench):
    """What each level of ONNX Runtime's optimisations brings."""
    bench(case)
