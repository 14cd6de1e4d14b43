"""`harness sensitivity`: which layers of a model cost its accuracy when they are quantized.

Exit codes: 0 measured; 2 an error.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.cli.importing import import_suite
from harness.cli.output import say, show
from harness.codec import dumps
from harness.errors import SuiteError
from harness.grid import Grid, grids_of
from harness.model import Model
from harness.report.text import shorten
from harness.sensitivity import EVALUATED, TECHNIQUES, Sensitivity
from harness.sensitivity import sensitivity as measure
from harness.techniques import int8_dynamic, int8_static
from harness.techniques.base import Technique
from harness.units import count, points

__all__ = ["add", "sensitivity"]

NAME = 48
"""Columns for the name of a layer."""


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "sensitivity",
        help="which layers of a model cost its accuracy when they are quantized",
        description="Quantize one layer of a model at a time to 8 bits, and say for each what that does to the outputs "
        "(SQNR, in decibels) and, for the worst, to the accuracy. The names are those that keep=[...] of the technique "
        "takes; max_drop=0.01 leaves the most costly in float by itself.",
        allow_abbrev=False,
    )
    parser.add_argument("suite", type=Path, metavar="SUITE", help="the suite's file, such as suites/test_digits.py")
    parser.add_argument("--model", default="", metavar="NAME", help="a model of the suite (default: its only one)")
    parser.add_argument(
        "--technique", default="int8_static", metavar="ID",
        help=f"{' or '.join(TECHNIQUES)}, or a step of the suite's with its parameters, as ids have it: "
        "int8_static:percentile:ops-MatMul (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--evaluate", type=int, default=EVALUATED, metavar="N",
        help="layers, the worst first, whose accuracy is measured as well (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=sensitivity, wrong=parser.error)


def sensitivity(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.evaluate < 0:
        arguments.wrong("--evaluate: a number of layers is needed, 0 for none")
    grids = _grids(arguments.suite)
    model = _model(grids, arguments.model, arguments.suite)
    technique = _technique(grids, arguments.technique, arguments.suite)
    found = measure(model, technique, evaluated=arguments.evaluate, say=_progress)
    if arguments.json:
        show(dumps(_record(found), indent=2))
    else:
        say(_text(found))
    return 0


def _progress(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _grids(suite: Path) -> tuple[Grid, ...]:
    """The grids of a suite's file. Raises `SuiteError` where it has none."""
    path = suite.resolve()
    if not path.is_file():
        raise SuiteError(f"{suite}: there is no such file; give the file of a suite")
    root = _root(path)
    grids = grids_of(import_suite(root, path.relative_to(root).as_posix(), str(suite))[0])
    if not grids:
        raise SuiteError(f"{suite}: no function with a grid")
    return grids


def _root(path: Path) -> Path:
    """The project's folder, from which suites are imported: where pytest finds its settings, which a project need not
    have; else the one that the user stands in; or the file's own.
    """
    settings = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")
    here = Path.cwd()
    fallback = here if path.is_relative_to(here) else path.parent
    return next((up for up in path.parents if any((up / name).is_file() for name in settings)), fallback)


def _model(grids: tuple[Grid, ...], name: str, suite: Path) -> Model:
    models = {model.name: model for grid in grids for model in grid.models}
    if name in models:
        return models[name]
    if not name and len(models) == 1:
        return next(iter(models.values()))
    said = f"has no model {name!r}" if name else "has several models, and --model NAME must say which"
    raise SuiteError(f"{suite} {said}; there are {', '.join(models)}")


def _technique(grids: tuple[Grid, ...], wanted: str, suite: Path) -> Technique:
    """A technique by its name, with its defaults, or by the id of a step that the suite has."""
    plain = {technique.name: technique for technique in (int8_static, int8_dynamic)}
    steps = {step.id: step for grid in grids for pipeline in grid.techniques for step in pipeline.steps}
    known = {**{name: step for name, step in steps.items() if step.name in TECHNIQUES}, **plain}
    if wanted not in known:
        raise SuiteError(f"{wanted} is no technique whose sensitivity can be measured; {suite} has {', '.join(known)}")
    return known[wanted]


def _record(found: Sensitivity) -> dict[str, Any]:
    """As JSON has it: what is no finite number is null, as is an accuracy that was not measured."""
    return {
        "model": found.model,
        "technique": found.technique,
        "accuracy": _finite(found.accuracy),
        "sqnr": _finite(found.sqnr),
        "drop": _finite(found.drop),
        "layers": [
            {
                "name": cost.layer.name,
                "operator": cost.layer.operator,
                "nodes": list(cost.layer.nodes),
                "parameters": cost.layer.elements,
                "sqnr": _finite(cost.sqnr),
                "drop": None if cost.drop is None else _finite(cost.drop),
            }
            for cost in found.layers
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(found: Sensitivity) -> Iterator[str]:
    yield f"{found.technique} on {found.model}, one layer at a time; the most costly first"
    together = f"SQNR {_decibels(found.sqnr)} dB, accuracy {points(-found.drop)}"
    yield f"accuracy in float {found.accuracy:.4f}; everything quantized: {together}"
    yield ""
    yield f"{'layer':{NAME}}  {'operator':12}  {'weights':>12}  {'SQNR, dB':>9}  {'accuracy':>9}"
    for cost in found.layers:
        layer = cost.layer
        name = layer.name if layer.elements else f"{layer.name} (all {len(layer.nodes)})"
        drop = "-" if cost.drop is None else points(-cost.drop)
        yield (
            f"{shorten(name, NAME):{NAME}}  {shorten(layer.operator, 12):12}  {count(layer.elements):>12}  "
            f"{_decibels(cost.sqnr):>9}  {drop:>9}"
        )


def _decibels(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "same" if value > 0 else "broken"
