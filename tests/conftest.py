"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

# A pytest that a test starts is no worker: pytest-benchmark would switch itself off there.
os.environ.pop("PYTEST_XDIST_WORKER", None)


@pytest.fixture(autouse=True)
def _denormals_as_python_has_them() -> Iterator[None]:
    """The torch runtimes make a process flush denormals, as a served model wants it; other tests need whole floats."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
