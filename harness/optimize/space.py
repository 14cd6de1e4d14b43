"""What can be tried on a model: the techniques of a suite file, alone and put together in an order that works."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.errors import SuiteError
from harness.grid import Case, Grid, steps_on
from harness.hardware.base import Hardware
from harness.model import Model
from harness.techniques.base import Pipeline, Technique

__all__ = ["Space", "steps_of"]


@dataclass(frozen=True)
class Space:
    """The techniques that a suite file tries on a model, each step of its pipelines by itself.

    steps   in the order in which they stand in the file
    before  (name, name) pairs of techniques that some pipeline of the file puts in this order, and none in the other
    given   the file's own pipelines of several of these steps
    makers  all steps of the file that leave another form, also those that are not among `steps`
    """

    model: Model
    hardware: Hardware
    steps: tuple[Technique, ...]
    before: frozenset[tuple[str, str]] = frozenset()
    given: tuple[Pipeline, ...] = ()
    makers: tuple[Technique, ...] = ()

    @classmethod
    def of(cls, grids: Iterable[Grid], model: str, hardware: str, only: Sequence[str] = ()) -> Space:
        """The space of a file's grids. `only` says which techniques to try, all by default.

        A word of it that is a technique's id means this one, and any other word all techniques that have it as a name.

        Raises `SuiteError` for a model, a hardware or a technique that the file does not have, for a model and a
        hardware that no grid of it puts together, and for two techniques of these that differ and share an id.
        """
        grids = tuple(grids)
        models = {one.name: one for grid in grids for one in grid.models}
        places = {one.name: one for grid in grids for one in grid.hardware}
        for word, known, kind in ((model, models, "model"), (hardware, places, "hardware")):
            if word not in known:
                raise SuiteError(f"no {kind} {word!r} in this file; it has {', '.join(known) or 'none'}")
        own = [grid for grid in grids if models[model] in grid.models and places[hardware] in grid.hardware]
        if not own:
            others = dict.fromkeys(one.name for grid in grids if models[model] in grid.models for one in grid.hardware)
            raise SuiteError(f"no grid of this file has {model} on {hardware}; it has {model} on {', '.join(others)}")
        pipelines = [pipeline for grid in own for pipeline in grid.techniques]
        steps = {name: step for name, step in steps_on(own).items() if step.name != "reference"}
        asked = set[str]()
        for word in only:
            found = [word] if word in steps else [step.id for step in steps.values() if step.name == word]
            if not found:
                raise SuiteError(f"no technique {word!r} in this file; it has {', '.join(steps) or 'none'}")
            asked.update(found)
        chosen = [step for step in steps.values() if not only or step.id in asked]
        shown = {
            (first.name, then.name)
            for one in pipelines
            for position, first in enumerate(one.steps)
            for then in one.steps[position + 1 :]
        }
        before = frozenset((first, then) for first, then in shown if (then, first) not in shown)
        ids = {step.id for step in chosen}
        given = tuple(one for one in pipelines if len(one.steps) > 1 and steps_of(one) <= ids)
        makers = tuple(step for step in steps.values() if step.gives)
        return cls(models[model], places[hardware], tuple(chosen), before, given, makers)

    def case(self, pipeline: Pipeline) -> Case:
        """The case of a pipeline."""
        return Case(self.model, pipeline, self.hardware)

    def singles(self) -> Iterator[tuple[Technique, Pipeline]]:
        """Each technique with the shortest pipelines that make it applicable: alone, and after what gives a form that
        it takes. What it does on one form says little of another.

        Those that stand alone come first, so that what another one follows was tried by itself. What can't stand alone
        follows any of the file's techniques where none of `steps` gives its form.
        """
        alone = [step for step in self.steps if self._possible(Pipeline((step,)))]
        yield from ((step, Pipeline((step,))) for step in alone)
        for step in self.steps:
            if step not in alone:
                made = self._made(alone, step) or self._made(self.makers, step)
            elif step.gives is None:
                made = self._made([maker for maker in alone if not self._first(step, maker)], step)
            else:
                made = []
            yield from ((step, one) for one in made)

    def own(self) -> list[Pipeline]:
        """The file's own pipelines that can be tried, the shortest first."""
        return sorted(filter(self._possible, self.given), key=lambda one: len(one.steps))

    def untried(self) -> dict[str, str]:
        """The ids of the techniques that can't be tried, alone or as the file shows them, each with the reason."""
        tried = {step.id for step, _ in self.singles()}.union(*map(steps_of, self.own()))
        return {step.id: self._why_not(step) for step in self.steps if step.id not in tried}

    def places(self, pipeline: Pipeline) -> dict[str, str]:
        """The form of network that each of its techniques gets, by their ids."""
        return {step.id: form for step, form in pipeline.walk(self.model) if step.name != "reference"}

    def extended(self, pipeline: Pipeline, step: Technique) -> Pipeline | None:
        """The pipeline with a technique added as late as it applies; None where it does not, or is there already.

        Orders that the suite's own pipelines show are kept, and what trains comes before what does not: numbers of few
        bits learn nothing.
        """
        steps = pipeline.steps
        if any(one.name == step.name for one in steps):
            return None
        for position in range(len(steps), -1, -1):
            if any(self._first(step, one) for one in steps[:position]):
                continue
            if any(self._first(one, step) for one in steps[position:]):
                continue
            made = Pipeline((*steps[:position], step, *steps[position:]))
            if self._possible(made):
                return made
        return None

    def _first(self, one: Technique, other: Technique) -> bool:
        """Whether one technique has to stand before the other, wherever both are."""
        if (other.name, one.name) in self.before:
            return False
        trains = ["training" in step.needed for step in (one, other)]
        return (one.name, other.name) in self.before or trains == [True, False]

    def _made(self, makers: Iterable[Technique], step: Technique) -> list[Pipeline]:
        """A technique after each of these that gives a form which it takes."""
        made = (Pipeline((maker, step)) for maker in makers if maker.gives and maker.gives in (step.takes or ()))
        return [one for one in made if self._possible(one)]

    def _why_not(self, step: Technique) -> str:
        takes = step.takes or (self.model.form,)
        made = [] if self.model.form in takes else [Pipeline((one, step)) for one in self.makers if one.gives in takes]
        cases = [self.case(one) for one in (*made, Pipeline((step,)))]
        # What is missing for one that fits the model is a nearer reason than how another does not fit.
        case = next((one for one in cases if not one.inapplicable()), cases[0])
        return case.inapplicable() or case.unavailable() or ""

    def _possible(self, pipeline: Pipeline) -> bool:
        walk = pipeline.walk(self.model)
        # A file that was made of the network is for one shape: where it is batched later, preparation fails.
        if any("batchable" in step.needed and form == "litert" != self.model.form for step, form in walk):
            return False
        case = self.case(pipeline)
        return case.inapplicable() is None and case.unavailable() is None


def steps_of(pipeline: Pipeline) -> frozenset[str]:
    """The ids of its techniques: what a combination is, in whatever order; empty for the reference."""
    return frozenset(step.id for step in pipeline.steps if step.name != "reference")
