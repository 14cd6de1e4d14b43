"""`@grid`: models x techniques x hardware, attached to a test function as plain data.

This module knows no pytest. The plugin expands a grid into test items; a worker process finds a case again by its file,
function and id, and so can do it in another checkout or under another interpreter.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from harness.errors import AbsentError, HarnessError, SuiteError
from harness.hardware.base import Hardware
from harness.metrics import Metric, resolve
from harness.model import Model
from harness.names import check_name
from harness.runtimes.native import native_runtime
from harness.techniques.base import Pipeline, Technique, as_pipeline, reference

__all__ = [
    "Address",
    "Case",
    "Grid",
    "find_case",
    "grid",
    "grid_of",
    "grids_of",
    "load_suite",
    "own_metrics",
    "steps_on",
    "suite_module",
]

ATTRIBUTE = "__harness_grid__"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Address:
    """Where a case stands, in words that another process understands.

    root is the project's folder, file the suite file relative to it, function the test function's name; "" for a case
    that need not stand on a grid, as long as each of its parts does (see `find_case`).
    """

    root: str
    file: str
    function: str
    case_id: str


@dataclass(frozen=True)
class Case:
    """One point of a grid."""

    model: Model
    technique: Pipeline
    hardware: Hardware

    @property
    def id(self) -> str:
        """`model/technique/hardware`."""
        return "/".join(self.words)

    @property
    def words(self) -> tuple[str, str, str]:
        """The three words of the id."""
        return self.model.name, self.technique.id, self.hardware.name

    @property
    def reference(self) -> Case:
        """The same model, as it is, on the same hardware."""
        return Case(self.model, _as_it_is(), self.hardware)

    def inapplicable(self) -> str | None:
        """Why the technique can't be applied to this model, None where it can."""
        return self.technique.inapplicable(self.model)

    def unavailable(self) -> str | None:
        """What is not on this machine and needed, with its cure; None where nothing is."""
        return (
            self.hardware.available()
            or native_runtime(self.model.form).unavailable(self.hardware)
            or self.technique.unavailable(self.model, self.hardware)
        )

    def __repr__(self) -> str:
        return self.id


@functools.cache
def _as_it_is() -> Pipeline:
    """The pipeline of every reference: each case asks for it several times."""
    return as_pipeline(reference)


@dataclass(frozen=True)
class Grid:
    """The three axes of a test function, and the metrics that its suite changes or adds.

    fault   why a suite that is to be judged must not have it, "" for nothing; another tree may, which nobody mends here
    """

    models: tuple[Model, ...]
    techniques: tuple[Pipeline, ...]
    hardware: tuple[Hardware, ...]
    metrics: tuple[Metric, ...] = ()
    fault: str = ""

    def cases(self) -> tuple[Case, ...]:
        """The product of the axes, model by model."""
        return tuple(Case(*point) for point in itertools.product(self.models, self.techniques, self.hardware))


def grid(
    *,
    model: Iterable[Model],
    technique: Iterable[Technique | Pipeline],
    hardware: Iterable[Hardware],
    metrics: Iterable[Metric] = (),
) -> Callable[[F], F]:
    """Make a test function one test for each combination; the function takes `case` and `bench`.

    Of two grids on a function the upper one counts, whose `fault` says so. Raises `SuiteError` for an empty axis, a
    value of the wrong kind, a technique without its parameters, one of one's own that is called `reference`, or an id
    that two cases share.
    """
    # An iterator gives its values only once.
    models, techniques, places = tuple(model), tuple(technique), tuple(hardware)
    for name, values in (("model", models), ("technique", techniques), ("hardware", places)):
        if not values:
            raise SuiteError(f"grid: the axis {name!r} is empty, so nothing would be measured; give at least one value")
    for one in models:
        if not isinstance(one, Model):
            raise SuiteError(f"grid: {one!r} on the axis 'model' is no harness.Model")
    for place in places:
        if isinstance(place, type):
            raise SuiteError(f"grid: {place.__name__} on the axis 'hardware' is a class; write {place.__name__}()")
        if not isinstance(place, Hardware):
            raise SuiteError(f"grid: {place!r} on the axis 'hardware' has no name, available() and describe()")
        check_name("hardware", place.name)
    result = Grid(
        models=models,
        techniques=tuple(as_pipeline(value) for value in techniques),
        hardware=places,
        metrics=tuple(metrics),
    )
    resolve(result.metrics)
    for step in (step for pipeline in result.techniques for step in pipeline.steps):
        if step.name == reference.name and step.function is not reference.function:
            raise SuiteError(
                "grid: a technique of your own is called reference, and ids with that name are of the model as it is, "
                "which would be measured in its place; give it another name"
            )
    seen: dict[str, Case] = {}
    for case in result.cases():
        if (other := seen.setdefault(case.id, case)) is not case:
            cure = "give one of them another name"
            if other.model is case.model:
                cure += ", leave one out if they are the same, or make the parameter that differs keyword-only"
            raise SuiteError(f"grid: two cases share the id {case.id}; {cure}")

    def attach(function: F) -> F:
        fault = ""
        if ATTRIBUTE in vars(function):
            name = getattr(function, "__name__", function)
            fault = f"{name} stands under two grids, and only one would be measured; give each a function of its own"
        setattr(function, ATTRIBUTE, dataclasses.replace(result, fault=fault))
        return function

    return attach


