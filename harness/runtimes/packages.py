"""Which Python packages a runtime or technique needs, how to get those that are missing, and what they are told."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["installed", "missing", "variable"]


def missing(extra: str, *modules: str) -> str | None:
    """Why the top-level modules of an extra can't be imported here, and the cure; None where all are installed.

    Nothing is imported: a module is looked up, so that this is cheap enough for collection.
    """
    absent = [module for module in modules if not _found(module)]
    if not absent:
        return None
    verb = "is" if len(absent) == 1 else "are"
    return f"{' and '.join(absent)} {verb} not installed (pip install 'inference-harness[{extra}]')"


@functools.cache
def _found(module: str) -> bool:
    """Looked up once in a process: every case of a grid asks, and the search goes through all folders of packages."""
    return importlib.util.find_spec(module) is not None


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
