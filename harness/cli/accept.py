"""`harness accept`: make what a run measured the committed baseline, with a reason."""

from __future__ import annotations

import argparse
import datetime
import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from harness.baseline import accept as acceptance
from harness.baseline.records import machine_class
from harness.baseline.store import Store
from harness.cli.judging import metrics_of
from harness.cli.output import fail, say
from harness.errors import BaselineError
from harness.judge import Prior, compare, fit_prior
from harness.records import Outcome, Result, Run
from harness.report.record import read_run

__all__ = ["accept", "add"]

REFUSED = 2


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "accept",
        help="make what a run measured the committed baseline",
        description="Write numbers of a run into the committed baselines, with the reason why they are right. Cases "
        "that can't be a baseline are refused and named, and the exit code is then 2; the others are written.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--case", action="append", default=[], metavar="GLOB", help="only these cases, such as 'digits/*'; repeatable"
    )
    parser.add_argument("--reason", required=True, help="why these numbers are right; kept with them")
    parser.add_argument(
        "--from", dest="source", type=Path, default=Path("reports/latest"), metavar="RUN",
        help="a run's folder or its run.json (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--baselines", type=Path, default=Path("baselines"), metavar="DIR",
        help="folder of the committed baselines (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=accept)


def accept(arguments: argparse.Namespace) -> int:
    """Accept the chosen cases; say what was written, what was there already, and what was refused."""
    if not arguments.reason.strip():
        raise BaselineError("--reason is empty; say why these numbers are right, for whoever reads the baseline later")
    run = read_run(arguments.source)
    acceptor = _Acceptor(Store(arguments.baselines), run, arguments.reason)
    chosen = choose(run, arguments.case)
    if not chosen:
        raise BaselineError(f"run {run.id} measured no case, so there is nothing to accept")
    refused = 0
    for result in chosen:
        try:
            paths = acceptor.accept(result)
        except BaselineError as error:
            refused += 1
            fail(str(error))
        else:
            say([f"wrote {path}" for path in paths] or f"{result.case_id}: the baseline holds this already")
    return REFUSED if refused else 0


def choose(run: Run, globs: Sequence[str]) -> list[Result]:
    """The results that the globs name, by case id or by suite/case id; all that were measured where there are none.

    Raises `BaselineError` for a glob that names nothing: a typing error must not look like success.
    """
    chosen: dict[tuple[str, str], Result] = {}
    for glob in globs:
        found = [one for one in run.results if any(fnmatchcase(name, glob) for name in (one.case_id, _long(one)))]
        if not found:
            near = difflib.get_close_matches(glob, [one.case_id for one in run.results], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise BaselineError(f"--case {glob}: run {run.id} has no such case{hint}")
        chosen.update({(one.suite, one.case_id): one for one in found})
    if globs:
        return list(chosen.values())
    return [one for one in run.results if one.outcome is not Outcome.UNAVAILABLE]


class _Acceptor:
    """Accepts results of one run into a store, each judged against the baselines as they are now."""

    def __init__(self, store: Store, run: Run, reason: str) -> None:
        self._store = store
        self._run = run
        self._reason = reason
        self._when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._priors: dict[str, Prior] = {}

    def accept(self, result: Result) -> list[Path]:
        """Accept one result and give the files that were written. Raises `BaselineError` where it is refused."""
        run = self._run
        identity = run.environment.hardware.get(result.hardware, {})
        baseline = self._store.read(result.suite, result.case_id, identity)
        prior = self._prior(machine_class(identity))
        metrics = metrics_of(run, result.suite)
        comparisons = compare(result, baseline, metrics, prior, identity)
        quick = run.mode == "quick"
        refused = acceptance.refusal(result, comparisons, baseline, run_complete=run.complete, quick=quick)
        if refused:
            raise BaselineError(f"{result.case_id}: not accepted into the baseline: {refused}")
        return acceptance.accept(
            self._store, result, run.environment, self._reason, self._when, metrics=metrics, prior=prior
        )

    def _prior(self, machine: str) -> Prior:
        """The usual spreads on a class of machines, learnt before anything was accepted."""
        if machine not in self._priors:
            self._priors[machine] = fit_prior(self._store.times_of(machine))
        return self._priors[machine]


def _long(result: Result) -> str:
    return f"{result.suite}/{result.case_id}"
