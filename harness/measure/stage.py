"""The stages of measuring a case: told when they begin, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stage"]


@contextmanager
def stage(progress: Callable[[str], None], seconds: dict[str, float], name: str) -> Iterator[None]:
    """Tell `progress` that a stage begins, and note in `seconds`, by its name, how long it took."""
    progress(name)
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)
