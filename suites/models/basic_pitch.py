"""Basic Pitch: which notes are heard? A network of 36,000 weights made for phones and browsers, as ONNX and as LiteRT.

Both files hold the same weights and are judged by the same chords, so that the runtimes can be compared. A call hears
two seconds. The chords are synthesised, so it is known to the frame when each of their notes sounds: two to five
notes, of strings that are plucked and damped at different times, with overtones that fall off by their own rate, and
with noise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness import Evaluation, Model, digest_arrays
from suites import data
from suites.pins import BASIC_PITCH

if TYPE_CHECKING:
    import numpy as np

    from harness.model import Predict

    Array = np.ndarray[Any, Any]

__all__ = ["basic_pitch", "basic_pitch_litert", "chord", "chords"]

FOLDER = "basic_pitch/saved_models/icassp_2022"
ONNX, LITERT = f"{FOLDER}/nmp.onnx", f"{FOLDER}/nmp.tflite"
ONNX_NAMES = ("serving_default_input_2:0", "StatefulPartitionedCall:1")
LITERT_NAMES = ("input_2", "note")
"""What each file calls its input, and the output that says which notes sound."""
RATE, SAMPLES = 22050, 43844
HOP, FRAMES = 256, 172
LOWEST, NOTES = 21, 88
"""Keys of a piano, by their MIDI numbers."""
CHORDS, CALIBRATION = 60, 16
THRESHOLD = 0.3
"""A note sounds where its probability is above this, as in basic-pitch itself."""
SEED = 20240229


def chord(*seed: int) -> tuple[Array, Array]:
    """Samples (43844, 1) float32 of a chord, and which notes sound in each frame (172, 88) bool."""
    import numpy as np

    random = np.random.default_rng((SEED, *seed))
    time, frames = np.arange(SAMPLES) / RATE, np.arange(FRAMES) * HOP / RATE
    samples, sounding = np.zeros(SAMPLES), np.zeros((FRAMES, NOTES), bool)
    for note in random.choice(np.arange(40, 84), random.integers(2, 6), replace=False):
        start, end = random.uniform(0.05, 0.6), random.uniform(1.2, 1.9)
        tone = _tone(440 * 2 ** ((note - 69) / 12), time, random)
        since = np.maximum(time - start, 0)
        loudness = np.minimum(since / 0.01, 1) * np.exp(-1.5 * since) * np.clip((end - time) / 0.03, 0, 1)
        samples += random.uniform(0.5, 1) * loudness * tone
        sounding[(frames >= start) & (frames < end), note - LOWEST] = True
    samples = 0.8 * samples / np.abs(samples).max() + random.uniform(0.001, 0.02) * random.standard_normal(SAMPLES)
    # Of 16 bits, as a recording's: the same on machines whose sines round differently.
    return (np.round(samples * 32768) / 32768).astype(np.float32)[:, None], sounding


def _tone(frequency: float, time: Array, random: np.random.Generator) -> Array:
    """A fundamental and up to seven overtones below half of the rate, each `falls` times as loud as the one before."""
    import numpy as np

    falls = random.uniform(0.4, 0.8)
    phases = random.uniform(0, 2 * np.pi, 8)
    audible = [number for number in range(8) if frequency * (number + 1) < RATE / 2]
    found: Array = sum(
        falls**number * np.sin(2 * np.pi * frequency * (number + 1) * time + phases[number]) for number in audible
    )
    return found


@functools.cache
def chords(part: str) -> tuple[Array, Array]:
    """Samples (N, 43844, 1) and notes (N, 172, 88) of a part, "test" (60) or "calibration" (16). Read only."""
    import numpy as np

    count, number = (CHORDS, 0) if part == "test" else (CALIBRATION, 1)
    samples, sounding = (np.stack(column) for column in zip(*(chord(number, i) for i in range(count)), strict=True))
    for array in (samples, sounding):
        array.flags.writeable = False
    return samples, sounding


def _inputs(name: str) -> Callable[[int, int], Mapping[str, Array]]:
    def inputs(batch_size: int, seed: int) -> Mapping[str, Array]:
        import numpy as np

        return {name: np.stack([chord(2, seed, i)[0] for i in range(batch_size)])}

    return inputs


def _calibration(name: str) -> Callable[[], list[Mapping[str, Array]]]:
    def calibration() -> list[Mapping[str, Array]]:
        samples, _ = chords("calibration")
        return [{name: samples[i : i + 1]} for i in range(len(samples))]

    return calibration


def _evaluate(names: tuple[str, str], *, batchable: bool) -> Callable[[Predict], Evaluation]:
    def evaluate(predict: Predict) -> Evaluation:
        import numpy as np

        samples, sounding = chords("test")
        parts = [samples] if batchable else [samples[i : i + 1] for i in range(len(samples))]
        heard = np.concatenate([predict({names[0]: part})[names[1]] for part in parts]) > THRESHOLD
        hits = int((heard & sounding).sum())
        # A frame's answer is the set of its notes, as one number.
        keys = np.random.default_rng(SEED).integers(1, 2**52, NOTES)
        return Evaluation(
            value=2 * hits / (int(heard.sum()) + int(sounding.sum())),
            scores=(heard == sounding).all(axis=2).reshape(-1).astype(np.float64),
            workload=digest_arrays({"samples": samples, "sounding": sounding}),
            label=f"F1 over frames and notes, above {THRESHOLD:g}",
            answers=(heard @ keys).reshape(-1),
        )

    return evaluate


def _model(name: str, form: str, file: str, names: tuple[str, str], *, batchable: bool) -> Model:
    return Model(
        name=name,
        form=form,
        load=lambda: str(data.member(BASIC_PITCH, file)),
        inputs=_inputs(names[0]),
        evaluate=_evaluate(names, batchable=batchable),
        calibration=_calibration(names[0]),
        batchable=batchable,
        data=lambda: data.digests([data.member(BASIC_PITCH, file)]),
    )


basic_pitch = _model("basic_pitch", "onnx", ONNX, ONNX_NAMES, batchable=True)
basic_pitch_litert = _model("basic_pitch_litert", "litert", LITERT, LITERT_NAMES, batchable=False)
"""The file holds a batch of one, so it can't be batched."""
