"""What `bench(case)` gives to a test: the case's numbers, for promises of the suite's own."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import Result, Scalar, Verdict

__all__ = ["UNMEASURED_IN_TURNS", "Measured"]

UNMEASURED_IN_TURNS = ("speedup", "fidelity.", "energy.")
"""How names of metrics begin that are not measured of a case in turns with another tree, where no reference runs."""


class Measured:
    """The numbers of one case, by metric name: `result["latency.p50"]`, or by the short names below.

    A metric that the case does not have raises `KeyError` with the names that it has: a promise about a number that
    does not exist must not hold. `"speedup" in result` asks first.
    """

    def __init__(self, result: Result, verdict: Verdict) -> None:
        self.result = result
        self.verdict = verdict

    def __getitem__(self, metric: str) -> float:
        measurement = self.result.measurement(metric)
        if measurement is None:
            names = ", ".join(m.metric for m in self.result.measurements)
            text = f"{self.result.case_id} has no metric {metric!r}; it has {names}"
            # What takes turns with another tree takes none with the anchor.
            if metric.startswith(UNMEASURED_IN_TURNS) and all(
                launch.anchored is None for launch in self.result.launches
            ):
                text += (
                    "; in turns with another tree (--against) neither speed-ups nor fidelity nor energy are measured: "
                    f"put the promise under `if {metric!r} in result:`"
                )
            raise KeyError(text)
        return measurement.estimate.point

    def __contains__(self, metric: str) -> bool:
        return self.result.measurement(metric) is not None

    @property
    def accuracy(self) -> float:
        """The model's own metric on its labelled data, 0..1."""
        return self["accuracy"]

    @property
    def latency(self) -> float:
        """Median seconds of one call."""
        return self["latency.p50"]

    @property
    def throughput(self) -> float:
        """Items a second."""
        return self["throughput"]

    @property
    def speedup(self) -> float:
        """Reference time over this case's time, an item; 1 for the reference itself.

        None is measured in turns with another tree.
        """
        alone = self.result.technique == "reference" and self.result.measurement("speedup") is None
        return 1.0 if alone else self["speedup"]

    @property
    def memory(self) -> float:
        """Peak bytes of the process during calls, with the pages of the model's files that it maps."""
        return self["memory.peak"]

    @property
    def size(self) -> float:
        """Bytes of the served model on disk."""
        return self["size"]

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """What the runtime said of the artefact that ran."""
        return self.result.facts

    def __repr__(self) -> str:
        return f"<Measured {self.result.case_id}: {self.verdict.value}>"
