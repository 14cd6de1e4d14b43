"""What a technique is: a function `Deployment -> Deployment` with a name, requirements and promises.

::

    @technique(needs="batchable")
    def batched(deployment, n: int):
        return deployment.replace(batch_size=n).promising(Promise("batch", equals=n))
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, overload

from harness.deployment import Deployment, Promise
from harness.errors import EvidenceError, HarnessError, PreparationError, SuiteError, UnavailableError
from harness.hardware.base import Hardware
from harness.model import Model
from harness.names import check_name, ordered, slug
from harness.signatures import signature_of
from harness.techniques.forms import wrong_form

__all__ = ["Pipeline", "Technique", "as_pipeline", "reference", "technique"]

Function = Callable[..., Deployment]
Needs = Callable[[Mapping[str, Any]], str | Iterable[str]]
Requires = Callable[..., "str | None"]

_NEEDS = {
    "training": "data and a loss to train with (Model.training)",
    "calibration": "data to calibrate with (Model.calibration)",
    "batchable": "inputs whose first axis is a batch (Model.batchable)",
}
_FIELDS = {field.name for field in dataclasses.fields(Model)}


@dataclass(frozen=True)
class Technique:
    """One technique, with or without its parameters bound. Made by `@technique`.

    name       the function's name; with its parameters it is the technique's part of a case id
    takes      form or forms of network that it works on: "torch", "onnx"; None for any
    gives      form of network it leaves; None for the same
    needs      what the model must have: "training", "calibration", "batchable"; or a function that tells it from the
               parameters by name, defaults included
    requires   (hardware, form of the network it gets) -> why it can't be used here, and the cure; None where it can. It
               may take more arguments, with the names of parameters, and gets those that the suite gives
    """

    name: str
    function: Function
    takes: tuple[str, ...] | None = None
    gives: str | None = None
    needs: tuple[str, ...] | Needs = ()
    requires: Requires | None = None
    parameters: tuple[tuple[str, Any], ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Technique:
        """The same technique with parameters: `pruned_channels(0.5)`. Raises `SuiteError` where they don't fit."""
        bound = dict(self.parameters)
        try:
            signature = signature_of(self.function)
            bound.update(list(signature.bind_partial(None, *args, **kwargs).arguments.items())[1:])
        except TypeError as error:
            raise SuiteError(f"technique {self.name}: {error}") from None
        for name, value in bound.items():
            # A class has it too, and a number of numpy's has no axes: its text is a word.
            if isinstance(axes := getattr(value, "ndim", 0), int) and axes:
                raise SuiteError(
                    f"technique {self.name}: its parameter {name!r} is an array, which makes no word of an id; give a "
                    "number or a text that stands for it, such as the name of its file"
                )
        return dataclasses.replace(self, parameters=tuple(bound.items()))

    def __or__(self, other: Technique | Pipeline) -> Pipeline:
        return as_pipeline(self) | other

    @property
    def id(self) -> str:
        """The name with the parameters that differ from their defaults, in their order: `pruned_channels:0.5`.

        What can only be given by name carries it, and so does what follows one of its type that is left out: of
        `(bits=8, group=64)` the word `4` alone is `bits`. Raises `SuiteError` for a value whose text is not the same in
        every process.
        """
        given, words, left_out = dict(self.parameters), [self.name], set[type]()
        for one in self._declared:
            value = given.get(one.name, one.default)
            if value is one.default or value == one.default:
                left_out.add(type(one.default))
                continue
            word = slug(self._text(one.name, value))
            named = one.kind is one.KEYWORD_ONLY or type(one.default) in left_out
            words.append(f"{one.name}-{word}" if named else word)
        return ":".join(words)

    @property
    def _declared(self) -> list[Parameter]:
        return list(signature_of(self.function).parameters.values())[1:]

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, (Technique, Pipeline)):
            return value.id
        text = str(ordered(getattr(value, "name", getattr(value, "__name__", value))))
        if " at 0x" in text:
            raise SuiteError(
                f"technique {self.name}: its parameter {name!r} is {text}, which has another name in each process, "
                "so no case could be found again; give a value with a `name`, or a number or a text that stands for it"
            )
        return text

    @property
    def arguments(self) -> dict[str, Any]:
        """The parameters by name in the order of their declaration, defaults included."""
        return {one.name: one.default for one in self._declared} | dict(self.parameters)

    @property
    def needed(self) -> tuple[str, ...]:
        """What the model must have under these parameters. Raises `SuiteError` for what no model has."""
        return self.needs if isinstance(self.needs, tuple) else _fields(self.name, self.needs(self.arguments))

    def unavailable(self, hardware: Hardware, form: str) -> str | None:
        """What is missing on this machine under these parameters, with its cure; None where nothing is."""
        try:
            return self._asked(hardware, form)
        except UnavailableError as error:
            return str(error)
        except Exception:  # `apply` meets it again, where it ends this case alone; here it would end the run
            return None

    def _asked(self, hardware: Hardware, form: str) -> str | None:
        if self.requires is None:
            return None
        accepted = list(signature_of(self.requires).parameters)[2:]
        return self.requires(hardware, form, **{one: value for one, value in self.parameters if one in accepted})

    def check_parameters(self) -> None:
        """Raise `SuiteError` where a parameter without default was not given."""
        given = dict(self.parameters)
        for one in self._declared:
            if one.default is one.empty and one.name not in given:
                raise SuiteError(f"technique {self.name} needs {one.name!r}: write {self.name}({one.name}=…)")

    def apply(self, deployment: Deployment) -> Deployment:
        """Apply it, and sign its promises. Raises `PreparationError` if it fails, `EvidenceError` if promises lack."""
        before = deployment.promises
        try:
            self._asked(deployment.hardware, deployment.form)  # for the errors that `unavailable` keeps to itself
            after = self.function(deployment, **dict(self.parameters))
        except HarnessError:
            raise
        except Exception as error:
            raise PreparationError(f"technique {self.id} failed: {type(error).__name__}: {error}") from error
        if not isinstance(after, Deployment):
            raise PreparationError(f"technique {self.id} returned {type(after).__name__} instead of a Deployment")
        if after.form != (declared := self.gives or deployment.form):
            raise PreparationError(
                f"technique {self.id} leaves a network of form {after.form!r} and declares {declared!r}: write "
                f"@technique(gives={after.form!r}), or replace the runtime by one of {declared!r} networks"
            )
        kept, added = after.promises[: len(before)], after.promises[len(before) :]
        lost = [(name, promise.fact) for name, promise in kept] != [(name, promise.fact) for name, promise in before]
        if lost or not added:
            what = "drops promises of the steps before it" if lost else "promises nothing"
            raise EvidenceError(
                f"technique {self.id} {what}, so nobody could tell what happened; "
                "return deployment.replace(...).promising(Promise(...))"
            )
        return after.replace(promises=(*kept, *((self.id, promise) for _, promise in added)))


