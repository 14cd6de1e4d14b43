"""What every writer says about a run: one reading of its verdicts, so that no two reports can disagree.

Nothing is decided here. A case's verdict is the worst of its comparisons, and an outcome that gave no numbers speaks
for itself where no comparison does, so that a crash can't look like a pass because nobody judged it.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.records import Comparison, Estimate, Outcome, Result, Run, Verdict
from harness.report.weight import weight
from harness.units import plural

__all__ = [
    "GATING",
    "GLYPHS",
    "MEANINGS",
    "CaseView",
    "Failing",
    "Headline",
    "Overview",
    "cases",
    "counts",
    "other_tree",
    "timed",
]

GATING = ("compare", "strict")
"""The modes in which verdicts make a run fail."""

GLYPHS: Mapping[str, str] = {
    "unchanged": "=", "improved": "▲", "skipped": "–", "new": "+", "incomparable": "≠", "inconclusive": "?",
    "regressed": "▼", "missing": "∅", "invalid": "!", "error": "✕", "measured": "·",
}  # fmt: skip
"""A sign for each verdict, so that none is told by colour alone. `measured` is a case that nothing was asked about."""

MEANINGS: Mapping[str, str] = {
    "unchanged": "The change, with all of its interval, lies within the limit.",
    "improved": "It got better by more than the limit. Accept it, so that it can't be lost again unnoticed.",
    "skipped": "The case can't run here, and its reason is given. It was not measured.",
    "new": "There is no baseline yet. Accept it to have it watched.",
    "incomparable": "The baseline answers another question: another class of machine, workload or unit.",
    "inconclusive": "The interval crosses the limit: this budget could not tell. The smallest change that it could "
    "have shown is given.",
    "regressed": "The change for the worse, with all of its interval, lies beyond the limit.",
    "missing": "There is a baseline, and no result.",
    "invalid": "It ran, and what ran is not what was promised, or its outputs are wrong. Its numbers do not count.",
    "error": "It could not be measured: it crashed, hung, ran out of memory or failed to prepare. Or it was measured, "
    "and its own test failed, or what it is held against could not be read or written.",
    "measured": "It was measured, and no verdict was asked for.",
}

_FAILED_LATER = "failed although measured"
_PHRASES = {"regressed": "got worse", "error": "could not be measured", "missing": "left out"}
_OUTCOME_VERDICTS = {Outcome.UNAVAILABLE: Verdict.SKIPPED, Outcome.INVALID: Verdict.INVALID}


@dataclass(frozen=True)
class CaseView:
    """One case with all that was said about it. `result` is None for a case that has only a baseline.

    `shared` says whether another suite of the run has a case of this id.
    """

    suite: str
    id: str
    result: Result | None
    comparisons: tuple[Comparison, ...]
    shared: bool = False

    @property
    def name(self) -> str:
        """The suite and the case id: what tells this case from all others."""
        return f"{self.suite}/{self.id}"

    @property
    def label(self) -> str:
        """What readers know this case by: its id, behind its suite where the id alone may be another case."""
        return self.name if self.shared else self.id

    @functools.cached_property
    def verdict(self) -> Verdict | None:
        """The worst of its comparisons and of its outcome; None where it ran and nothing was asked."""
        verdicts = [comparison.verdict for comparison in self.comparisons]
        if self.result and self.result.outcome is not Outcome.COMPLETED:
            verdicts.append(_OUTCOME_VERDICTS.get(self.result.outcome, Verdict.ERROR))
        return max(verdicts, key=lambda verdict: verdict.severity, default=None)

    @property
    def word(self) -> str:
        """The verdict as a word; `measured` where there is none."""
        return self.verdict.value if self.verdict else "measured"

    @property
    def completed(self) -> bool:
        """Whether there are numbers."""
        return self.result is not None and self.result.outcome is Outcome.COMPLETED

    def estimate(self, metric: str) -> Estimate | None:
        """The estimate of a metric, None where the case has none that counts."""
        measurement = self.result.measurement(metric) if self.result and self.completed else None
        return measurement.estimate if measurement else None


@dataclass(frozen=True)
class Failing:
    """A case that makes the run fail, with what fails in it: what decides first, and of that the worst."""

    view: CaseView
    comparisons: tuple[Comparison, ...]

    @property
    def worst(self) -> Comparison:
        """What this case is named with where there is room for one thing."""
        return self.comparisons[0]


@dataclass(frozen=True)
class Headline:
    """The verdict on the whole run. `state` is one of `passed failed incomplete empty undecided unjudged`."""

    state: str
    sentence: str
    detail: str


class _OfCase(Protocol):
    """What is of a case: a comparison, or a series of its values."""

    @property
    def suite(self) -> str: ...

    @property
    def case_id(self) -> str: ...


@dataclass(frozen=True)
class Overview:
    """A run with what every section of a report asks for; each is read from the run once."""

    run: Run

    @functools.cached_property
    def cases(self) -> tuple[CaseView, ...]:
        """Every case of the run in the order of its results, then those that have comparisons only."""
        return cases(self.run)

    @functools.cached_property
    def worst_first(self) -> tuple[CaseView, ...]:
        """See `by_verdict`."""
        return self.by_verdict()

    def by_verdict(self, *, worst_last: bool = False) -> tuple[CaseView, ...]:
        """The cases by their verdicts, those that fail in the order of `failing`; equals in the order of the run."""
        place = {(one.view.suite, one.view.id): i for i, one in enumerate(self.failing)}

        def badness(view: CaseView) -> tuple[int, int]:
            severity = view.verdict.severity if view.verdict else -1
            return (-severity, place.get((view.suite, view.id), len(place)))

        return tuple(sorted(self.cases, key=badness, reverse=worst_last))

    @functools.cached_property
    def failing(self) -> tuple[Failing, ...]:
        """The cases that make this run fail, worst first.

        Those without numbers that count come before lost accuracy, that before lost speed, and that before the rest;
        among equals the one that is furthest beyond its limit.
        """
        known = self.run.xfailed
        unexpected = [view for view in self.cases if view.name not in known]
        found = [Failing(view, failed) for view in unexpected if (failed := _failed(self.run, view))]
        return tuple(sorted(found, key=lambda one: (*weight(one.worst)[:3], one.view.id, one.view.suite)))

    @functools.cached_property
    def failures(self) -> tuple[Comparison, ...]:
        """Everything that makes this run fail, case by case (see `failing`)."""
        return tuple(comparison for one in self.failing for comparison in one.comparisons)

    @functools.cached_property
    def labels(self) -> Mapping[tuple[str, str], str]:
        """The `label` of each case by its suite and id."""
        return {(view.suite, view.id): view.label for view in self.cases}

    def label(self, of: _OfCase) -> str:
        """The `label` of the case that a comparison is of, or a series of earlier values."""
        return self.labels.get((of.suite, of.case_id), of.case_id)

    @functools.cached_property
    def headline(self) -> Headline:
        """One sentence on the run, and one behind it with the numbers; short of a decided pass it says so first."""
        return _headline(self.run, self.cases, self.failures)


def other_tree(run: Run) -> str:
    """The tree that the cases of a run took turns with, as it was asked for; "" where baselines judged them."""
    return re.sub(r"^\.(?= |$)", "the working tree", str(run.environment.state.get("against", "")))


def timed(run: Run) -> bool:
    """Whether it is known how long a run took: the journal of one that was killed can't tell."""
    return run.complete or run.seconds > 0


