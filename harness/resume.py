"""Going on with a run that was interrupted."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.records import Outcome, Result, Run
from harness.report.record import read_run

__all__ = ["of_sources", "resumed", "unfinished"]


def resumed(latest: Path) -> dict[str, str]:
    """What a run that goes on with the latest one says of it in its state: the name of its folder.

    Its journal holds what it takes over only as it comes to it, and nothing hands on the rest of a run that is killed.
    """
    return {"resumes": latest.resolve().name} if latest.exists() else {}


def unfinished(
    latest: Path, now: Run, *, finished: bool = False, wanted: Callable[[Result], bool] = lambda _: True
) -> tuple[dict[tuple[str, str], Result], str]:
    """The completed results of the latest run by (suite, case id), and a sentence about them.

    There are none unless that run was interrupted, and measured the same sources with the same data, plan, packages and
    machine: a result of other code must not stand in a run of this one. With `finished` a run that was not interrupted
    does as well. What that run itself had gone on with counts too, where all of this holds for it, and the newest
    result of a case is the one that is taken. Only those that are `wanted` are taken and counted. Raises `RecordError`
    for a record that is damaged.
    """
    again = "so this run starts from the beginning"
    if not latest.exists():
        return {}, f"--resume: there is no earlier run, {again}"
    run = _read(latest)
    if why := _differs(run, now, finished=finished):
        return {}, f"--resume: {' and '.join(why)}, {again}"
    newest: dict[tuple[str, str], Result] = {}
    for one in _with_forerunners(latest.resolve(), run):
        if _differs(one, now, finished=finished):
            break
        # What that run handed on of models and hardware that it did not select may be of any data and any machine.
        unknown, both = _unknown_data(one, now), one.environment.hardware.keys() & now.environment.hardware.keys()
        known = [r for r in one.results if f"data.{r.model}" not in unknown and r.hardware in both]
        newest = {(result.suite, result.case_id): result for result in known} | newest
    of_this = {key: result for key, result in newest.items() if wanted(result)}
    if newest and not of_this:
        return {}, f"--resume: the latest run measured other models, suites or hardware, {again}"
    found = {key: result for key, result in of_this.items() if result.outcome is Outcome.COMPLETED}
    when = "in the latest run" if run.complete else "before the run was interrupted"
    return found, f"--resume: {len(found)} cases were measured {when}"


def of_sources(
    now: Run, earlier: dict[tuple[str, str], Result], sources: str
) -> tuple[Run, dict[tuple[str, str], Result], str]:
    """A run that measures these sources, what it takes over of its `earlier` results, and a sentence where that is no
    longer what it was.

    Ordinary tests that came before the first case may have written data, of which no earlier result is.
    """
    here = now.environment
    if here.state.get("sources") == sources:
        return now, earlier, ""
    anew = "--resume: tests wrote among the sources before the first case, so this run starts from the beginning"
    run = dataclasses.replace(now, environment=here.saying({"sources": sources}))
    return run, {}, anew if earlier else ""


def _with_forerunners(folder: Path, run: Run) -> Iterator[Run]:
    """A run, then the one that it went on with, and so on: the newest first. A complete one took all that it wanted.

    A folder that was deleted meanwhile ends the row.
    """
    seen = {folder.name}
    yield run
    while not run.complete:
        name = str(run.environment.state.get("resumes", ""))
        before = folder.parent / name
        if not name or name in seen or not before.is_dir():
            return
        seen.add(name)
        run = _read(before)
        yield run


def _read(folder: Path) -> Run:
    """A run that may have been killed. The case in whose line that was is measured again, which is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # which a project's filterwarnings may turn into an error
        return read_run(folder)


def _differs(run: Run, now: Run, *, finished: bool) -> list[str]:
    """Why nothing of a run may stand in this one."""
    here, there = now.environment, run.environment
    both = _data(now) - _unknown_data(run, now)
    models = ", ".join(name.removeprefix("data.") for name in sorted(both) if here.state[name] != there.state[name])
    differs = {
        "the earlier run was finished": run.complete and not finished,
        "the mode differs": run.mode != now.mode,
        "the sampling plan differs": run.plan != now.plan,
        "the machine differs": any(here.hardware.get(name, one) != one for name, one in there.hardware.items()),
        "what it is compared with differs": there.state.get("against") != here.state.get("against"),
        "packages differ": there.software != here.software,
        "sources, packages or flags were changed": there.state.get("sources") != here.state.get("sources"),
        f"the data of {models} changed": bool(models),
    }
    return [reason for reason, holds in differs.items() if holds]


def _data(now: Run) -> set[str]:
    return {name for name in now.environment.state if name.startswith("data.")}


def _unknown_data(run: Run, now: Run) -> set[str]:
    """The data of this run, by their names in its state, of which the earlier one says nothing."""
    return _data(now) - run.environment.state.keys()
