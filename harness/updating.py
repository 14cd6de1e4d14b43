"""`--baseline=update`: which results of a run become the baseline, and writing them at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.baseline.accept import accept, refusal
from harness.baseline.store import Store
from harness.comparing import WithBaselines
from harness.errors import BaselineError
from harness.metrics import Metric
from harness.records import Comparison, Result, Run, Verdict
from harness.report.commands import accept_command

__all__ = ["Updating"]


class Updating:
    """The results that are to be written once their run is whole: one that is cut short moves nothing."""

    def __init__(self, store: Store, baselines: WithBaselines, reason: str) -> None:
        self._store = store
        self._baselines = baselines
        self._reason = reason
        self._results: dict[tuple[str, str], Result] = {}

    def take(self, result: Result, comparisons: tuple[Comparison, ...]) -> tuple[Comparison, ...]:
        """Keep a result for the end, and give its comparisons; where it is refused, the last of them says why."""
        if any(one.verdict is Verdict.ERROR for one in comparisons):
            return comparisons  # they say why already, and a baseline that is damaged can't be asked once more
        baseline = self._baselines.baseline(result.suite, result.case_id, result.hardware)
        refused = refusal(result, comparisons, baseline, updating=True)
        if refused:
            text = f"{result.case_id}: not accepted into the baseline: {refused}"
            return (*comparisons, Comparison(result.suite, result.case_id, "case", Verdict.ERROR, text))
        self._results[result.suite, result.case_id] = result
        return comparisons

    def write(
        self, run: Run, when: str, metrics: Mapping[str, Mapping[str, Metric]], failing: set[tuple[str, str]]
    ) -> Iterator[tuple[Result, str]]:
        """Make the results the baseline, but those of `failing` cases. Gives what could not be written, and why.

        `run` says where they were measured, `metrics` are those of each suite.
        """
        for key, result in self._results.items():
            if key in failing:
                continue
            prior = self._baselines.prior(result.hardware)
            try:
                accept(self._store, result, run.environment, self._reason, when, metrics=metrics[key[0]], prior=prior)
            except (BaselineError, OSError) as error:
                again = accept_command(run, "/".join(key))
                yield result, f"its baseline was not written: {error}. Once it can be, take it from this run: {again}"
