"""Values that another process can rebuild: a class by its import path, and its fields.

Runtimes and hardware are frozen dataclasses of scalars, the bundled ones as well as a user's own; an artefact's
manifest and a message name them this way, so that no registry and no pickle is needed.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import SuiteError
from harness.records import Scalar

__all__ = ["Spec", "spec_of"]


@dataclass(frozen=True)
class Spec:
    """`type` is `module:Class`; `options` its fields."""

    type: str
    options: Mapping[str, Scalar | None] = field(default_factory=dict)

    def build(self) -> Any:
        """Import the class and construct the value. Raises `SuiteError` where there is no such class."""
        module, _, name = self.type.partition(":")
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise SuiteError(f"{self.type} can't be imported in this process: {error}") from error
        return cls(**self.options)


def spec_of(value: Any) -> Spec:
    """The spec of a frozen dataclass instance. Raises `SuiteError` for anything else."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise SuiteError(f"{value!r} must be an instance of a dataclass defined at the top level of a module")
    options = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    wrong = [name for name, option in options.items() if not isinstance(option, (str, int, float, bool, type(None)))]
    if wrong:
        raise SuiteError(f"{type(value).__name__}.{wrong[0]} must be a string, number, bool or None to reach a worker")
    return Spec(f"{type(value).__module__}:{type(value).__qualname__}", options)
