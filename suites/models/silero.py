"""Silero VAD: is somebody speaking? A streaming model that exists only as ONNX; a call hears one second.

Each call takes 32 frames of 512 samples at 16 kHz, every frame after the 64 samples before it, and the state (h, c)
that the call before has left, so calls are no independent items and can't be batched.

The labelled data are recordings of LibriVox (public domain) whose phones the authors of pocketsphinx have aligned in
time; utterances and gaps of 0.5 to 3 s, with seeded noise over both. A frame is speech where most of it lies in words.
"""

from __future__ import annotations

import functools
import json
import wave
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import Evaluation, Model, digest_arrays
from suites import data
from suites.pins import POCKETSPHINX, SILERO_VAD

if TYPE_CHECKING:
    import numpy as np

    from harness.model import Predict

    Array = np.ndarray[Any, Any]

__all__ = ["recordings", "silero"]

NETWORK = "silero_vad/data/silero_vad_16k_sequence.onnx"
SPEECH = "pocketsphinx-5.1.1/test/data"
UTTERANCES = tuple(f"librivox/sense_and_sensibility_01_austen_64kb-0{n}" for n in (870, 880, 890, 920, 930))
OTHER_SPEAKERS = ("goforward.raw", "numbers.raw", "something.raw")
RATE = 16000
FRAME, CONTEXT, FRAMES = 512, 64, 32
STATE = (1, 1, 128)
SNR = (20.0, 10.0, 5.0, 0.0)
"""Signal-to-noise ratios of the four recordings in decibels, over the samples that are speech."""
GAP = (0.5, 3.0)
THRESHOLD = 0.5
SEED = 20240229


@functools.cache
def recordings() -> tuple[tuple[Array, Array], ...]:
    """For each ratio of `SNR`: calls (N, 32, 576) float32 and whether each frame is speech (N, 32) bool."""
    import numpy as np

    utterances = [_utterance(name) for name in UTTERANCES]
    found = []
    for number, ratio in enumerate(SNR):
        random = np.random.default_rng((SEED, number))
        parts: list[tuple[Array, Array]] = []
        for i in random.permutation(len(utterances)):
            parts += [_silence(random), utterances[i]]
        samples, speech = (np.concatenate(column) for column in zip(*parts, _silence(random), strict=True))
        calls = _calls(samples + _noise(samples[speech], ratio, len(samples), random))
        frames = speech[: calls.shape[0] * FRAMES * FRAME].reshape(-1, FRAMES, FRAME)
        found.append((calls, frames.mean(axis=2) > 0.5))
    return tuple(found)


def _silence(random: np.random.Generator) -> tuple[Array, Array]:
    import numpy as np

    length = int(random.uniform(*GAP) * RATE)
    return np.zeros(length, np.float32), np.zeros(length, bool)


def _utterance(name: str) -> tuple[Array, Array]:
    """Samples (N,) float32 in -1..1 and whether each lies in a word (N,) bool."""
    import numpy as np

    with wave.open(str(data.member(POCKETSPHINX, f"{SPEECH}/{name}.wav"))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    aligned = json.loads(data.member(POCKETSPHINX, f"{SPEECH}/{name}.phone.json").read_text(encoding="utf-8"))
    speech = np.zeros(len(samples), bool)
    for word in aligned["w"]:
        if not word["t"].startswith("<"):
            speech[round(word["b"] * RATE) : round((word["b"] + word["d"]) * RATE)] = True
    return samples, speech


def _noise(speech: Array, ratio: float, length: int, random: np.random.Generator) -> Array:
    """Pink noise (power falls with 1/f, as that of rooms and streets does) at `ratio` dB below the speech."""
    import numpy as np

    spectrum = np.fft.rfft(random.standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    noise = np.fft.irfft(spectrum, length)
    power = np.mean(np.square(speech, dtype=np.float64)) / 10 ** (ratio / 10)
    scaled: Array = noise * np.sqrt(power / np.mean(noise**2))
    return scaled.astype(np.float32)


def _calls(samples: Array) -> Array:
    """Samples (N,) -> (calls, 32, 576): frames after their context; what does not fill a call is dropped.

    Samples are rounded to 16 bits as a recording's are, and so are the same on machines whose FFTs round differently.
    """
    import numpy as np

    samples = (np.round(samples * 32768) / 32768).astype(np.float32)
    count = len(samples) // (FRAME * FRAMES) * FRAMES
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples[: count * FRAME]])
    frames = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + FRAME)[::FRAME]
    return np.ascontiguousarray(frames.reshape(-1, FRAMES, CONTEXT + FRAME))


