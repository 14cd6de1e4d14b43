"""The search: measure the reference, each technique by itself, then what extends the best, until nothing gains.

The idea is the one by which people tune: what helps alone mostly helps together, and what breaks alone breaks together,
on the same form of network. So a combination is tried only where its parts work, and where their gains, taken as
factors, come near the best so far. The file's own ones are tried wherever their parts work, at last where no round came
to them; others it need not find where all their parts are harmful. `benchmarks/optimize.py` compares it with trying
everything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from harness.judge.interval import Interval
from harness.optimize.goal import Goal
from harness.optimize.space import Space, steps_of
from harness.optimize.trial import Trial, alike_to, best_of, gain_of, gain_over, to_beat, usual_spread
from harness.report.memory import HOST, memory_metric
from harness.techniques.base import Pipeline, as_pipeline, reference

__all__ = ["Found", "Search", "Tried"]

WIDTH = 3
"""How many of a round's best are extended."""

SYNERGY = math.log(1.3)
"""By how much techniques may help each other beyond the product of their gains: a combination that could not reach the
best so far even then is not tried."""

DEPTH = 4
"""Techniques in a pipeline at most."""


_Place = tuple[str, str]
"""The id of a technique, and the form of network that it gets."""


@dataclass(frozen=True)
class Tried:
    """A trial with what was decided of it: `kept`, or why it is not extended or not recommended."""

    trial: Trial
    gain: Interval | None
    decision: str


@dataclass(frozen=True)
class Found:
    """What a search came to.

    rounds     the trials of each round that had any
    front      trials that keep all limits, were evaluated on the reference's data, and that no other of them beats in
               the goal, the accuracy and the `memory` at once
    best       the one with the largest gain, the reference where nothing gains
    complete   False where the time was over before nothing more was left to try
    skipped    combinations that were left out as hopeless
    memory     the metric by which memory is compared: a GPU's where all trials that may be on the front tell it
    """

    reference: Trial
    rounds: tuple[tuple[Tried, ...], ...]
    front: tuple[Trial, ...]
    best: Trial
    complete: bool
    skipped: int = 0
    memory: str = HOST


