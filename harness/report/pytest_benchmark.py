"""A run in the JSON of `pytest --benchmark-json`, which dashboards, trackers and pytest-benchmark itself read.

The numbers are those of single calls, of all launches that count together. That format knows no launches and no
intervals, so nothing that reads it can judge as the harness does; what was judged stands in `extra_info`.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.codec import dumps
from harness.records import Environment, Measurement, Result, Run, Scalar
from harness.report.overview import CaseView, cases

__all__ = ["exported", "extra_info", "render", "summary_of"]

SHAPE = "5.1.0"
"""The version of pytest-benchmark whose fields these are."""


def render(run: Run) -> bytes:
    """The JSON text. Empty `benchmarks` where no case has times."""
    benchmarks = [_benchmark(view, result, times) for view, result, times in exported(run)]
    document = {
        "machine_info": _machine(run.environment),
        "commit_info": _commit(run.environment),
        "benchmarks": benchmarks,
        "datetime": run.started,
        "version": SHAPE,
        "harness": {"run": run.id, "mode": run.mode, "complete": run.complete},
    }
    return f"{dumps(document, indent=4)}\n".encode("utf-8", "backslashreplace")


def exported(run: Run) -> Iterator[tuple[CaseView, Result, list[float]]]:
    """The cases that have times, with the seconds of their calls; a case that did not complete has none."""
    for view in cases(run):
        result = view.result
        if result is None or not view.completed:
            continue
        times = [seconds for one in result.launches if one.counts for seconds in one.samples.get("candidate", ())]
        if times:
            yield view, result, times


def summary_of(times: Sequence[float]) -> dict[str, float | int | str]:
    """The statistics that pytest-benchmark gives of these seconds, by its definitions and under its names.

    Quartiles are of Tukey's halves with an interpolation for odd numbers (its "method 3"); an outlier lies beyond one
    standard deviation of the mean, or beyond 1.5 interquartile ranges of the quartiles.
    """
    ordered = sorted(times)
    count, total, mean = len(ordered), sum(times), statistics.mean(times)
    deviation = statistics.stdev(times) if count > 1 else 0.0
    q1, q3 = _quartiles(ordered)
    iqr = q3 - q1
    low, high = q1 - 1.5 * iqr, q3 + 1.5 * iqr
    beyond = sum(abs(value - mean) > deviation for value in times)
    outside = sum(not low <= value <= high for value in times)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": count,
        "median": statistics.median(ordered),
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outside,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{outside}",
        "ld15iqr": ordered[bisect_left(ordered, low)],
        "hd15iqr": ordered[bisect_right(ordered, high) - 1],
        "ops": count / total if total else 0.0,
        "total": total,
    }


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    count = len(ordered)
    if count == 1:
        return ordered[0], ordered[0]
    if count % 2 == 0:
        return statistics.median(ordered[: count // 2]), statistics.median(ordered[count // 2 :])
    n = count // 4
    if count % 4 == 1:
        return (
            0.25 * ordered[n - 1] + 0.75 * ordered[n],
            0.75 * ordered[3 * n] + 0.25 * ordered[3 * n + 1],
        )
    return 0.75 * ordered[n] + 0.25 * ordered[n + 1], 0.25 * ordered[3 * n + 1] + 0.75 * ordered[3 * n + 2]


def extra_info(view: CaseView, result: Result, measured: Iterable[Measurement] = ()) -> dict[str, Scalar]:
    """What stands beside the times of a case: what its test put there, these measurements, what was judged, and the
    number of launches that count; of one name the last.
    """
    facts = result.facts
    own = {name.removeprefix("extra."): value for name, value in facts.items() if name.startswith("extra.")}
    numbers = {one.metric: one.estimate.point for one in measured}
    return {**own, **numbers, "verdict": view.word, "launches": sum(one.counts for one in result.launches)}


def _benchmark(view: CaseView, result: Result, times: Sequence[float]) -> dict[str, Any]:
    return {
        "group": result.facts.get("group") or f"{result.suite}/{result.model}/{result.hardware}",
        "name": _name(result.nodeid),
        "fullname": result.nodeid,
        "params": {"model": result.model, "technique": result.technique, "hardware": result.hardware},
        "param": result.case_id,
        "extra_info": extra_info(view, result, result.measurements),
        "options": {
            "disable_gc": False,
            "timer": "perf_counter_ns",
            "min_rounds": 1,
            "max_time": 0.0,
            "min_time": 0.0,
            "precision": None,
            "confidence": None,
            "warmup": True,
        },
        "stats": {**summary_of(times), "data": list(times), "iterations": result.facts.get("iterations", 1)},
    }


def _name(nodeid: str) -> str:
    """A test with its parameters, without its file and class: `test_x[std::sort]`, whose colons are its own."""
    function, bracket, parameters = (nodeid.partition("::")[2] or nodeid).partition("[")
    return f"{function.rpartition('::')[2]}{bracket}{parameters}"


def _machine(environment: Environment) -> Mapping[str, Any]:
    """What a run knows of its machine under pytest-benchmark's names, "" for what it does not, and all of it beside."""
    cpu = environment.hardware.get("cpu") or next(iter(environment.hardware.values()), {})
    python = environment.software.get("python", "")
    return {
        "node": "",
        "processor": cpu.get("model", ""),
        "machine": "",
        "python_compiler": "",
        "python_implementation": "",
        "python_implementation_version": python,
        "python_version": python,
        "python_build": [],
        "release": environment.state.get("kernel", ""),
        "system": "",
        "cpu": {"brand_raw": cpu.get("model", ""), "count": cpu.get("cores", 0)},
        "hardware": {name: dict(identity) for name, identity in environment.hardware.items()},
        "software": dict(environment.software),
    }


def _commit(environment: Environment) -> Mapping[str, Any]:
    return {
        "id": environment.commit or "unversioned",
        "time": None,
        "author_time": None,
        "dirty": environment.dirty,
        "project": "",
        "branch": "(unknown)",
    }