def cases(run: Run) -> tuple[CaseView, ...]:
    """Every case of the run in the order of its results, then those that have comparisons only."""
    found: dict[tuple[str, str], tuple[Result | None, list[Comparison]]] = {
        (result.suite, result.case_id): (result, []) for result in run.results
    }
    for comparison in run.comparisons:
        found.setdefault((comparison.suite, comparison.case_id), (None, []))[1].append(comparison)
    suites = Counter(case_id for _, case_id in found)
    return tuple(CaseView(*key, result, tuple(c), suites[key[1]] > 1) for key, (result, c) in found.items())


def counts(views: tuple[CaseView, ...]) -> dict[str, int]:
    """How many cases have each verdict, worst first; verdicts that no case has are left out."""
    tally = Counter(view.word for view in views)
    order = [verdict.value for verdict in sorted(Verdict, key=lambda v: -v.severity)] + ["measured"]
    return {word: tally[word] for word in order if tally[word]}


def _failed(run: Run, view: CaseView) -> tuple[Comparison, ...]:
    """What fails in a case, the worst first.

    Where nothing gates (a smoke run, an update, baselines off) only what could not be measured or accepted does. A case
    that ended without numbers and without a comparison is given one here.
    """
    failing = [c for c in view.comparisons if _fails(c, run.mode)]
    if not failing and view.verdict and view.result and not view.completed and view.verdict.fails(strict=False):
        reason = f"{view.id} {view.result.outcome.value}: {view.result.reason or 'no reason was recorded'}"
        failing = [Comparison(view.suite, view.id, "case", view.verdict, reason)]
    return tuple(sorted(failing, key=weight))