def grid_of(function: object) -> Grid | None:
    """The grid that `@grid` attached to a function, None where there is none."""
    value = getattr(function, ATTRIBUTE, None)
    return value if isinstance(value, Grid) else None


def load_suite(root: Path, file: str, given: str = "") -> Any:
    """Import a suite file the way a worker needs it: by its dotted name under `root`, so that pickles find classes.

    Errors on what it holds name it as it was `given`, if that is another way. Raises `AbsentError` where there is none,
    and `SuiteError` where it can't be imported.
    """
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    name = suite_module(file)
    if name in sys.modules:
        return sys.modules[name]
    if not (root / file).exists():
        raise AbsentError(f"there is no {file} in {root}")
    spec = importlib.util.spec_from_file_location(name, root / file)
    if spec is None or spec.loader is None:
        raise SuiteError(f"{file}: can't be imported as a suite")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]  # or who asks next gets half of it
        if isinstance(error, (HarnessError, MemoryError)):
            raise
        given = given or file
        cause = f"{type(error).__name__}: {error}"
        cure = f"to see where: pytest --collect-only {given}"
        if isinstance(error, ImportError):
            cure += "; if that imports it, name the folder that it needs in pytest's option `pythonpath`"
        raise SuiteError(f"{given} can't be imported: {cause}; {cure}") from error
    return module


def suite_module(file: str) -> str:
    """The name under which a suite file, given relative to its root, is imported."""
    return ".".join(Path(file).with_suffix("").parts)


def grids_of(module: Any, counts: Callable[[object, str], bool] = lambda _, __: True) -> tuple[Grid, ...]:
    """The grids of a suite's functions, in the order in which they stand there; of those that count, told by the
    function and its name.
    """
    functions = ((value, name) for name, value in vars(module).items() if isinstance(value, FunctionType))
    found = (grid_of(value) for value, name in functions if counts(value, name))
    return tuple(one for one in found if one is not None)


def own_metrics(grids: Iterable[Grid], of: str = "one model") -> tuple[Metric, ...]:
    """The metrics that these grids of a file change or add, each once.

    Raises `SuiteError` where two grids mean different things by one name; it says what the grids are `of`.
    """
    found: dict[str, Metric] = {}
    for metric in [metric for one in grids for metric in one.metrics]:
        if found.setdefault(metric.name, metric) != metric:
            raise SuiteError(f"metric {metric.name} differs between two grids of {of}; give both the same value")
    return tuple(found.values())


def steps_on(grids: Iterable[Grid]) -> dict[str, Technique]:
    """The steps of the pipelines on these grids by their ids.

    Raises `SuiteError` where two that differ have one id: either could be measured under it.
    """
    found: dict[str, Technique] = {}
    for step in (step for one in grids for pipeline in one.techniques for step in pipeline.steps):
        known = found.setdefault(step.id, step)
        if (known.function, known.arguments) != (step.function, step.arguments):
            raise SuiteError(
                f"two techniques on the grids of one model and hardware differ and share the id {step.id}; give one of "
                "them another name, or both the same value of each parameter; what a function makes is another one at "
                "each call: make it once"
            )
    return found


def find_case(address: Address) -> tuple[Case, Grid]:
    """The case at an address, and its grid. Raises `AbsentError` where it is not there.

    An address without a function names a case that is put together: each step of its technique must stand on some grid
    of the file that has its model and its hardware. The grid is then all of them in one.
    """
    module = load_suite(Path(address.root), address.file)
    if not address.function:
        return _composed(address, grids_of(module))
    function = getattr(module, address.function, None)
    found = grid_of(function) if isinstance(function, FunctionType) else None
    if found is None:
        raise AbsentError(f"{address.file}: no function {address.function} with a grid")
    for case in found.cases():
        if case.id == address.case_id:
            return case, found
        if case.reference.id == address.case_id:
            return case.reference, found
    raise AbsentError(f"{address.file}::{address.function} has no case {address.case_id}")


def _composed(address: Address, grids: Sequence[Grid]) -> tuple[Case, Grid]:
    models = {model.name: model for one in grids for model in one.models}
    places = {place.name: place for one in grids for place in one.hardware}
    model, technique, place = address.case_id.split("/")
    own = [one for one in grids if models.get(model) in one.models and places.get(place) in one.hardware]
    steps = {**steps_on(own), reference.id: reference}
    words = technique.split("+")
    if absent := [word for word in words if not own or word not in steps]:
        raise SuiteError(f"{address.file}: no grid of {model} on {place} has {' and '.join(absent)}")
    whole = Grid(
        tuple(models.values()),
        tuple(technique for one in grids for technique in one.techniques),
        tuple(places.values()),
        tuple({metric.name: metric for one in grids for metric in one.metrics}.values()),
    )
    return Case(models[model], Pipeline(tuple(steps[word] for word in words)), places[place]), whole
