"""Which Python packages a runtime or technique needs, how to get those that are missing or too old, what they are told,
and which hide a suite.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import PreparationError

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["check_not_hidden", "installed", "missing", "variable"]


def missing(extra: str, *modules: str) -> str | None:
    """Why the top-level modules of an extra can't be used here, and the cure; None where all are installed, and none is
    older than what the harness needs.

    Nothing is imported: a module is looked up, so that this is cheap enough for collection.
    """
    absent = [module for module in modules if not _found(module)]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        return f"{' and '.join(absent)} {verb} not installed (pip install 'inference-harness[{extra}]')"
    old = [said for module in modules if (said := _too_old(module))]
    return f"{'; '.join(old)} (pip install --upgrade 'inference-harness[{extra}]')" if old else None


@functools.cache
def _found(module: str) -> bool:
    """Looked up once in a process: every case of a grid asks, and the search goes through all folders of packages."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # a folder of that name, as of exported models, has no file


@functools.cache
def _too_old(module: str) -> str:
    """Which version of a module's distribution is installed, and which is needed; "" where it is new enough.

    It has the module's name. What one of another name brings, as onnxruntime-gpu does, is taken as it is.
    """
    from importlib import metadata  # not above: with email and csv it takes 1.3 MB and 28 ms of every launch

    from packaging.version import InvalidVersion, Version

    name = module.replace("_", "-")
    oldest = _oldest().get(name)
    if oldest is None:
        return ""
    try:
        told = metadata.distribution(name).metadata
        version = Version(told["Version"]) if "Version" in told else None
    except (metadata.PackageNotFoundError, InvalidVersion, FileNotFoundError):  # the last of one without metadata
        return ""
    # Of a build before a release, 2.13.0a0 or 2.14.0.dev1, the number of that release counts: it has most of it.
    if version is None or Version(version.base_version) >= oldest:
        return ""
    return f"{name} {version} is installed, and {oldest} or newer is needed"


@functools.cache
def _oldest() -> Mapping[str, Version]:
    """The oldest version of each distribution that the harness and its extras take, as its own metadata say."""
    from importlib import metadata

    from packaging.requirements import Requirement
    from packaging.version import Version

    try:
        texts = metadata.requires("inference-harness") or []
    except metadata.PackageNotFoundError:  # imported from a checkout that is not installed
        return {}
    bounds = [(needed.name, bound) for needed in map(Requirement, texts) for bound in needed.specifier]
    return {name: Version(bound.version) for name, bound in bounds if bound.operator == ">="}


def installed(extra: str, *modules: str) -> Callable[[object, str], str | None]:
    """`missing` for a technique's `requires`: packages are there or not for all hardware and forms alike."""
    return lambda *_: missing(extra, *modules)


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """A variable of the environment that packages read, set meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def check_not_hidden(classes: Iterable[type]) -> None:
    """Raise `PreparationError` where another process would not find the module of a class, since a package elsewhere
    has the name of its folder: a worker imports a suite by its file, and who unpickles a network by its name.
    """
    for name in sorted({each.__module__ for each in classes}):
        top, *rest = name.split(".")
        file = getattr(sys.modules.get(name), "__file__", None)
        folder = Path(file).parents[len(rest) - 1] if file and rest else None
        if folder is None or folder.name != top:
            continue
        found = sys.modules[top].__spec__ if top in sys.modules else importlib.util.find_spec(top)
        if not found or not found.origin:
            continue
        places = getattr(sys.modules.get(top), "__path__", found.submodule_search_locations)
        if PathFinder.find_spec(f"{top}.{rest[0]}", places or []) is None:
            raise PreparationError(
                f"{name} can't be imported where the network is served: {found.origin} has the name of {folder}, and "
                "hides it; put an empty __init__.py into that folder"
            )