def _headline(run: Run, views: tuple[CaseView, ...], failing: tuple[Comparison, ...]) -> Headline:
    completed = sum(view.completed for view in views)
    failing_cases = {(c.suite, c.case_id) for c in failing}
    every = max(run.expected, len(views))  # what a run that ended early did not come to has no view
    ran = f"{completed:,} of {every:,} cases were measured"
    xfailed, known = run.xfailed, ""
    if expected := sum(view.name in xfailed for view in views):
        ran, known = f"{ran}; {expected} failed as expected", " but what is known to fail"
    if failing:
        broken = tuple(view for view in views if (view.suite, view.id) in failing_cases)
        tally, later = counts(broken), sum(view.word == "error" and view.completed for view in broken)
        if later:
            tally |= {"error": tally["error"] - later, _FAILED_LATER: later}
        order = ["regressed", *(word for word in tally if word != "regressed")]
        detail = ", ".join(f"{tally[word]:,} {_PHRASES.get(word, word)}" for word in order if tally.get(word))
        failed = len(failing_cases)
        sentence = "Every case failed." if failed == every else f"{plural(failed, 'case')} failed."
        if not run.complete:
            detail += "; and the run did not finish"
        return Headline("failed", sentence, f"{detail}; {ran}.")
    if not run.complete:
        return Headline("incomplete", "The run did not finish.", f"{ran}. What is missing can't be called a pass.")
    if undone := run.environment.state.get("undone"):
        return Headline("failed", "The run failed.", f"{ran}; {undone}.")
    if not completed:
        return Headline(
            "empty", f"Nothing was measured{known}.", "No case gave a number, so nothing can be said of it."
        )
    if run.mode not in GATING:
        ours = [{c.verdict for c in v.comparisons} for v in views if v.completed and v.name not in xfailed]
        kinds = ((Verdict.REGRESSED, "got worse"), (Verdict.MISSING, "lost a metric"))
        found = [(sum(verdict in seen for seen in ours), what) for verdict, what in kinds]
        worse = " and ".join(f"{plural(number, 'case')} {what}" for number, what in found if number)
        taken = f", although {worse}" if worse else ""
        why = {"quick": "A smoke run gives no verdict", "update": f"The results became the baseline{taken}"}
        return Headline(
            "unjudged", "Nothing was judged.", f"{why.get(run.mode, 'Baselines were switched off')}; {ran}."
        )
    tally = counts(tuple(view for view in views if view.name not in xfailed))
    decided = tally.get("unchanged", 0) + tally.get("improved", 0)
    others = ", ".join(f"{n:,} {word}" for word, n in tally.items() if word not in ("unchanged", "improved"))
    listed = f": {others}" if others else ""
    if not decided:
        # On another class of machine, say: no times, and yet everything that is the same everywhere.
        made = [c for c in run.comparisons if c.verdict is not Verdict.SKIPPED]
        held = sum(c.verdict in (Verdict.UNCHANGED, Verdict.IMPROVED) for c in made)
        if held:
            told = f"{held} of {len(made)} comparisons were decided, and of no case all"
            return Headline("undecided", f"What could be compared got no worse{known}.", f"{told}; {ran}{listed}.")
        return Headline("undecided", "Nothing could be decided.", f"{ran}{listed}.")
    better = f", {tally['improved']} of them better" if tally.get("improved") else ""
    rest = f"; besides: {others}" if others else ""
    return Headline("passed", f"Nothing got worse{known}.", f"{plural(decided, 'case')} decided{better}; {ran}{rest}.")


def _fails(comparison: Comparison, mode: str) -> bool:
    if mode in GATING:
        return comparison.verdict.fails(strict=mode == "strict")
    return comparison.verdict in (Verdict.ERROR, Verdict.INVALID)
