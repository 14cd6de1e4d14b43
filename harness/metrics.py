"""What can be measured: each metric one object with its name, unit, direction and tolerance.

A metric that has neither a `tolerance` nor a `slack` is reported and never judged. Suites add a metric, or give one of
these other limits, with `@grid(..., metrics=[...])`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harness.errors import SuiteError
from harness.records import Scalar

__all__ = ["METRICS", "TIMES", "Metric", "calls_needed", "resolve"]


@dataclass(frozen=True)
class Metric:
    """One measured quantity.

    name       lower case with dots, such as `latency.p50`
    unit       `s`, `bytes`, `J`, `items/s`, `x` (a ratio), `share` (0..1), `count`, `cosine` or a word of your own
    better     `lower` or `higher`; there is no default, since a gate without a direction can't gate
    tolerance  relative change for the worse that is still accepted (0.05 is 5 %), None where only `slack` counts
    slack      absolute change for the worse that is still accepted, in the metric's unit; a grid takes the tolerance in
               every unit, and this in `share` but for `utilization.cpu`, only where they are less than 1
    portable   whether values of different machines may be compared
    derive     computes the value of a launch from the launch's other values, by metric name; None where the
               harness measures it, or where `Evaluation.metrics` of the model provides it
    help       one sentence for reports

    The limit is the larger of `tolerance * |baseline|` and `slack`.

    Values must be finite, above 0 in `s`, `items/s` and `x`, and 0 or more in `bytes`, `count` and `share`; another
    is `invalid`, with a limit or without. What may be less needs a unit of its own, such as `ms`. In every unit,
    what has a limit and is derived anew in each launch must be above 0, unless it is portable.
    """

    name: str
    unit: str
    better: str
    tolerance: float | None = None
    slack: float | None = None
    portable: bool = False
    derive: Callable[[Mapping[str, float]], float] | None = None
    help: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", self.name):
            raise SuiteError(f"metric name {self.name!r}: use lower case words joined by dots, such as latency.p50")
        if self.better not in ("lower", "higher"):
            raise SuiteError(f"metric {self.name}: better must be 'lower' or 'higher', not {self.better!r}")
        for field in ("tolerance", "slack"):
            value = getattr(self, field)
            if value is not None and not 0 <= value < float("inf"):
                raise SuiteError(f"metric {self.name}: {field} must be a finite number >= 0, not {value!r}")

    @property
    def gates(self) -> bool:
        """Whether a change for the worse can fail a test."""
        return self.tolerance is not None or self.slack is not None

    def limit(self, baseline: float) -> float:
        """The accepted change for the worse, in the metric's unit, against this baseline value."""
        return max((self.tolerance or 0.0) * abs(baseline), self.slack or 0.0)

    def with_tolerance(self, tolerance: float | None = None, slack: float | None = None) -> Metric:
        """The same metric under another limit."""
        return dataclasses.replace(self, tolerance=tolerance, slack=slack)

    def record(self) -> dict[str, Scalar | None]:
        """What a run keeps of the definition, so that a report needs no code of the suite; `derived` where it is."""
        names = ("name", "unit", "better", "tolerance", "slack", "portable", "help")
        return {**{name: getattr(self, name) for name in names}, **({"derived": True} if self.derive else {})}


def _memory(name: str, help: str) -> Metric:
    """A size of memory: repeatable to a few pages, so 2 % or one MiB is a change."""
    return Metric(name, "bytes", "lower", tolerance=0.02, slack=float(2**20), help=help)


