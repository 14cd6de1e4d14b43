"""What is installed: the copies of the project's own packages, by the names that it gives its distributions, and what
came from elsewhere than an index.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from harness.worker.imported import INSTALLED, folder_of

__all__ = ["edited", "files_of", "from_elsewhere", "made_from", "modules_of", "names_in"]


def names_in(projects: Iterable[Path]) -> tuple[str, ...]:
    """The names of distributions that these `pyproject.toml` files give. One that gives none is passed over, and so is
    one that can't be read: tests are made with such files.
    """
    found = []
    for path in projects:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            told = tomllib.loads(path.read_text(encoding="utf-8"))
            found.append(told.get("project", {}).get("name") or told.get("tool", {}).get("poetry", {}).get("name"))
    return tuple(name for name in found if isinstance(name, str) and name)


@functools.cache
def files_of(names: tuple[str, ...], folder: Path) -> frozenset[Path]:
    """The files that distributions of these names have in a folder of installed packages.

    Of editable ones nothing is a copy: what they have there finds the project's own files.
    """
    every = (one for name in names for one in distributions(name=name, path=[str(folder)]))
    copies = (one for one in every if (folder_of(one) or ("", True))[1])
    return frozenset(folder / file for one in copies for file in one.files or ())


def from_elsewhere() -> Iterator[tuple[str, tuple[Path, str]]]:
    """Distributions that were installed from elsewhere than an index (PEP 610), by name: the folder, if it was one, and
    where they were copied the digests of their files, else "". Their version may stay while their code changes. The
    harness is counted already.
    """
    for distribution in distributions():
        told = distribution.read_text("direct_url.json")
        if not told:
            if developed := _developed(distribution):
                yield f"unrecorded {distribution.metadata['Name']}", (developed, "")
            continue
        if (name := distribution.metadata["Name"]) == "inference-harness":
            continue
        folder, copied = folder_of(distribution) or ("", True)
        yield f"local {name}", (Path(folder), f"{told}{_record(distribution)}" if copied else "")


def _developed(distribution: Distribution) -> Path | None:
    """The folder of a distribution that is imported from where it lies, as older pips leave it for -e (`setup.py
    develop`): setuptools described it there, and no record tells of it. None of all others, and of Python's own parts.
    """
    place = Path(str(distribution.locate_file("")))
    if INSTALLED & {*place.parts}:
        return None
    folder = place.resolve()
    standard = Path(os.__file__).resolve().parent
    developed = folder.is_dir() and not folder.is_relative_to(standard) and distribution.read_text("PKG-INFO")
    return folder if developed else None


def _record(distribution: Distribution) -> str:
    return distribution.read_text("RECORD") or "copied"


_STRAY = {"benchmarks", "conftest", "docs", "examples", "scripts", "setup", "test", "tests"}
"""What some distributions leave beside their packages, and a project has of its own."""


@functools.cache
def modules_of(names: tuple[str, ...], folder: Path) -> Mapping[str, Path]:
    """The modules that distributions of these names have in a folder of installed packages, each with its file."""
    found = dict[str, Path]()
    for file in files_of(names, folder):
        place = file.relative_to(folder).with_name(file.name.partition(".")[0])
        if file.suffix in (".py", ".so") and place.parts[0] not in _STRAY:
            found[".".join(place.parts).removesuffix(".__init__")] = file
    return found


def edited(names: Iterable[str]) -> tuple[Path, ...]:
    """The folders from which the running interpreter has distributions of these names in place (`pip install -e`)."""
    every = (folder_of(one) for name in names for one in distributions(name=name))
    return tuple(Path(folder).resolve() for folder, copied in filter(None, every) if not copied)


def made_from(file: Path) -> Path | None:
    """The folder that an installed file was copied from (`pip install .`, PEP 610); None of all others."""
    return next((made for folder in file.parents if (made := _copies(folder).get(file))), None)


@functools.cache
def _copies(folder: Path) -> dict[Path, Path]:
    """The files in a folder of installed packages that were copied from a folder, each with that one."""
    found = dict[Path, Path]()
    for one in distributions(path=[str(folder)]):
        source, copied = folder_of(one) or ("", False)
        if copied:
            found |= {folder / file: Path(source).resolve() for file in one.files or ()}
    return found
