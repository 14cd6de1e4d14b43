"""What pytest-benchmark runs: one call of the artefact that RIVAL_ARTEFACT names. Started by `rivals.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.rival_calls import caller


def test_case(benchmark: Any) -> None:
    """The benchmark; its name is the same for every artefact, so that the plugin compares them."""
    benchmark(caller(Path(os.environ["RIVAL_ARTEFACT"])))