@dataclass(frozen=True)
class Pipeline:
    """Techniques one after the other."""

    steps: tuple[Technique, ...]

    def __or__(self, other: Technique | Pipeline) -> Pipeline:
        return Pipeline(self.steps + as_pipeline(other).steps)

    @functools.cached_property
    def id(self) -> str:
        return "+".join(step.id for step in self.steps)

    def inapplicable(self, model: Model) -> str | None:
        """Why this can't be applied to the model, known without loading it; None where it can."""
        for step, form in self.walk(model):
            if step.name in model.unsupported:
                return f"{step.name} on {model.name}: {model.unsupported[step.name]}"
            if step.takes is not None and form not in step.takes:
                return wrong_form(step.name, step.takes, model, form)
            for need in step.needed:
                if not getattr(model, need):
                    return f"{step.name} needs {_NEEDS.get(need, need)}, which the model {model.name} does not have"
        return None

    def unavailable(self, model: Model, hardware: Hardware) -> str | None:
        """What is missing on this machine for one of the steps, with its cure; None where nothing is."""
        reasons = (step.unavailable(hardware, form) for step, form in self.walk(model))
        return next((reason for reason in reasons if reason), None)

    def apply(self, deployment: Deployment) -> Deployment:
        """Apply all steps in order."""
        for step in self.steps:
            deployment = step.apply(deployment)
        return deployment

    def walk(self, model: Model) -> Iterator[tuple[Technique, str]]:
        """Each step with the form of the network that it gets."""
        form = model.form
        for step in self.steps:
            yield step, form
            form = step.gives or form

    def __repr__(self) -> str:
        return self.id


@overload
def technique(function: Function, /) -> Technique: ...
@overload
def technique(
    *,
    takes: str | Iterable[str] | None = None,
    gives: str | None = None,
    needs: str | Iterable[str] | Needs = (),
    requires: Requires | None = None,
) -> Callable[[Function], Technique]: ...
def technique(
    function: Function | None = None,
    /,
    *,
    takes: str | Iterable[str] | None = None,
    gives: str | None = None,
    needs: str | Iterable[str] | Needs = (),
    requires: Requires | None = None,
) -> Any:
    """Make a technique of a function `(deployment, parameters…) -> deployment`; see `Technique` for the arguments.

    Heavy imports belong into the function: suites are collected on machines that never run it. Raises `SuiteError` for
    a parameter that can't be given by its name, and for a need that no model has.
    """

    def make(function: Function) -> Technique:
        if not hasattr(function, "__name__"):
            raise SuiteError(f"{function!r} has no name for a technique; write a function with def that calls it")
        name = check_name("technique", function.__name__)
        forms = (takes,) if isinstance(takes, str) else None if takes is None else tuple(takes)
        words: tuple[str, ...] | Needs = needs if callable(needs) else _fields(name, needs)
        for parameter in list(signature_of(function).parameters.values())[1:]:
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise SuiteError(
                    f"technique {name}: parameters are given by their names, and {parameter} can't be; write each one "
                    "out, without *args, **options and /"
                )
        made = Technique(name, function, forms, gives, words, requires)
        object.__setattr__(made, "__doc__", function.__doc__)
        return made

    return make(function) if function is not None else make


def _fields(technique: str, needs: str | Iterable[str]) -> tuple[str, ...]:
    """What a technique says that it needs, as fields of a model. Raises `SuiteError` for what is none."""
    words = (needs,) if isinstance(needs, str) else tuple(needs)
    if unknown := [word for word in words if word not in _FIELDS]:
        raise SuiteError(f"technique {technique} needs {unknown[0]!r}, and a model has {', '.join(_NEEDS)}")
    return words


def as_pipeline(value: object) -> Pipeline:
    """A pipeline of one, or the pipeline itself. Raises `SuiteError` for anything else and for missing parameters."""
    if isinstance(value, Technique):
        value = Pipeline((value,))
    if not isinstance(value, Pipeline):
        hint = "; decorate the function with @technique" if callable(value) else ""
        raise SuiteError(f"{value!r} is no technique{hint}")
    for step in value.steps:
        step.check_parameters()
    return value


@technique
def reference(deployment: Deployment) -> Deployment:
    """The model as it is: fp32 in its native runtime, one item a call. What everything else is measured against."""
    return deployment.promising(
        Promise("batch", equals=1),
        Promise("runtime", equals=deployment.runtime.name),
        Promise("weights.float32", at_least=0.999),
        Promise("precision", equals="float32"),
    )
