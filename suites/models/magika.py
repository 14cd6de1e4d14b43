"""Magika: what is in a file? A network over its first and last 1,024 bytes that exists only as ONNX.

The labelled data are files of pinned packages whose extension stands for one content type: whole, and, where they are
texts, as windows of 512 bytes from anywhere in them, which are harder. At most a dozen files of an extension are taken,
so that C and Python do not drown the others; other files of the same extensions are for calibration.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from harness import Model, classification
from suites import data
from suites.pins import MAGIKA, MLXTEND, POCKETSPHINX, PYGMENTS, SILERO_VAD

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["CONTENT_TYPES", "examples", "features", "files", "magika"]

NETWORK = "magika/models/standard_v3_3/model.onnx"
CONFIG = "magika/models/standard_v3_3/config.min.json"
CORPUS = (MLXTEND, POCKETSPHINX, PYGMENTS, SILERO_VAD)
END = 1024
"""Bytes that the network sees of each end of a file."""
BLOCK = 4096
"""Bytes at each end of a file in which white space is stripped before."""
PADDING = 256
WINDOW = 512
WINDOWS = 3
"""Windows taken of each text that is longer than one."""
SMALLEST = 64
TEST, CALIBRATION = 12, 4
"""Files of one extension, at most."""
SEED = 20240229

CONTENT_TYPES = {
    "asm": "asm", "au3": "autoit", "awk": "awk", "bat": "batch", "bib": "bib", "bz2": "bzip", "c": "c", "cc": "cpp",
    "clj": "clojure", "cljs": "clojure", "cmake": "cmake", "cob": "cobol", "coffee": "coffeescript", "cpp": "cpp",
    "cs": "cs", "css": "css", "csv": "csv", "dart": "dart", "eml": "eml", "erl": "erlang", "ex": "elixir",
    "exs": "elixir", "f90": "fortran", "gif": "gif", "go": "go", "gradle": "gradle", "groovy": "groovy", "gz": "gzip",
    "hbs": "handlebars", "hs": "haskell", "html": "html", "ico": "ico", "ini": "ini", "java": "java",
    "jl": "julia", "js": "javascript", "json": "json", "kt": "kotlin", "lisp": "lisp", "lua": "lua",
    "md": "markdown", "ml": "ocaml", "onnx": "onnx", "pas": "pascal", "php": "php", "png": "png", "po": "po",
    "proto": "proto", "ps": "postscript", "ps1": "powershell", "py": "python", "R": "r", "rb": "ruby",
    "reg": "winregistry", "rs": "rust", "rst": "rst", "scala": "scala", "sh": "shell", "smali": "smali",
    "sol": "solidity", "sql": "sql", "swift": "swift", "toml": "toml", "ts": "typescript", "vb": "vba", "vue": "vue",
    "wav": "wav", "xml": "xml", "yaml": "yaml", "yar": "yara", "yml": "yaml", "zig": "zig",
}  # fmt: skip
"""Extension -> label of Magika, for extensions that stand for one content type alone."""
BINARY = frozenset({"bzip", "gif", "gzip", "ico", "onnx", "png", "wav"})
"""Labels whose windows nobody could tell from noise: only their beginning says what they are."""


@functools.cache
def files(part: str) -> tuple[tuple[str, bytes], ...]:
    """Label and content of the files of a part, "test" or "calibration", in a fixed order."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for pin in CORPUS:
        for name in data.files_of(pin):
            extension = PurePosixPath(name).suffix[1:]
            if extension in CONTENT_TYPES:
                content = data.member(pin, name).read_bytes()
                if len(content) >= SMALLEST:
                    found.setdefault(extension, []).append((hashlib.sha256(content).hexdigest(), content))
    chosen = []
    for extension in sorted(found):
        distinct = [content for _, content in sorted(dict(found[extension]).items())]
        own = min(CALIBRATION, len(distinct) // 2)
        of_part = distinct[:own] if part == "calibration" else distinct[own : own + TEST]
        chosen += [(CONTENT_TYPES[extension], content) for content in of_part]
    return tuple(chosen)


def features(content: bytes) -> Array:
    """What the network reads of a file: (2048,) int32, its first and last 1,024 bytes without outer white space.

    Written after `Magika._extract_features_from_seekable` of magika 1.0.3.
    """
    import numpy as np

    first, last = content[:BLOCK].lstrip()[:END], content[-BLOCK:].rstrip()[-END:]
    found = np.full(2 * END, PADDING, np.int32)
    found[: len(first)] = np.frombuffer(first, np.uint8)
    found[2 * END - len(last) :] = np.frombuffer(last, np.uint8)
    return found


@functools.cache
def _examples(part: str) -> tuple[Array, Array]:
    """Features (N, 2048) and labels (N,) of the whole files of a part, then of windows in them."""
    import numpy as np

    config = json.loads(data.member(MAGIKA, CONFIG).read_text(encoding="utf-8"))
    numbers = {label: number for number, label in enumerate(config["target_labels_space"])}
    random = np.random.default_rng(SEED)
    contents = list(files(part))
    for label, content in files(part):
        if label not in BINARY and len(content) > WINDOW:
            starts = random.integers(0, len(content) - WINDOW, WINDOWS)
            contents += [(label, content[start : start + WINDOW]) for start in starts]
    return np.stack([features(content) for _, content in contents]), np.array([numbers[label] for label, _ in contents])


def examples() -> tuple[Mapping[str, Array], Array]:
    """The examples of the test as the network takes them, and their labels."""
    found, labels = _examples("test")
    return {"bytes": found}, labels


def _load() -> str:
    return str(data.member(MAGIKA, NETWORK))


def _inputs(batch_size: int, seed: int) -> Mapping[str, Array]:
    import numpy as np

    found, _ = _examples("test")
    return {"bytes": found[np.random.default_rng(seed).integers(0, len(found), batch_size)]}


def _calibration() -> list[Mapping[str, Array]]:
    found, _ = _examples("calibration")
    # Batches of one size: some calibration methods stack them.
    return [{"bytes": found[end - 16 : end]} for end in range(16, len(found) + 1, 16)]


def _data() -> Mapping[str, str]:
    corpus = hashlib.sha256(b"".join(content for part in ("test", "calibration") for _, content in files(part)))
    return {**data.digests([data.member(MAGIKA, NETWORK), data.member(MAGIKA, CONFIG)]), "files": corpus.hexdigest()}


magika = Model(
    name="magika",
    form="onnx",
    load=_load,
    inputs=_inputs,
    evaluate=classification(examples),
    calibration=_calibration,
    data=_data,
)
