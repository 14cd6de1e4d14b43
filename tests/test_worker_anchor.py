"""The anchor is frozen: its work and its inputs change with its number alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.model import digest_arrays
from harness.worker.anchor import ANCHOR, AnchorSession


def test_the_work_of_a_number_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another amount of it would shift every ratio that is compared with a baseline's."""
    anchor = AnchorSession()
    exp: Any = anchor._exp
    assert exp is np.exp
    asked: list[tuple[object, ...]] = []

    def counted(angles: Any, out: Any) -> None:
        asked.append((angles.shape, angles.dtype.name, out.shape, out.dtype.name, out.ctypes.data))
        exp(angles, out=out)

    monkeypatch.setattr(anchor, "_exp", counted)
    for batch in anchor.batches():
        asked.clear()
        staged = anchor.stage(batch)
        found = anchor.fetch(anchor(staged))["output"]
        assert found == pytest.approx(np.exp(batch["angles"])[:8])
        assert (ANCHOR, len(asked)) == (2, 160)
        assert set(asked) == {((4096,), "float32", (4096,), "float32", anchor._powers.ctypes.data)}


def test_the_inputs_of_a_number_stay_the_same() -> None:
    """In thousandths: the last digit of the few largest is the C library's."""

    def whole(array: Any) -> Any:
        return np.rint(array.astype(np.float64) * 1000).astype(np.int32)

    digests = [
        digest_arrays({name: whole(array) for name, array in batch.items()}) for batch in AnchorSession.batches()
    ]
    assert (ANCHOR, digests) == (2, ["f13b09bcdc1951c1", "de1b3a4e081c2379"])
