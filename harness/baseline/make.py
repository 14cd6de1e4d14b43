"""From a result to the records of a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.baseline.records import BASELINE_SCHEMA, Accepted, Block, Portable, Times, machine_class
from harness.errors import BaselineError
from harness.facts import counts
from harness.judge.scope import workload_of
from harness.judge.times import judged_values
from harness.metrics import METRICS, Metric, calls_needed
from harness.records import Environment, Result, Scalar

__all__ = ["block_of", "identity_of", "make_portable", "make_times", "own_units", "told"]


def identity_of(result: Result, environment: Environment) -> Mapping[str, Scalar]:
    """What the machine is that measured a result. Raises `BaselineError` where its run does not say."""
    identity = environment.hardware.get(result.hardware)
    if identity is None:
        raise BaselineError(
            f"{result.case_id}: the run does not say what its hardware {result.hardware!r} is; run it again"
        )
    return identity


def told(result: Result, metric: str) -> bool:
    """Whether the launches had the calls that a percentile takes, as the judge asks too; they had where none are known.

    What fewer calls give is the tale of one of them: it is shown, not judged, and must not be what others are held to.
    """
    return all(launch.calls >= calls_needed(metric) for launch in result.launches if launch.calls)


def own_units(names: Iterable[str], metrics: Iterable[Metric], before: Mapping[str, str]) -> dict[str, str]:
    """The units of a suite's own metrics with these names: those of `metrics`, and for others those of `before`."""
    units = {**before, **{metric.name: metric.unit for metric in metrics}}
    built_in = {metric.name for metric in METRICS}
    return {name: units[name] for name in names if name in units and name not in built_in}


def block_of(result: Result, names: Iterable[str], commit: str, when: str) -> Block:
    """The launches of a result that count, as a block of these metrics."""
    chosen = set(names)
    measured = [one for one in result.measurements if one.metric in chosen]
    values = {one.metric: judged_values(result, one.values, fresh=True) for one in measured}
    relative = {one.metric: judged_values(result, one.relative, fresh=True) for one in measured if one.relative}
    return Block(when, commit, values, relative)


def make_portable(result: Result, environment: Environment, names: Iterable[str], accepted: Accepted) -> Portable:
    """The portable part, with the values of these metrics."""
    chosen = set(names)
    return Portable(
        schema=BASELINE_SCHEMA,
        suite=result.suite,
        case_id=result.case_id,
        nodeid=result.nodeid,
        workload=workload_of(result.workload, portable=True),
        made_on=machine_class(identity_of(result, environment)),
        weights=result.weights,
        values={one.metric: one.estimate.point for one in result.measurements if one.metric in chosen},
        scores=result.scores,
        accepted=accepted,
    )


def make_times(result: Result, environment: Environment, blocks: tuple[Block, ...], accepted: Accepted) -> Times:
    """The times of one machine class."""
    return Times(
        schema=BASELINE_SCHEMA,
        suite=result.suite,
        case_id=result.case_id,
        workload=workload_of(result.workload, portable=False),
        identity=dict(identity_of(result, environment)),
        software=environment.software,
        blocks=blocks,
        accepted=accepted,
        ran=counts(result.facts),
    )