def _start() -> dict[str, Array]:
    """The state of a stream that has heard nothing."""
    import numpy as np

    return {"h": np.zeros(STATE, np.float32), "c": np.zeros(STATE, np.float32)}


def _load() -> str:
    return str(data.member(SILERO_VAD, NETWORK))


def _inputs(batch_size: int, seed: int) -> Mapping[str, Array]:
    import numpy as np

    if batch_size != 1:
        raise ValueError(f"silero hears one stream, not {batch_size}")
    calls = np.concatenate([calls for calls, _ in recordings()])
    return {"input": calls[np.random.default_rng(seed).integers(len(calls))], **_start()}


def _calibration() -> list[Mapping[str, Array]]:
    """Calls of other speakers than those of the test, at each ratio of `SNR`.

    Each has the state that the float network's calls before it have left; in streams that all began, it has no range.
    """
    import numpy as np
    from onnxruntime import InferenceSession

    network = InferenceSession(_load(), providers=["CPUExecutionProvider"])
    names = [output.name for output in network.get_outputs()]
    found: list[Mapping[str, Array]] = []
    for number, name in enumerate(OTHER_SPEAKERS):
        raw = data.member(POCKETSPHINX, f"{SPEECH}/{name}").read_bytes()
        samples = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
        for ratio in SNR:
            random = np.random.default_rng((SEED, number, int(ratio)))
            calls = _calls(samples + _noise(samples, ratio, len(samples), random))
            state = _start()
            for call in calls:
                found.append({"input": call, **state})
                outputs = dict(zip(names, network.run(None, found[-1]), strict=True))
                state = {"h": outputs["hn"], "c": outputs["cn"]}
    return found


def _evaluate(predict: Predict) -> Evaluation:
    import numpy as np

    heard, wanted = [], []
    for calls, speech in recordings():
        state = _start()
        for call, truth in zip(calls, speech, strict=True):
            outputs = predict({"input": call, **state})
            state = {"h": outputs["hn"], "c": outputs["cn"]}
            heard.append(outputs["speech_probs"].reshape(-1))
            wanted.append(truth)
    probability, truth = np.concatenate(heard), np.concatenate(wanted)
    answers = probability > THRESHOLD
    hits = int((answers & truth).sum())
    return Evaluation(
        value=2 * hits / (int(answers.sum()) + int(truth.sum())),
        scores=(answers == truth).astype(np.float64),
        workload=digest_arrays(
            {f"{i}/{name}": a for i, r in enumerate(recordings()) for name, a in zip("xy", r, strict=True)}
        ),
        label="F1 over frames",
        answers=answers.astype(np.int64),
        metrics={"auc": _area(probability, truth)},
    )


def _area(probability: Array, truth: Array) -> float:
    """Area under the ROC curve: the chance that a speech frame scores above another (Mann & Whitney 1947)."""
    import numpy as np

    _, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]  # equal ones share the mean of theirs
    positive = int(truth.sum())
    negative = len(truth) - positive
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _data() -> Mapping[str, str]:
    speech = [f"{SPEECH}/{name}{end}" for name in UTTERANCES for end in (".wav", ".phone.json")]
    speech += [f"{SPEECH}/{name}" for name in OTHER_SPEAKERS]
    return data.digests([data.member(SILERO_VAD, NETWORK), *(data.member(POCKETSPHINX, name) for name in speech)])


silero = Model(
    name="silero",
    form="onnx",
    load=_load,
    inputs=_inputs,
    evaluate=_evaluate,
    calibration=_calibration,
    batchable=False,
    data=_data,
)
