"""How often an alarm was false, and how often it may be."""

from __future__ import annotations

import pytest

from harness.judge.alarms import alarms_of, at_most
from harness.records import Comparison, Verdict


def test_the_bound_is_exact() -> None:
    assert at_most(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert at_most(1, 10) == pytest.approx(0.3942, abs=1e-4)  # Clopper and Pearson's tables, one-sided 95 %
    assert at_most(4, 4) == 1.0
    assert at_most(0, 0) is None


def test_verdicts_are_counted_and_alarms_named() -> None:
    words = ["unchanged"] * 6 + ["inconclusive", "improved", "regressed", "incomparable"]
    found = alarms_of([Comparison("s", f"case{i}", "size", Verdict(word), "why.") for i, word in enumerate(words)])
    assert (found.verdicts, found.unchanged, found.inconclusive, found.improved) == (9, 6, 1, 1)
    assert found.false == ("case8: why.",)
    assert found.bound == at_most(1, 9)
