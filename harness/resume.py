"""Going on with a run that was interrupted."""

from __future__ import annotations

from pathlib import Path

from harness.records import Outcome, Result, Run
from harness.report.record import read_run

__all__ = ["unfinished"]


def unfinished(latest: Path, now: Run, *, finished: bool = False) -> tuple[dict[tuple[str, str], Result], str]:
    """The completed results of the latest run by (suite, case id), and a sentence about them.

    There are none unless that run was interrupted, and measured the same sources with the same data, plan, packages and
    machine: a result of other code must not stand in a run of this one. With `finished` a run that was not interrupted
    does as well.
    """
    again = "so this run starts from the beginning"
    if not latest.exists():
        return {}, f"--resume: there is no earlier run, {again}"
    run = read_run(latest)
    here, there = now.environment, run.environment
    data = {name.removeprefix("data."): name for name in sorted(here.state) if name.startswith("data.")}
    # What that run handed on of models that it did not select may be of any data.
    unknown = {model for model, name in data.items() if name not in there.state}
    models = ", ".join(m for m, name in data.items() if m not in unknown and here.state[name] != there.state[name])
    differs = {
        "the earlier run was finished": run.complete and not finished,
        "the mode differs": run.mode != now.mode,
        "the sampling plan differs": run.plan != now.plan,
        "the machine differs": there.hardware != here.hardware,
        "what it is compared with differs": there.state.get("against") != here.state.get("against"),
        "packages differ": there.software != here.software,
        "sources, packages or flags were changed": there.state.get("sources") != here.state.get("sources"),
        f"the data of {models} changed": bool(models),
    }
    why = [reason for reason, holds in differs.items() if holds]
    if why:
        return {}, f"--resume: {' and '.join(why)}, {again}"
    found = {
        (result.suite, result.case_id): result
        for result in run.results
        if result.outcome is Outcome.COMPLETED and result.model not in unknown
    }
    when = "in the latest run" if run.complete else "before the run was interrupted"
    return found, f"--resume: {len(found)} cases were measured {when}"
