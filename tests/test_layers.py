"""Imports go one way only, and judging and rendering work on a machine that has no runtime."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bare import BASE, run_bare

HARNESS = Path(__file__).parent.parent / "harness"

ORDER = (
    "harness.errors",
    "harness.records",
    "harness.names",
    "harness.signatures",
    "harness.files",
    "harness.git",
    "harness.codec",
    "harness.units",
    "harness.facts",
    "harness.amounts",
    "harness.fidelity",
    "harness.specs",
    "harness.metrics",
    "harness.plan",
    "harness.model",
    "harness.baseline.records",
    "harness.hardware",
    "harness.runtimes",
    "harness.deployment",
    "harness.techniques",
    "harness.grid",
    "harness",
    "harness.timed_test",
    "harness.sensitivity",
    "harness.measured",
    "harness.settings",
    "harness.disturbance",
    "harness.judge.estimate",
    "harness.worker",
    "harness.measure",
    "harness.judge",
    "harness.baseline",
    "harness.amending",
    "harness.report",
    "harness.review",
    "harness.history",
    "harness.resume",
    "harness.optimize",
    "harness.trees",
    "harness.comparing",
    "harness.updating",
    "harness.due",
    "harness.gate",
    "harness.session",
    "harness.testing",
    "harness.cli",
    "harness.plugin",
)
"""The rooms from the leaves up. A module may import from its own room and from those before it."""

HEAVY = {
    "ai_edge_litert",
    "alembic",
    "litert_quantizer",
    "litert_torch",
    "nncf",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "psycopg",
    "ruptures",
    "safetensors",
    "sqlalchemy",
    "tensorrt",
    "tensorrt_rtx",
    "tokenizers",
    "torch",
    "torch_pruning",
    "torchao",
}
EDGES = {
    "pytest": {"harness.plugin", "harness.worker.in_turns", "harness.worker.timed_test"},
    "argparse": {"harness.cli"},
}
"""Who may know them: a room, or the modules by which a launch runs pytest."""

NAMES = {
    ".".join(path.relative_to(HARNESS.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HARNESS.rglob("*.py"))
}


@dataclass(frozen=True)
class Import:
    """`late`: inside a function, so that it costs nothing until it is needed."""

    module: str
    line: int
    late: bool


def imports_of(name: str) -> Iterator[Import]:
    """Everything that a module imports, also inside functions and under TYPE_CHECKING."""
    path = NAMES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                module = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    whole = f"{module}.{alias.name}"
                    yield Import(whole if whole in NAMES else module, child.lineno, late)
            else:
                function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, late or function or _type_checking(child))

    return walk(ast.parse(path.read_text(encoding="utf-8")), False)


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room(module: str) -> str:
    """The longest entry of `ORDER` that the module lies in; the package itself is no room for what lies inside it."""
    fitting = [entry for entry in ORDER if module == entry or (module.startswith(f"{entry}.") and entry != "harness")]
    return max(fitting, key=len, default="")


def test_every_module_has_a_room() -> None:
    assert [name for name in NAMES if not room(name)] == []


def test_no_arrow_goes_up() -> None:
    upward = [
        f"{name}:{found.line} imports {found.module}"
        for name in NAMES
        for found in imports_of(name)
        if found.module.split(".")[0] == "harness"
        and room(found.module) != room(name)
        and ORDER.index(room(found.module)) > ORDER.index(room(name))
    ]
    assert upward == []


def test_the_reader_of_imports_sees_every_form() -> None:
    """Relative, whole, under TYPE_CHECKING and inside functions: each is resolved in a module that has it."""
    seen = {(found.module, found.late) for name in NAMES for found in imports_of(name)}
    assert ("harness.worker.protocol", False) in {(f.module, f.late) for f in imports_of("harness.worker.serve")}
    assert ("harness.worker.serve", True) in {(f.module, f.late) for f in imports_of("harness.worker.serving")}
    assert ("harness.hardware.base", True) in {(f.module, f.late) for f in imports_of("harness.runtimes.base")}
    assert ("harness", False) in seen
    assert ("torch", True) in seen


def heavy_modules() -> set[str]:
    """The modules that need a heavy package at their top."""
    return {
        name
        for name in NAMES
        if any(found.module.split(".")[0] in HEAVY and not found.late for found in imports_of(name))
    }


def test_heavy_packages_are_imported_late() -> None:
    """A module that needs one at its top must itself be imported inside functions only."""
    heavy = heavy_modules()
    early = [
        f"{name}:{found.line} imports {found.module}"
        for name in NAMES.keys() - heavy
        for found in imports_of(name)
        if found.module in heavy and not found.late
    ]
    assert early == []
    assert not heavy & {"harness", "harness.techniques", "harness.runtimes", "harness.worker", "harness.testing"}


def test_only_the_edges_know_pytest_and_argparse() -> None:
    strangers = [
        f"{name}:{found.line} imports {found.module}"
        for name in NAMES
        for found in imports_of(name)
        if not {room(name), name} & EDGES.get(found.module.split(".")[0], {room(name)})
    ]
    assert strangers == []


ROOMS = """
import importlib, sys

for names in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
        del sys.modules[name]
    for name in names.split():
        importlib.import_module(name)
"""


def test_rooms_and_everything_light_need_no_runtime() -> None:
    """Each by itself: nothing of the harness is left of the one before."""
    rooms = [
        [module for module in NAMES if module == f"harness.{name}" or module.startswith(f"harness.{name}.")]
        for name in ("records", "judge", "baseline", "report", "cli")
    ]
    light = sorted(NAMES.keys() - heavy_modules())
    done = run_bare(ROOMS, *map(" ".join, [*rooms, light]))
    assert done.returncode == 0, done.stderr


def test_the_bare_process_has_no_runtime() -> None:
    code = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    done = run_bare(code, *sorted(HEAVY), *BASE)
    assert done.stdout.strip() == str(list(BASE)), done.stderr
