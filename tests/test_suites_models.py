"""The bundled models, on their real data: what they are called with, how well they do, and that data is kept apart."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Evaluation, Model, UnavailableError, digest_arrays
from suites import models
from suites.models import (
    basic_pitch,
    basic_pitch_litert,
    diamonds,
    diamonds_student,
    digits,
    digits_student,
    gpt_decode,
    gpt_prefill,
    gpt_student,
    magika,
    minilm,
    silero,
)
from suites.models.basic_pitch import chord, chords
from suites.models.diamonds import batches as lots
from suites.models.diamonds import of_price, stones
from suites.models.digits import batches, images
from suites.models.gpt import ALPHABET, CONTEXT, PROMPT, PROMPTS, SEED, STREAMS, symbols, windows
from suites.models.magika import features, files
from suites.models.minilm import texts, tokens
from suites.models.silero import _area, recordings

ALL = (
    digits,
    digits_student,
    minilm,
    magika,
    silero,
    gpt_prefill,
    gpt_decode,
    gpt_student,
    basic_pitch,
    basic_pitch_litert,
    diamonds,
    diamonds_student,
)
SHAPES = {
    "digits": {"image": ((3, 1, 28, 28), np.float32)},
    "digits_student": {"image": ((3, 1, 28, 28), np.float32)},
    "minilm": {"ids": ((3, 48), np.int64), "mask": ((3, 48), np.int64)},
    "magika": {"bytes": ((3, 2048), np.int32)},
    "silero": {"input": ((32, 576), np.float32), "h": ((1, 1, 128), np.float32), "c": ((1, 1, 128), np.float32)},
    "gpt_prefill": {"ids": ((3, 64), np.int64)},
    "gpt_student": {"ids": ((3, 64), np.int64)},
    "gpt_decode": {
        "id": ((3,), np.int64),
        "position": ((3,), np.int64),
        "keys": ((3, 2, 3, 127, 32), np.float32),
        "values": ((3, 2, 3, 127, 32), np.float32),
    },
    "basic_pitch": {"serving_default_input_2:0": ((3, 43844, 1), np.float32)},
    "basic_pitch_litert": {"input_2": ((1, 43844, 1), np.float32)},
    "diamonds": {"numbers": ((3, 6), np.float32), "grades": ((3, 3), np.int64)},
    "diamonds_student": {"numbers": ((3, 6), np.float32), "grades": ((3, 3), np.int64)},
}


def by_name(model: Model) -> str:
    return model.name


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def predictor(model: Model, size: int = 32) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """`predict` in the model's native runtime, `size` examples a call where they are independent."""
    if model.form == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.load(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def call(inputs: Mapping[str, Any]) -> dict[str, Any]:
            return dict(zip(names, session.run(None, dict(inputs)), strict=True))
    elif model.form == "litert":
        interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model.load(), num_threads=1)
        runner = interpreter.get_signature_runner()

        def call(inputs: Mapping[str, Any]) -> dict[str, Any]:
            return dict(runner(**inputs))
    else:
        import torch

        from harness.runtimes.torch_session import named_outputs

        network = model.load()

        def call(inputs: Mapping[str, Any]) -> dict[str, Any]:
            with torch.inference_mode():
                outputs = named_outputs(network(*(torch.from_numpy(array.copy()) for array in inputs.values())))
            return {name: tensor.numpy() for name, tensor in outputs.items()}

    def predict(inputs: Mapping[str, Any]) -> dict[str, Any]:
        if not model.batchable:
            return call(inputs)
        count = len(next(iter(inputs.values())))
        parts = [call({k: v[i : i + size] for k, v in inputs.items()}) for i in range(0, count, size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return predict


@functools.cache
def evaluation(name: str) -> Evaluation:
    """How well the model of this name does in its native runtime."""
    (model,) = (model for model in ALL if model.name == name)
    return model.evaluate(predictor(model))


def test_importing_the_models_reads_nothing_and_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; import suites.models; "
        "print(json.dumps([m for m in ('numpy', 'torch', 'onnx', 'onnxruntime', 'tokenizers') if m in sys.modules]))"
    )
    root = Path(models.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("model", ALL, ids=by_name)
def test_absent_data_is_unavailable_with_the_cure(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before what reads the data, since it has them read again."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    for cached in (images, texts, files, recordings, symbols, stones):
        cached.cache_clear()
    assert model.data is not None
    with pytest.raises(UnavailableError, match=r"run python -m suites\.fetch"):
        model.data()


@pytest.mark.parametrize("model", ALL, ids=by_name)
def test_inputs_are_real_examples_that_differ_by_seed(model: Model) -> None:
    batch = 3 if model.batchable else 1
    found = [dict(model.inputs(batch, seed)) for seed in (0, 1, 0)]
    shapes = {name: (array.shape, array.dtype.type) for name, array in found[0].items()}
    assert shapes == SHAPES[model.name]
    assert digest_arrays(found[0]) == digest_arrays(found[2])
    assert digest_arrays(found[0]) != digest_arrays(found[1])


@pytest.mark.parametrize("model", ALL, ids=by_name)
def test_every_digest_is_of_a_file_and_stays(model: Model) -> None:
    assert model.data is not None
    found = dict(model.data())
    assert found == dict(model.data())
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in found.values())


@pytest.mark.parametrize(
    ("model", "low", "high", "examples"),
    [
        (digits, 0.985, 0.991, 1000),
        (digits_student, 0.0, 0.3, 1000),
        (minilm, 0.76, 0.80, 1000),
        (magika, 0.70, 0.74, 521),
        (silero, 0.96, 0.975, 4576),
        (gpt_prefill, 0.65, 0.67, 8192),
        (gpt_decode, 0.645, 0.665, 4096),
        (basic_pitch, 0.92, 0.96, 10320),
        (basic_pitch_litert, 0.92, 0.96, 10320),
        (diamonds, 0.82, 0.84, 6721),
        (diamonds_student, 0.0, 0.2, 6721),
    ],
    ids=lambda value: value.name if isinstance(value, Model) else "",
)
def test_the_fp32_network_is_as_good_as_it_should_be(model: Model, low: float, high: float, examples: int) -> None:
    found = evaluation(model.name)
    assert low <= found.value <= high
    assert found.scores.shape == (examples,)
    assert set(np.unique(found.scores)) <= {0.0, 1.0}
    assert found.answers is None or found.answers.shape == (examples,)
    assert (found.answers is None) == model.name.startswith("diamonds"), "a price is no decision"


def test_an_evaluation_asks_the_same_question_whatever_the_answers() -> None:
    right = evaluation("digits")
    wrong = digits.evaluate(lambda inputs: {"output": np.zeros((len(inputs["image"]), 10), np.float32)})
    assert right.workload == wrong.workload
    assert wrong.value == pytest.approx(0.1)


def test_digits_keep_training_and_test_apart() -> None:
    (training, training_labels), (test, test_labels) = images("training"), images("test")
    assert (len(training), len(test)) == (4000, 1000)
    assert np.bincount(training_labels).tolist() == [400] * 10
    assert np.bincount(test_labels).tolist() == [100] * 10
    assert not {image.tobytes() for image in training} & {image.tobytes() for image in test}


def test_an_epoch_of_digits_is_the_same_every_time_and_another_the_next() -> None:
    first, again, second = (list(batches(epoch)) for epoch in (0, 0, 1))
    assert sum(len(labels) for _, labels in first) == 1600
    assert all(np.array_equal(a["image"], b["image"]) for (a, _), (b, _) in zip(first, again, strict=True))
    assert not np.array_equal(first[0][0]["image"], second[0][0]["image"])


def test_training_images_are_moved_and_nothing_else() -> None:
    originals, _ = images("training")
    sums = {round(float(image.sum()), 3) for image in originals}
    (inputs, labels), *_ = batches(0)
    moved = [round(float(image.sum()), 3) in sums for image in inputs["image"]]
    assert inputs["image"].shape == (32, 1, 28, 28)
    assert labels.shape == (32,)
    assert np.mean(moved) > 0.9, "a shift of two pixels leaves all of almost every digit inside"


def test_the_student_is_small_and_the_same_every_time() -> None:
    teacher, student, again = digits.load(), digits_student.load(), digits_student.load()
    sizes = [sum(weight.numel() for weight in network.parameters()) for network in (teacher, student)]
    assert sizes[1] < sizes[0] / 10
    assert all((a == b).all() for a, b in zip(student.parameters(), again.parameters(), strict=True))


def test_minilm_ignores_padding_and_gives_vectors_of_length_one() -> None:
    import torch

    network = minilm.load()
    inputs = tokens(("A fine film.", "Dull, and far too long for the little that it has to say."))
    ids, mask = (torch.from_numpy(array) for array in inputs.values())
    other = torch.where(mask > 0, ids, torch.full_like(ids, 2000))
    with torch.inference_mode():
        found, changed, alone = network(ids, mask), network(other, mask), network(ids[:1, :6], mask[:1, :6])
    assert mask.sum(dim=1).tolist() == [6, 17]
    assert torch.linalg.norm(found, dim=1).numpy() == pytest.approx([1, 1], abs=1e-5)
    assert torch.allclose(found, changed, atol=1e-6)
    assert torch.allclose(found[:1], alone, atol=1e-5)


def test_minilm_works_in_short_types() -> None:
    import torch

    inputs = [torch.from_numpy(array) for array in minilm.inputs(4, 0).values()]
    with torch.inference_mode():
        wanted = minilm.load()(*inputs)
        for dtype in (torch.bfloat16, torch.float16):
            found = minilm.load().to(dtype)(*inputs)
            assert found.dtype == torch.float32
            assert float((found * wanted).sum(dim=1).min()) > 0.99


def test_minilm_keeps_training_and_test_apart() -> None:
    (training, _), (test, labels) = texts("training"), texts("test")
    assert (len(training), len(test)) == (4000, 1000)
    assert not set(training) & set(test)
    assert 0.4 < labels.mean() < 0.6


@pytest.mark.parametrize(
    ("content", "first", "last"),
    [
        (b"  abc \n", b"abc \n", b"  abc"),
        (b"x" * 3000, b"x" * 1024, b"x" * 1024),
        (b" " * 5000 + b"end", b"", b" " * 1021 + b"end"),
        (b"", b"", b""),
    ],
    ids=["small", "large", "blank", "empty"],
)
def test_features_are_the_stripped_ends(content: bytes, first: bytes, last: bytes) -> None:
    found = features(content)
    assert found.shape == (2048,)
    assert found[: len(first)].tolist() == list(first)
    assert (found[len(first) : 1024] == 256).all()
    assert (found[1024 : 2048 - len(last)] == 256).all()
    assert found[2048 - len(last) :].tolist() == list(last)


def test_magika_calibrates_on_other_files_than_it_is_judged_by() -> None:
    calibration, test = files("calibration"), files("test")
    assert not {content for _, content in calibration} & {content for _, content in test}
    assert len({label for label, _ in test}) > 60
    assert max(np.unique([label for label, _ in test], return_counts=True)[1]) <= 12


def test_silero_carries_its_state_through_a_recording() -> None:
    predict = predictor(silero)
    states: list[tuple[Any, Any]] = []

    def watched(inputs: Mapping[str, Any]) -> dict[str, Any]:
        outputs = predict(inputs)
        states.append((inputs["h"], outputs["hn"]))
        return outputs

    silero.evaluate(watched)
    starts = [number for number, (before, _) in enumerate(states) if not before.any()]
    assert len(starts) == len(recordings())
    for number in set(range(1, len(states))) - set(starts):
        assert np.array_equal(states[number][0], states[number - 1][1])


def test_silero_frames_follow_each_other_with_their_context() -> None:
    (calls, speech), *_ = recordings()
    frames = calls.reshape(-1, 576)
    assert np.array_equal(frames[1:, :64], frames[:-1, -64:])
    assert not frames[0, :64].any()
    assert speech.shape == calls.shape[:2]
    assert 0.4 < speech.mean() < 0.8


def test_silero_hears_one_stream() -> None:
    with pytest.raises(ValueError, match="one stream"):
        silero.inputs(2, 0)


def test_the_area_of_silero_is_that_of_scipys_ranks() -> None:
    from scipy.stats import rankdata

    random = np.random.default_rng(0)
    for levels in (2, 50, 1_000_000):  # nearly all are equal, some, hardly any
        probability = random.integers(0, levels, 4576).astype(np.float32) / np.float32(levels)
        truth = random.random(4576) < 0.6
        positive = int(truth.sum())
        above = rankdata(probability)[truth].sum() - positive * (positive + 1) / 2
        assert _area(probability, truth) == above / (positive * (4576 - positive))


def test_a_text_is_kept_apart_and_read_as_symbols() -> None:
    training, test = symbols("training"), symbols("test")
    assert len(training) > 10 * len(test) > 1_000_000
    assert 0 <= min(training.min(), test.min()) <= max(training.max(), test.max()) == 96
    assert np.mean(training == 0) < 0.01, "hardly a character is outside of the alphabet"
    text = "".join(ALPHABET[symbol - 1] for symbol in test[:4000] if symbol)
    assert "import" in text


@pytest.mark.parametrize(
    ("model", "seed", "count", "length", "seen"),
    [(gpt_prefill, 5, PROMPTS, PROMPT + 1, 13), (gpt_decode, 6, STREAMS, CONTEXT + 1, 1)],
    ids=["prompts", "streams"],
)
def test_little_of_what_is_judged_stands_in_the_training(
    model: Model, seed: int, count: int, length: int, seen: int
) -> None:
    """Files are apart, and lines that they share are not: the docstring of the models says in how many pieces."""
    pieces = windows("test", count, length, (SEED, seed))
    assert evaluation(model.name).workload == digest_arrays({"pieces": pieces}), "these are the pieces that are judged"
    whole = symbols("training").astype(np.uint8).tobytes()
    assert sum(piece.astype(np.uint8).tobytes() in whole for piece in pieces) == seen


def test_writing_on_foretells_what_reading_at_once_does() -> None:
    from suites.models.gpt_network import SLOTS

    prefill, decode = predictor(gpt_prefill), predictor(gpt_decode)
    pieces = windows("test", 2, CONTEXT, 1)
    wanted = prefill({"ids": pieces})
    shape = (2, *wanted["keys"].shape[1:3], SLOTS, wanted["keys"].shape[4])
    # What stands in slots that are not filled yet is never read.
    cache = {name: np.full(shape, 1e3, np.float32) for name in ("keys", "values")}
    for position in range(CONTEXT):
        found = decode({"id": pieces[:, position], "position": np.full(2, position), **cache})
        assert np.allclose(found["logits"], wanted["logits"][:, position], atol=1e-3)
        if position < SLOTS:
            cache["keys"][:, :, :, position] = found["key"]
            cache["values"][:, :, :, position] = found["value"]
    assert np.allclose(cache["values"], wanted["values"][:, :, :, :SLOTS], atol=1e-4)


def test_perplexity_is_that_of_the_logits() -> None:
    def uniform(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": np.zeros((*inputs["ids"].shape, 97), np.float32)}

    found = gpt_prefill.evaluate(uniform)
    assert found.metrics["perplexity"] == pytest.approx(97)
    assert found.metrics["bits_per_character"] == pytest.approx(np.log2(97))
    good = evaluation("gpt_prefill")
    assert 3.5 < good.metrics["perplexity"] < 4.0
    assert good.metrics["perplexity"] == pytest.approx(2 ** good.metrics["bits_per_character"])


def test_a_chord_sounds_when_its_labels_say_so() -> None:
    samples, sounding = chord(0, 0)
    assert samples.shape == (43844, 1)
    assert 2 <= sounding.any(axis=0).sum() <= 5
    loud = np.abs(samples[: 171 * 256, 0]).reshape(171, 256).max(axis=1)
    silent = ~sounding[:171].any(axis=1)
    assert loud[silent].max() < 0.2 < loud[~silent].max()
    tests, calibrations = (chords(part)[0] for part in ("test", "calibration"))
    assert not {one.tobytes() for one in tests} & {one.tobytes() for one in calibrations}


def test_both_files_of_basic_pitch_hear_the_same() -> None:
    pytest.importorskip("ai_edge_litert.interpreter")
    onnx, litert = evaluation("basic_pitch"), evaluation("basic_pitch_litert")
    assert onnx.workload == litert.workload
    assert onnx.value == pytest.approx(litert.value, abs=1e-3)
    assert onnx.answers is not None
    assert litert.answers is not None
    assert np.mean(onnx.answers == litert.answers) > 0.99


def test_diamonds_keep_training_and_test_apart() -> None:
    (training, bought), (test, sold) = stones("training"), stones("test")
    assert len(bought) == pytest.approx(7 * len(sold), rel=0.001)
    rows = [
        {(*numbers, *grades, price) for numbers, grades, price in zip(*map(np.ndarray.tolist, columns), strict=True)}
        for columns in ((*training.values(), bought), (*test.values(), sold))
    ]
    assert not rows[0] & rows[1]
    assert min(array["numbers"].min() for array in (training, test)) > 0
    assert [int(column.max()) for column in training["grades"].T] == [4, 6, 7]


def test_an_epoch_of_diamonds_is_the_same_every_time_and_another_the_next() -> None:
    first, again, second = (list(lots(epoch, size=1000)) for epoch in (0, 0, 1))
    assert [wanted.shape for _, wanted in first] == [(256, 1)] * 3
    assert all(np.array_equal(a["numbers"], b["numbers"]) for (a, _), (b, _) in zip(first, again, strict=True))
    assert not np.array_equal(first[0][0]["numbers"], second[0][0]["numbers"])


@pytest.mark.parametrize(("factor", "share"), [(1.0, 1.0), (1.099, 1.0), (0.901, 1.0), (1.101, 0.0), (0.899, 0.0)])
def test_a_price_is_right_within_a_tenth_of_what_was_paid(factor: float, share: float) -> None:
    _, prices = stones("test")
    found = diamonds.evaluate(lambda _: {"price": of_price(factor * prices)})
    assert found.value == share
    assert found.metrics["price_error"] == pytest.approx(abs(factor - 1), abs=1e-5)


def test_dearer_stones_are_larger_or_better() -> None:
    predict = predictor(diamonds, size=512)
    inputs = {name: array[:512].copy() for name, array in stones("test")[0].items()}
    prices = predict(inputs)
    flawless = predict({**inputs, "grades": np.tile([4, 0, 7], (512, 1))})
    assert np.mean(next(iter(flawless.values())) > next(iter(prices.values()))) > 0.95
