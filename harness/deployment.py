"""A model made ready to serve, and what its techniques promised on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import SuiteError
from harness.hardware.base import Hardware
from harness.model import Model
from harness.records import Evidence, Scalar
from harness.runtimes.base import Runtime

__all__ = ["Deployment", "Promise"]


@dataclass(frozen=True)
class Promise:
    """What a technique says must be true of the artefact that runs.

    `fact` is a key of `Session.facts()`, or `batch` for the number of items in the outputs of a call. Give one or more
    of `equals`, `at_least`, `at_most`; a fact that is absent or not a number where one is needed breaks the promise.
    """

    fact: str
    equals: Scalar | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if self.equals is None and self.at_least is None and self.at_most is None:
            raise SuiteError(f"a promise about {self.fact!r} needs equals, at_least or at_most")

    def __str__(self) -> str:
        words = [
            f"{sign} {value}"
            for sign, value in (("=", self.equals), (">=", self.at_least), ("<=", self.at_most))
            if value is not None
        ]
        return f"{self.fact} {' and '.join(words)}"

    def check(self, technique: str, facts: Mapping[str, Scalar]) -> Evidence:
        """The promise held against the facts. Written so that NaN keeps nothing."""
        found = facts.get(self.fact)
        number = isinstance(found, (int, float))
        kept = found is not None and (self.equals is None or found == self.equals)
        kept = kept and (self.at_least is None or (number and float(found or 0) >= self.at_least))
        kept = kept and (self.at_most is None or (number and float(found or 0) <= self.at_most))
        return Evidence(technique, str(self), "not found" if found is None else str(found), bool(kept))


@dataclass(frozen=True)
class Deployment:
    """What techniques transform: each takes one and gives another with `replace`.

    model       the model under test
    network     a `torch.nn.Module` in evaluation mode, an `onnx.ModelProto`, or what the form of its runtime says; a
                technique changes a copy of its own
    runtime     what executes it
    hardware    where
    batch_size  items in one call
    folder      an empty folder for files of a technique's own; gone after preparation
    promises    (technique id, promise) pairs, checked against the artefact that runs
    notes       what techniques learnt while they worked, by name (`student.gain`): the facts of the artefact take it
                in, behind what the runtime reads. No promise rests on it, which would be a technique's own word
    """

    model: Model
    network: Any
    runtime: Runtime
    hardware: Hardware
    folder: Path
    batch_size: int = 1
    promises: tuple[tuple[str, Promise], ...] = ()
    notes: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def form(self) -> str:
        """What the network is now: "torch", "onnx" or the form of another runtime."""
        return self.runtime.form

    def replace(self, **changes: Any) -> Deployment:
        """The same deployment with some fields changed."""
        return dataclasses.replace(self, **changes)

    def noting(self, **notes: Scalar) -> Deployment:
        """The same deployment with notes added; write `**{"student.gain": 0.01}` for a name with a dot."""
        return self.replace(notes={**self.notes, **notes})

    def allowing(self, before: int, after: int) -> Deployment:
        """The same deployment, whose promises allow that a step stores `after` weights where there were `before`.

        For a step that stores a weight once for each of its readers, where that makes more of them: that is its own
        doing, and no promise of a step before it is broken by it. Promises of at most so many parameters allow that
        many more. Those of a share of zeros are then of a larger whole, and are lowered to what is left of them if the
        copies have no zeros: which of the weights are stored twice is not looked at.
        """
        if after <= before:
            return self

        def allowed(promise: Promise) -> Promise:
            if promise.fact == "parameters" and promise.at_most is not None:
                return dataclasses.replace(promise, at_most=promise.at_most + after - before)
            if promise.fact == "sparsity" and promise.at_least is not None:
                return dataclasses.replace(promise, at_least=promise.at_least * before / after)
            return promise

        return self.replace(promises=tuple((name, allowed(promise)) for name, promise in self.promises))

    def promising(self, *promises: Promise) -> Deployment:
        """The same deployment with promises added; the technique that made them is filled in by the pipeline."""
        return self.replace(promises=(*self.promises, *(("", promise) for promise in promises)))
