"""What a search hands over: what it recommends as Python, as a suite file and as an artefact."""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Iterable

from harness.cli.output import fail
from harness.errors import SuiteError
from harness.files import write_atomic
from harness.grid import Grid, own_metrics
from harness.optimize import Found, Space
from harness.optimize.measuring import Bench
from harness.optimize.suite import Names, free_name, suite_text
from harness.optimize.text import unproved, unshipped
from harness.report.commands import NO_TIME
from harness.techniques.base import Pipeline

__all__ = ["deliver", "in_python", "kept", "suite_of"]


def in_python(bench: Bench, found: Found) -> tuple[str, str, str]:
    """The recommended pipeline and the suite as Python, and why what is "" of them can't be written."""
    expression = suite = ""
    if not found.best.stands:
        return expression, suite, ""
    why = f"{bench.space.model.name}: what a search kept for {bench.goal}."
    try:
        expression = Names(bench.root, bench.file).of(found.best.case.technique)
        suite = suite_of(Names(bench.root, bench.file), bench.space, bench.grids, kept(found), why)
    except SuiteError as error:
        return expression, suite, f"no suite file can be written: {error}"
    return expression, suite, ""


def kept(found: Found) -> list[Pipeline]:
    """The pipelines of the suite: the reference, the front, and the recommended one, which need not be on it."""
    trials = {one.steps: one for one in (found.reference, *found.front, found.best)}
    return [one.case.technique for one in trials.values()]


def suite_of(names: Names, space: Space, grids: tuple[Grid, ...], pipelines: Iterable[Pipeline], why: str) -> str:
    """A suite of these pipelines. Raises `SuiteError` where a value of it has no name."""
    return suite_text(names, space.model, pipelines, space.hardware, own_metrics(grids), why)


def deliver(arguments: argparse.Namespace, bench: Bench, found: Found, suite: str) -> list[str]:
    """Write the artefact and the suite file that were asked for. Gives a line for each."""
    lines: list[str] = []
    target, export = arguments.suite_file, arguments.export
    # Before the suite file, which may lie among the sources: what is made of others than the search's fails.
    if export:
        artefact = bench.artefact(found.best)
        shutil.copytree(artefact.folder, export)
        lines.append(f"artefact: {export}; its manifest says what it is and what was found in it")
        if doubt := unproved(found, artefact.manifest.weights):
            fail(doubt)
    if target and suite:
        write_atomic(target, suite.encode("utf-8"))
        gate = shlex.join(["pytest", str(target), "--baseline=update", "--reason", "optimised"])
        lines.append(f"suite: {target}; make it a gate with: {gate}")
    if not (target or export):
        again = bench.command if arguments.resume else f"{bench.command} --resume"
        # What is known takes no time; with all of its time again, the search would come to something else.
        again += "" if found.complete else f" {shlex.join(NO_TIME)}"
        again += f" --export DIR{f' --suite-file {free_name(bench.file)}' if suite else ''}"
        lines.append(unshipped(found) or f"to ship it: {again}")
    return lines
