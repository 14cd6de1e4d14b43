"""What the models of cases say of their data, which lies outside of the sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.grid import Case
from harness.measure.sources import digest_of
from harness.model import Model
from harness.techniques.base import Pipeline, Technique

__all__ = ["data_of", "data_state"]


def data_of(case: Case) -> dict[str, dict[str, str]]:
    """What the model, and the models among the techniques' parameters, say of their data."""
    return {model.name: dict(model.data()) for model in _models_of(case) if model.data}


def data_state(cases: Iterable[Case]) -> dict[str, str]:
    """What a run says of the data of these cases' models: `data.<model>` with the digest of what each says itself."""
    found: dict[str, set[str]] = {}
    for model in {id(model): model for case in cases for model in _models_of(case)}.values():
        if model.data:
            try:
                said = digest_of(model.data())[:16]
            except Exception as error:  # it ends the cases of this model, and not the run
                said = f"unknown: {type(error).__name__}"
            found.setdefault(f"data.{model.name}", set()).add(said)
    return {name: " ".join(sorted(digests)) for name, digests in found.items()}


def _models_of(case: Case) -> tuple[Model, ...]:
    return case.model, *_models(case.technique.steps)


def _models(steps: Iterable[Technique]) -> Iterator[Model]:
    """The models among the parameters of techniques, defaults included, and of techniques that are parameters."""
    for value in (value for step in steps for value in step.arguments.values()):
        if isinstance(value, Model):
            yield value
        elif isinstance(value, (Pipeline, Technique)):
            yield from _models(value.steps if isinstance(value, Pipeline) else (value,))
