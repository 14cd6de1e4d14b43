"""Whether two results may be compared at all: the same question, on the same class of machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.metrics import Metric
from harness.records import Scalar

__all__ = ["changed_parts", "differing_keys", "nearest_difference", "workload_of"]

COUNTED = frozenset({"size", "parameters", "sparsity", "quantized", "fallbacks"})
"""Read from the artefact, whatever it is asked."""

OF_TIMES = ("inputs", "batch")
OF_ANSWERS = ("evaluation", "metric")

SHOWN = 40
"""Characters of an identity's value that a sentence can bear."""


def changed_parts(metric: Metric, now: Mapping[str, str], baseline: Mapping[str, str]) -> list[str]:
    """The parts of the workload that concern a metric and differ, in alphabetical order."""
    parts = sorted(now.keys() | baseline.keys())
    return [part for part in parts if now.get(part) != baseline.get(part) and _concerns(part, metric)]


def workload_of(workload: Mapping[str, str], *, portable: bool) -> dict[str, str]:
    """The parts of a workload that concern portable metrics, or those that concern all others."""
    foreign = OF_TIMES if portable else OF_ANSWERS
    return {part: digest for part, digest in workload.items() if part not in foreign}


def differing_keys(now: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> list[str]:
    """The keys of two identities that differ, in the order of the first."""
    keys = [*now, *(key for key in other if key not in now)]
    return [key for key in keys if key not in now or key not in other or now[key] != other[key]]


def nearest_difference(now: Mapping[str, Scalar], others: Sequence[Mapping[str, Scalar]]) -> str:
    """How this machine differs from the most alike of `others`: `cores (4 there, 2 here), model`."""
    other = min(others, key=lambda one: len(differing_keys(now, one)))
    return ", ".join(_difference(key, now, other) for key in differing_keys(now, other))


def _difference(key: str, now: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> str:
    there, here = (str(identity.get(key, "not known")) for identity in (other, now))
    return f"{key} ({there} there, {here} here)" if max(len(there), len(here)) <= SHOWN else key


def _concerns(part: str, metric: Metric) -> bool:
    if metric.name in COUNTED:
        return False
    if part == "metric":
        return metric.name == "accuracy"
    return part not in (OF_TIMES if metric.portable else OF_ANSWERS)
