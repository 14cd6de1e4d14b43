"""What a package of AOTInductor computes, read from the C++ source that it holds beside the library made of it."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Constant", "Source", "read_source"]

_CONSTANT = re.compile(r"constants_info_\[(\d+)\]\.(dtype|shape) = (.*?);")
_CALL = re.compile(r"\baoti_torch_(?:cpu|cuda)_(\w+)\(")
_NO_KERNELS = ("empty", "as_strided", "view", "reinterpret")


@dataclass(frozen=True)
class Constant:
    """A tensor that the library holds: its type (`float32`) and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """The constants of a library, and the names of the kernels of torch that its code calls, in order."""

    constants: tuple[Constant, ...]
    calls: tuple[str, ...]


def read_source(package: Path) -> Source | None:
    """What the source in a package says; None where the package holds none.

    Kernels that the compiler wrote itself are no calls of this kind; products and convolutions on a CPU are, unless
    `max-autotune` was asked for.
    """
    with zipfile.ZipFile(package) as archive:
        names = [name for name in archive.namelist() if name.endswith(".wrapper.cpp")]
        texts = [archive.read(name).decode("utf-8", errors="replace") for name in names]
    if not texts:
        return None
    constants: list[Constant] = []
    calls: list[str] = []
    for text in texts:
        found: dict[str, dict[str, str]] = {}
        for number, field, value in _CONSTANT.findall(text):
            found.setdefault(number, {})[field] = value
        for fields in found.values():
            dtype = re.search(r"dtype_(\w+)", fields.get("dtype", ""))
            shape = tuple(int(length) for length in re.findall(r"\d+", fields.get("shape", "")))
            if dtype:
                constants.append(Constant(dtype[1], shape))
        calls += [name for name in _CALL.findall(_body(text)) if not name.startswith(_NO_KERNELS)]
    return Source(tuple(constants), tuple(calls))


def _body(text: str) -> str:
    """The part of the source that computes, which comes after the declarations and the constants."""
    return text.partition("::run_impl(")[2]
