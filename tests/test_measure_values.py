"""From launches to the values of metrics: what nobody could give is left out, and all else that is missing is said."""

from __future__ import annotations

import dataclasses

import pytest

from harness.errors import MeasurementError
from harness.measure.values import measurements_of
from harness.metrics import Metric, resolve
from tests.judge_samples import a_launch

ALONE = dataclasses.replace(a_launch(), latency={"p50": 0.01, "mean": 0.01}, calls=9)
IN_TURNS = dataclasses.replace(ALONE, anchored=None, speedup=None, against=1.0)


def derived_from(name: str) -> Metric:
    return Metric("gain", "x", "higher", tolerance=0.1, derive=lambda values: 2 * values[name])


@pytest.mark.parametrize("name", ["speedup", "fidelity.sqnr", "energy.per_call"])
def test_what_is_derived_from_what_turns_do_not_measure_is_left_out_there(name: str) -> None:
    metrics = resolve([derived_from(name)])
    found = {one.metric for one in measurements_of([IN_TURNS] * 3, 1, {"size": 4.0}, metrics)}
    assert {"latency.p50", "size"} <= found
    assert "gain" not in found
    elsewhere = dataclasses.replace(ALONE, speedup=None)
    with pytest.raises(MeasurementError, match="metric gain can't be derived: KeyError") as caught:
        measurements_of([elsewhere] * 3, 1, {"size": 4.0}, metrics)
    assert caught.value.outcome == "invalid"


def test_what_can_be_derived_is_so_in_turns_as_well() -> None:
    *_, gain = measurements_of([IN_TURNS], 1, {}, resolve([derived_from("throughput")]))
    assert (gain.metric, gain.values) == ("gain", (200.0,))
    with pytest.raises(MeasurementError, match=r"metric gain can't be derived: KeyError\('thruput'\)"):
        measurements_of([IN_TURNS], 1, {}, resolve([derived_from("thruput")]))


def test_a_metric_that_nobody_gives_is_told_with_its_cure() -> None:
    metrics = resolve([Metric("auc", "share", "higher")])
    with pytest.raises(MeasurementError) as caught:
        measurements_of([ALONE], 1, {}, metrics)
    assert str(caught.value).startswith("metric auc was declared by the suite, and neither its `derive` nor")
    assert "give this model a file of its own, or the metric a `derive`" in str(caught.value)
    assert "auc" in {one.metric for one in measurements_of([ALONE], 1, {"auc": 0.9}, metrics)}
