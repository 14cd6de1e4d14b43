from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from harness.measure import thinning
from harness.measure.thinning import thinned
from harness.records import Launch, Outcome, Result

SAMPLES = {"candidate": tuple(float(number) for number in range(400)), "anchor": (1.0,) * 90}
LAUNCH = Launch("screen", 10, 1.0, None, SAMPLES, 1.0, 0.1, 1.0, latency={"p50": 200.0})
RESULT = Result("suite", "a/b/cpu", "id", "a", "b", "cpu", Outcome.COMPLETED, launches=(LAUNCH,) * 3)


def test_a_usual_run_keeps_every_sample() -> None:
    assert thinned(RESULT, 1000) is RESULT
    assert thinned(dataclasses.replace(RESULT, launches=()), 10_000).launches == ()


@pytest.mark.parametrize(("cases", "kept"), [(10_000, 66), (10**9, 20), (1700, 392)])
def test_a_run_of_very_many_cases_keeps_its_part_evenly(cases: int, kept: int) -> None:
    found = thinned(RESULT, cases)
    for launch in found.launches:
        steps = {later - earlier for earlier, later in pairwise(launch.samples["candidate"])}
        assert max(steps) - min(steps) <= 1
        assert len(launch.samples["candidate"]) == kept
        assert launch.samples["candidate"][0] == 0.0
        assert launch.latency == LAUNCH.latency
    assert sum(len(v) for one in found.launches for v in one.samples.values()) <= max(
        thinning.SAMPLES_OF_A_RUN / cases, 6 * thinning.LEAST_SAMPLES
    )