METRICS: tuple[Metric, ...] = (
    Metric("latency.p50", "s", "lower", tolerance=0.10, help="Median time of one call; judged relative to the anchor."),
    Metric("latency.p90", "s", "lower", help="90th percentile of the time of one call."),
    Metric("latency.p95", "s", "lower", help="95th percentile of the time of one call."),
    Metric("latency.p99", "s", "lower", help="99th percentile of the time of one call."),
    Metric("latency.mean", "s", "lower", help="Mean time of one call."),
    Metric("throughput", "items/s", "higher", help="Items a second of calls one after the other."),
    Metric("speedup", "x", "higher", tolerance=0.05, help="Reference time over candidate time, an item."),
    _memory("memory.inference", "Peak of the process's own memory during calls, above idle."),
    _memory("memory.peak", "Peak of the process's own memory and of the model's mapped files during calls."),
    _memory("gpu_memory.allocated", "Peak of the allocator's live bytes."),
    _memory("gpu_memory.reserved", "Peak that the allocator holds."),
    _memory("gpu_memory.process", "Device memory of the process, by NVML."),
    Metric("energy.per_call", "J", "lower", help="Energy of one call by the device's counter, idle power included."),
    Metric(
        "utilization.cpu",
        "share",
        "lower",
        help="CPU seconds a second of timed calls, on a GPU with those that timing them takes; 1 is one core busy.",
    ),
    Metric(
        "utilization.gpu",
        "share",
        "higher",
        help="Share of time in which the GPU was busy in all arms' last turns, by NVML: no number of the case alone.",
    ),
    Metric("size", "bytes", "lower", tolerance=0.001, portable=True, help="Bytes of the served model on disk."),
    Metric("parameters", "count", "lower", tolerance=0.0, portable=True, help="Weights of the network."),
    Metric("sparsity", "share", "higher", slack=1e-6, portable=True, help="Share of weights that are exactly zero."),
    Metric("quantized", "share", "higher", slack=1e-6, portable=True, help="Share of weights held in 8 bits or fewer."),
    Metric("fallbacks", "count", "lower", tolerance=0.0, portable=True, help="Nodes that ran on another provider."),
    Metric("accuracy", "share", "higher", slack=0.002, portable=True, help="The model's own metric."),
    Metric(
        "fidelity.error",
        "share",
        "lower",
        tolerance=0.10,
        slack=1e-4,
        portable=True,
        help="Distance of the outputs from the reference's, relative to their size (L2).",
    ),
    Metric(
        "fidelity.sqnr",
        "dB",
        "higher",
        portable=True,
        help="The same in decibels: power of the reference's outputs over that of the difference; none where none is.",
    ),
    Metric(
        "fidelity.cosine",
        "cosine",
        "higher",
        portable=True,
        help="Cosine of the angle between the outputs and the reference's.",
    ),
    Metric(
        "fidelity.identical",
        "share",
        "higher",
        portable=True,
        help="Share of the elements of all outputs that equal the reference's.",
    ),
    Metric(
        "fidelity.agreement",
        "share",
        "higher",
        slack=0.002,
        portable=True,
        help="Share of examples answered as the reference answers them.",
    ),
    Metric(
        "time.load",
        "s",
        "lower",
        help="Time to import the runtime and load the artefact, while the launch's other arms load.",
    ),
    Metric(
        "time.prepare",
        "s",
        "lower",
        help="Wall time to make the artefact, measured when it is made, with up to --jobs - 1 others made beside it.",
    ),
)

TIMES = frozenset(metric.name for metric in METRICS if metric.name.startswith(("latency.", "throughput", "time.")))
"""The times and what follows from them: by name, since an evaluation's own metric may be called `latency.onset`."""


CHANGEABLE = frozenset({"tolerance", "slack", "help"})
"""What a suite may change of a built-in metric. The rest says what is measured, which the judge knows by the name."""


def resolve(own: Iterable[Metric] = ()) -> dict[str, Metric]:
    """The built-in metrics by name, under a suite's own limits, and the metrics that the suite adds.

    Raises `SuiteError` for a double name, for a built-in metric of which more than the limits differs, and for a limit
    that would accept nearly any change, or is on one that not every run measures. A run may hold a limit that is
    refused today, and can be read all the same.
    """
    metrics = {metric.name: metric for metric in METRICS}
    seen: set[str] = set()
    for metric in own:
        if metric.name in seen:
            raise SuiteError(f"metric {metric.name} is given twice in one grid")
        seen.add(metric.name)
        _check_limits(metric)
        if metric.name in metrics:
            _check_built_in(metric, metrics[metric.name])
        metrics[metric.name] = metric
    return metrics


def _check_limits(own: Metric) -> None:
    shares = {"tolerance": (own.tolerance, "0.1 for 10 %")}
    if own.unit == "share" and own.name != "utilization.cpu":  # 1 of it is one core, and there may be more
        shares["slack"] = (own.slack, "0.01 for one point")
    for field, (value, example) in shares.items():
        if value is not None and value >= 1:
            raise SuiteError(
                f"metric {own.name}: {field}={value!r} would accept nearly any change, since it is a share; write "
                f"{example}"
            )


def _check_built_in(own: Metric, built_in: Metric) -> None:
    names = [field.name for field in dataclasses.fields(Metric) if field.name not in CHANGEABLE]
    changed = [name for name in names if getattr(own, name) != getattr(built_in, name)]
    if changed:
        raise SuiteError(
            f"metric {own.name} is built in, and its {' and '.join(changed)} can't be changed, only its limits "
            f"(resolve()['{own.name}'].with_tolerance(...)); give what you measure a name of its own"
        )
    if own.name == "time.prepare" and own.gates:
        raise SuiteError(
            "metric time.prepare can't have a limit: only a run that makes the artefact measures it, and the next one, "
            "which finds it prepared, would lack it; leave it without, and pytest --cold still shows it"
        )


BEYOND = 5
"""Calls that must lie beyond a percentile for it to be more than the tale of one call."""


def calls_needed(metric: str) -> int:
    """How many timed calls a launch needs for this metric to be told: 100 for `latency.p95`, 500 for `latency.p99`."""
    found = re.fullmatch(r"latency\.p(\d\d)", metric)
    rank = int(found.group(1)) if found else 0
    return math.ceil(BEYOND * 100 / (100 - rank)) if rank > 50 else 1