@dataclass
class Search:
    """One search.

    measure   measures a pipeline; told the gain that it should reach to matter (`to_beat`), so that it can stop early
    told      called after each trial, with the number of its round
    end       reading of `clock` after which nothing new is tried
    known     tells what takes no time, since a search that this one goes on with measured it
    """

    space: Space
    goal: Goal
    measure: Callable[[Pipeline, Interval | None], Trial]
    told: Callable[[int, Tried], None] = lambda _, __: None
    end: float = math.inf
    clock: Callable[[], float] = time.monotonic
    known: Callable[[Pipeline], object] = lambda _: None
    _trials: dict[frozenset[str], Trial] = field(default_factory=dict)
    _bad: list[frozenset[_Place]] = field(default_factory=list)
    _extended: set[frozenset[str]] = field(default_factory=set)
    _left: set[frozenset[str]] = field(default_factory=set)
    _stopped: bool = False

    def run(self) -> Found:
        """Search. Raises whatever `measure` raises; a trial that failed is a trial like others."""
        start = self._try(as_pipeline(reference))
        rounds: list[tuple[Tried, ...]] = [(self._tell(0, start, None),)]
        contributions = self._first_round(rounds)
        while True:
            while bases := self._bases():
                rounds.append(self._extend(len(rounds), bases, contributions))
            if not (left := self._try_own(len(rounds), self.space.own())):
                break
            rounds.append(left)
        trials = list(self._trials.values())
        standing = [trial for trial in trials if trial.stands and trial.result.asked_as(start.result)]
        best = best_of(trials) or start
        told = tuple(one for one in rounds if one)
        skipped, memory = len(self._left - self._trials.keys()), memory_metric(standing)
        return Found(start, told, self._front(standing, memory), best, not self._stopped, skipped, memory)

    def gain(self, trial: Trial) -> Interval:
        """The gain of a trial, with what all trials so far show of the spread."""
        return gain_of(trial.gains, usual_spread(self._trials.values()))

    def alike(self, best: Trial) -> list[Trial]:
        """The other trials that look as good as the best: see `alike_to`."""
        return alike_to(best, self._trials.values())

    def _first_round(self, rounds: list[tuple[Tried, ...]]) -> dict[_Place, Interval]:
        """Try each technique by itself, then those of the file's own pipelines in which a part does harm: no later
        round would come to them.

        Gives what a technique adds to what it was put on, where it works: known once, it is not tried after all that
        gives the same form.
        """
        tried: list[Tried] = []
        added: dict[_Place, Interval] = {}
        for step, pipeline in self.space.singles():
            place = step.id, self.space.places(pipeline)[step.id]
            if place in added or self._settled(pipeline) or self._over(pipeline):
                continue
            base = self._start_of(pipeline)
            trial = self._try(pipeline)
            tried.append(self._tell(1, trial, base))
            if trial.extensible and base.gains:
                added[place] = gain_over(self.gain(trial), self.gain(base))
        harmful = (
            pipeline
            for pipeline in self.space.own()
            if not all(self._helps(added, place) for place in self.space.places(pipeline).items())
        )
        rounds.append((*tried, *self._try_own(1, harmful)))
        return added

    def _try_own(self, number: int, pipelines: Iterable[Pipeline]) -> tuple[Tried, ...]:
        """Try those of the file's own pipelines that are open still."""
        tried = []
        for pipeline in pipelines:
            if not (self._settled(pipeline) or self._over(pipeline)):
                base = self._start_of(pipeline)
                tried.append(self._tell(number, self._try(pipeline), base))
        return tuple(tried)

    def _start_of(self, pipeline: Pipeline) -> Trial:
        """The trial of as many of its first techniques as were tried together: the reference at least."""
        starts = (steps_of(Pipeline(pipeline.steps[:end])) for end in reversed(range(len(pipeline.steps))))
        return next(self._trials[one] for one in starts if one in self._trials)

    def _bases(self) -> list[Trial]:
        """The best of the trials that were not extended yet, and count as extended from now on."""
        open_ones = [
            trial
            for trial in self._trials.values()
            if trial.steps and trial.steps not in self._extended and trial.extensible and len(trial.steps) < DEPTH
        ]
        bases = sorted(open_ones, key=lambda trial: -self.gain(trial).point)[:WIDTH]
        self._extended.update(trial.steps for trial in bases)
        return bases

    def _extend(self, number: int, bases: list[Trial], added: dict[_Place, Interval]) -> tuple[Tried, ...]:
        """Extend these trials by each technique that does no harm."""
        wanted: dict[frozenset[str], tuple[float, Pipeline, Trial]] = {}
        for base in bases:
            for step in self.space.steps:
                pipeline = self.space.extended(base.case.technique, step)
                if pipeline is None or self._settled(pipeline):
                    continue
                adds = self._helps(added, (step.id, self.space.places(pipeline)[step.id]))
                if adds is None:
                    continue
                steps = steps_of(pipeline)
                hoped = self.gain(base).point + adds.point
                if steps not in wanted or hoped > wanted[steps][0]:
                    wanted[steps] = (hoped, pipeline, base)
        tried = []
        for hoped, pipeline, base in sorted(wanted.values(), key=lambda one: -one[0]):
            goal = to_beat(self._trials.values(), 0)
            if goal is not None and hoped + SYNERGY < goal.point:
                self._left.add(steps_of(pipeline))
                continue
            if self._over(pipeline):
                continue
            tried.append(self._tell(number, self._try(pipeline), base))
        return tuple(tried)

    def _helps(self, added: Mapping[_Place, Interval], place: _Place) -> Interval | None:
        """What a technique adds on a form, or where that is unknown, on the model's own; None where it does harm."""
        step, _ = place
        found = added.get(place) or added.get((step, self.space.model.form))
        return found if found and found.most >= 0 else None

    def _settled(self, pipeline: Pipeline) -> bool:
        """Whether a combination was tried, or holds one that failed or lost too much on the same forms. One that did so
        in another order may get other forms in this one.
        """
        known = self._trials.get(steps_of(pipeline))
        if known is not None and not _is_bad(known):
            return True
        places = self.space.places(pipeline).items()
        return any(bad <= places for bad in self._bad)

    def _try(self, pipeline: Pipeline) -> Trial:
        trial = self.measure(pipeline, to_beat(self._trials.values(), len(steps_of(pipeline))))
        self._trials[trial.steps] = trial
        if _is_bad(trial):
            self._bad.append(frozenset(self.space.places(pipeline).items()))
        return trial

    def _tell(self, number: int, trial: Trial, base: Trial | None) -> Tried:
        gain = self.gain(trial) if trial.gains else None
        tried = Tried(trial, gain, self._decision(trial, gain, base))
        self.told(number, tried)
        return tried

    def _decision(self, trial: Trial, gain: Interval | None, base: Trial | None) -> str:
        if trial.failed:
            return trial.failed
        if trial.broken:
            return "; ".join(trial.broken)
        return "; ".join([self._standing(gain, base), *self.goal.untold(trial.result)])

    def _standing(self, gain: Interval | None, base: Trial | None) -> str:
        if base is None or gain is None or not base.gains:
            return "kept"
        change = gain_over(gain, self.gain(base))
        than = base.case.technique.id
        if change.most < 0:
            return f"worse than {than}"
        return f"kept: better than {than}" if change.least > 0 else f"kept: about as {than}"

    def _front(self, standing: list[Trial], memory: str) -> tuple[Trial, ...]:
        def values(trial: Trial) -> tuple[float, float, float]:
            known = [trial.estimate(name) for name in ("accuracy", memory)]
            accuracy, held = (one.point if one else 0.0 for one in known)
            return self.gain(trial).point, accuracy, -held

        found = {trial.steps: values(trial) for trial in standing}
        kept = [
            trial
            for trial in standing
            if not any(
                all(a >= b for a, b in zip(other, found[trial.steps], strict=True)) and other != found[trial.steps]
                for other in found.values()
            )
        ]
        return tuple(sorted(kept, key=lambda trial: -found[trial.steps][0]))

    def _over(self, pipeline: Pipeline) -> bool:
        """Whether the time is over for a pipeline. What comes after it may be known, as what failed is not."""
        over = self.clock() >= self.end and not self.known(pipeline)
        self._stopped = self._stopped or over
        return over


def _is_bad(trial: Trial) -> bool:
    """Whether nothing may hold this: it failed, or lost too much."""
    return bool(trial.failed) or trial.lossy
