"""From launches, passes and manifests to the values of metrics."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import compress

from harness.disturbance import circumstances
from harness.errors import MeasurementError
from harness.judge.estimate import estimate
from harness.measure.artefacts import Artefact
from harness.metrics import METRICS, Metric
from harness.records import Launch, Measurement, Result

__all__ = [
    "BUILT_IN",
    "counted",
    "exact_measurements",
    "measurements_of",
    "warnings_of",
    "with_latency_of",
]

BUILT_IN = frozenset(metric.name for metric in METRICS)


def counted(artefact: Artefact) -> dict[str, float]:
    """What is counted, not sampled: from the manifest, by metric name."""
    manifest = artefact.manifest
    values = {"size": float(manifest.size)}
    for name in ("parameters", "sparsity", "quantized", "fallbacks"):
        fact = manifest.facts.get(name)
        if isinstance(fact, (int, float)):
            values[name] = float(fact)
    if artefact.fresh:
        values["time.prepare"] = manifest.seconds
    return values


def measurements_of(
    launches: Sequence[Launch], items: int, fixed: Mapping[str, float], metrics: Mapping[str, Metric]
) -> tuple[Measurement, ...]:
    """A measurement for each metric that was measured: one value a launch where it is sampled, else the fixed one.

    One that is derived from a built-in metric which was not measured of this case is left out as that one is: the
    reference has no speed-up. Raises `MeasurementError` (outcome `invalid`) where a metric of the suite's own can't be
    derived otherwise.
    """
    rows = [_of_launch(one, items) for one in launches]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    sampled = {name: tuple(row[name] for row in rows) for name in names}
    values = {**sampled, **{name: (value,) for name, value in fixed.items()}}
    for metric in metrics.values():
        if metric.derive is not None:
            derive = metric.derive
            try:
                derived = tuple(float(derive({**fixed, **row})) for row in rows)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                if isinstance(error, KeyError) and error.args and str(error.args[0]) in BUILT_IN:
                    continue
                raise MeasurementError(
                    f"metric {metric.name} can't be derived: {error!r}", outcome="invalid"
                ) from error
            if wrong := [value for value in derived if not math.isfinite(value)]:
                raise MeasurementError(
                    f"metric {metric.name} can't be derived: its `derive` gave {wrong[0]}; give a finite number",
                    outcome="invalid",
                )
            values[metric.name] = derived
    absent = [name for name, one in metrics.items() if not (name in BUILT_IN or one.derive or name in values)]
    if absent:
        raise MeasurementError(
            f"metric {absent[0]} was declared by the suite, and neither its `derive` nor "
            "the model's Evaluation.metrics gives it; metrics hold for the whole file: give this model a file of its "
            "own, or the metric a `derive`",
            outcome="invalid",
        )
    samples = min(one.calls for one in launches)
    counted = [one.counts for one in launches]
    relative = tuple(one.anchored for one in launches if one.anchored is not None)
    return tuple(
        Measurement(
            name,
            estimate(_counted(values[name], counted), samples),
            values[name],
            relative if name == "latency.p50" else (),
        )
        for name in metrics
        if name in values
    )


def _counted(values: Sequence[float], counted: Sequence[bool]) -> Sequence[float]:
    """The values of launches that count; what has one value for all of them keeps it."""
    return list(compress(values, counted)) if len(values) == len(counted) else values


def exact_measurements(values: Mapping[str, float]) -> tuple[Measurement, ...]:
    """Measurements of what has one value."""
    return tuple(Measurement(name, estimate((value,)), (value,)) for name, value in values.items())


def with_latency_of(previous: Result, launches: Sequence[Launch]) -> Result:
    """The other tree's result with the latencies that its arm had in these launches."""
    counted = [one for one in launches if one.counts]
    medians = tuple(statistics.median(one.samples["previous"]) for one in counted if "previous" in one.samples)
    if not medians:
        return previous
    latency = Measurement("latency.p50", estimate(medians), medians)
    return dataclasses.replace(previous, measurements=(latency, *previous.measurements))


def _of_launch(one: Launch, items: int) -> dict[str, float]:
    """The sampled metrics of one launch."""
    values = {f"latency.{name}": value for name, value in one.latency.items()}
    values["throughput"] = items / one.latency["mean"]
    values["utilization.cpu"] = one.cpu_share
    values["time.load"] = one.load_seconds
    if one.speedup is not None:
        values["speedup"] = one.speedup
    busy = one.state.get("utilization")
    if isinstance(busy, (int, float)):
        values["utilization.gpu"] = float(busy)
    return values


def warnings_of(result: Result) -> tuple[str, ...]:
    """What a reader should know of the launches that count, and of those that were made again."""
    repeated = sum(not launch.counts for launch in result.launches)
    found = circumstances(result.launches).removeprefix("; ")
    again = f"{repeated} disturbed {'launch was' if repeated == 1 else 'launches were'} made again" if repeated else ""
    short = "its time was over before it was decided: more launches could tell" if result.cut_short else ""
    return tuple(text for text in (found, again, short) if text)
