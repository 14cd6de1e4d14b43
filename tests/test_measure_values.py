"""From launches to the values of metrics: what nobody could give is left out, and all else that is missing is said."""

from __future__ import annotations

import dataclasses
import math

import pytest

from harness.errors import MeasurementError
from harness.measure.values import measurements_of
from harness.metrics import Metric, resolve
from harness.records import Launch
from tests.judge_samples import a_launch

ALONE = dataclasses.replace(a_launch(), latency={"p50": 0.01, "mean": 0.01}, calls=9)
IN_TURNS = dataclasses.replace(ALONE, anchored=None, speedup=None, against=1.0)


def derived_from(name: str) -> Metric:
    return Metric("gain", "x", "higher", tolerance=0.1, derive=lambda values: 2 * values[name])


@pytest.mark.parametrize("launch", [ALONE, IN_TURNS], ids=["alone", "in turns"])
@pytest.mark.parametrize("name", ["speedup", "fidelity.sqnr", "energy.per_call", "gpu_memory.process", "time.prepare"])
def test_what_is_derived_from_a_built_in_metric_that_was_not_measured_is_left_out_as_it_is(
    name: str, launch: Launch
) -> None:
    """The reference has no speed-up, and was invalid in each ordinary run; so was what had been prepared before."""
    launches = [dataclasses.replace(launch, speedup=None)] * 3
    found = {one.metric for one in measurements_of(launches, 1, {"size": 4.0}, resolve([derived_from(name)]))}
    assert {"latency.p50", "size"} <= found
    assert not {"gain", name} & found


@pytest.mark.parametrize("launch", [ALONE, IN_TURNS], ids=["alone", "in turns"])
@pytest.mark.parametrize("name", ["thruput", "fidelity.snqr"])
def test_what_is_derived_from_a_name_that_no_metric_has_is_invalid(name: str, launch: Launch) -> None:
    with pytest.raises(MeasurementError, match=rf"metric gain can't be derived: KeyError\('{name}'\)") as caught:
        measurements_of([launch], 1, {}, resolve([derived_from(name)]))
    assert caught.value.outcome == "invalid"


def test_throughput_is_the_items_of_calls_one_after_the_other() -> None:
    """By the median time, or the call's alone, a case whose calls now and then take long would have had more of it."""
    skewed = dataclasses.replace(ALONE, latency={"p50": 0.01, "mean": 0.016})
    found = {one.metric: one.values for one in measurements_of([skewed], 8, {}, resolve())}
    assert found["throughput"] == pytest.approx((500.0,))
    assert (found["latency.p50"], found["latency.mean"]) == ((0.01,), (0.016,))


def test_what_can_be_derived_is_so_in_turns_as_well() -> None:
    *_, gain = measurements_of([IN_TURNS], 1, {}, resolve([derived_from("throughput")]))
    assert (gain.metric, gain.values) == ("gain", (200.0,))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_derived_value_that_is_no_finite_number_names_its_metric(value: float) -> None:
    metrics = resolve([Metric("gain", "x", "higher", derive=lambda _: value)])
    with pytest.raises(MeasurementError, match=f"metric gain can't be derived: its `derive` gave {value};") as caught:
        measurements_of([ALONE], 1, {}, metrics)
    assert caught.value.outcome == "invalid"


def test_a_metric_that_nobody_gives_is_told_with_its_cure() -> None:
    metrics = resolve([Metric("auc", "share", "higher")])
    with pytest.raises(MeasurementError) as caught:
        measurements_of([ALONE], 1, {}, metrics)
    assert str(caught.value).startswith("metric auc was declared by the suite, and neither its `derive` nor")
    assert "give this model a file of its own, or the metric a `derive`" in str(caught.value)
    assert "auc" in {one.metric for one in measurements_of([ALONE], 1, {"auc": 0.9}, metrics)}
