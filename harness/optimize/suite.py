"""A suite file with exactly the grid that a search recommends, and the words for a pipeline in Python."""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import harness.hardware
import harness.techniques
from harness.errors import SuiteError
from harness.files import outside_of_packages
from harness.grid import grid, suite_module
from harness.hardware.base import Hardware
from harness.metrics import Metric
from harness.model import Model
from harness.techniques.base import Pipeline, Technique

__all__ = ["Names", "free_name", "suite_text"]


@dataclass
class Names:
    """Python names of the values of a suite file, and the imports that they need.

    root and file say where the suite lies. Values are looked up where the file has them from: in the harness, or in a
    module of the project.

    imports  what is imported from each module, as the statement has it
    taken    the value that each name stands for
    """

    root: Path
    file: str
    imports: dict[str, set[str]] = field(default_factory=dict)
    taken: dict[str, object] = field(default_factory=lambda: {"grid": grid})

    def of(self, value: Any) -> str:
        """The expression for a pipeline, a technique, a model, a hardware or a parameter of a technique.

        Raises `SuiteError` for a value that no module holds under a name, and that Python can't write either.
        """
        if isinstance(value, Pipeline):
            return " | ".join(self.of(step) for step in value.steps)
        if isinstance(value, Technique):
            name = self._found(value.function, value.name)
            if not value.parameters:
                return name
            return f"{name}({', '.join(f'{key}={self.of(given)}' for key, given in value.parameters)})"
        if isinstance(value, (Model, Metric, Hardware)):
            return self._found(value, "")
        if isinstance(value, frozenset):
            return f"frozenset({self.of(set(value))})"
        return repr(value) if _is_literal(value) else self._found(value, getattr(value, "__name__", ""))

    def lines(self) -> list[str]:
        """The import statements, in order: `harness` first."""
        modules = sorted(self.imports, key=lambda name: (not name.startswith("harness"), name))
        return [f"from {module} import {', '.join(sorted(self.imports[module]))}" for module in modules]

    def check_importable(self, target: Path, reached: Iterable[str]) -> None:
        """Raise `SuiteError` where pytest, by itself, could not import from a suite file `target` what it needs.

        `reached` are folders that Python finds modules in anyway, such as pytest's `pythonpath`. What the harness took
        from the project's own folder pytest takes from there only where the target or a conftest lies in it or in a
        package in it.
        """
        root, folder = self.root.resolve(), target.resolve().parent
        inside = [one for one in (folder, *folder.parents) if one.is_relative_to(root)]
        conftests = [one for one in inside if (one / "conftest.py").is_file()]
        start = outside_of_packages(folder)
        if root in (start, *map(outside_of_packages, conftests), *(Path(path).resolve() for path in reached)):
            return
        needed = next((name for name in self.imports if self._lies_in(root, name) and not _is_served(name)), "")
        if not needed:
            return
        below = start.is_relative_to(root)
        cure = f"put an empty __init__.py into {start.relative_to(root)}, which is no package, or " if below else ""
        cure += "set pytest's option `pythonpath = .`"
        raise SuiteError(f"{target}: pytest could not import {needed} there: {cure}")

    def _lies_in(self, root: Path, name: str) -> bool:
        """Whether a module of the project was imported from its own folder."""
        module = sys.modules.get(name)
        if module is None or not self._is_of_the_project(module):
            return False
        path = Path(getattr(module, "__file__", None) or "/").resolve()
        folder = path.parent.parent if path.name == "__init__.py" else path.parent
        return folder == root.joinpath(*name.split(".")[:-1])

    def _found(self, value: Any, likely: str) -> str:
        """The name of a value in the first module that has it: the harness's, then the project's by length of name."""
        for module in (harness.techniques, harness.hardware, *self._modules()):
            known = vars(module)
            for name in (likely, *known):
                held = known.get(name)
                # A technique with parameters is another value than the one that was imported.
                same = held is value or (isinstance(held, Technique) and held.function is value)
                if same and not getattr(held, "parameters", ()):
                    return self._imported(module.__name__, name, held)
        raise SuiteError(
            f"{likely or getattr(value, 'name', value)!r} has no name in a module of {self.root}; give it one, so that "
            "a suite file can import it"
        )

    def _imported(self, module: str, name: str, held: object) -> str:
        """Import a value, under another name where another value has its own."""
        words = (name, f"{name}_{module.rpartition('.')[2]}", f"{name}_{module.replace('.', '_')}")
        free = next(word for word in words if self.taken.get(word, held) is held)
        self.taken[free] = held
        self.imports.setdefault(module, set()).add(name if free == name else f"{name} as {free}")
        return free

    def _modules(self) -> list[ModuleType]:
        """The project's modules, the suite file itself last."""
        own = suite_module(self.file)
        here = {
            name: module
            for name, module in list(sys.modules.items())
            if name != own and isinstance(module, ModuleType) and self._is_of_the_project(module)
        }
        return [*(here[name] for name in sorted(here, key=lambda name: (len(name), name))), sys.modules[own]]

    def _is_of_the_project(self, module: ModuleType) -> bool:
        path = Path(getattr(module, "__file__", None) or "/")
        if not path.is_relative_to(self.root):
            return False
        return not {"site-packages", ".venv", "harness"} & set(path.relative_to(self.root).parts)


def suite_text(
    names: Names, model: Model, pipelines: Iterable[Pipeline], hardware: Hardware, metrics: Iterable[Metric], why: str
) -> str:
    """A suite file whose grid is exactly these pipelines. `why` is the sentence of its docstring."""
    words = {
        "model": names.of(model),
        "hardware": names.of(hardware),
        "metrics": ", ".join(names.of(metric) for metric in metrics),
        "techniques": "".join(f"        {names.of(pipeline)},\n" for pipeline in pipelines),
    }
    names.imports.setdefault("harness", set()).add("grid")
    imports = "\n".join(names.lines())
    metrics_line = f"    metrics=[{words['metrics']}],\n" if words["metrics"] else ""
    text = (
        f'"""{why}"""\n\n{imports}\n\n\n@grid(\n    model=[{words["model"]}],\n    technique=[\n{words["techniques"]}'
        f"    ],\n    hardware=[{words['hardware']}],\n{metrics_line})\n"
        'def test_deployment(case, bench):\n    """What the search kept."""\n    bench(case)\n'
    )
    try:
        compile(text, "the suite", "exec")
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise SuiteError(f"the suite would be no Python: {line}; give its modules names that can be imported") from None
    return text


def free_name(file: str) -> str:
    """A name for a suite file beside this one that there is not yet, as a shell reads it."""
    names = (Path(file).with_name(f"test_best{number}.py") for number in ("", *range(2, 1000)))
    return next((shlex.quote(name.as_posix()) for name in names if not name.exists()), "FILE")


def _is_served(name: str) -> bool:
    """Whether an installation finds a module's package without a path, as editable ones of a flat layout are."""
    top = name.partition(".")[0]
    finders = [one for one in sys.meta_path if one is not PathFinder and hasattr(one, "find_spec")]
    return any(one.find_spec(top, None) is not None for one in finders)


def _is_literal(value: object) -> bool:
    """Whether Python reads the value from what it is written as."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
