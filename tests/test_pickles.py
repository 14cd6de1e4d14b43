"""What the harness reads runs no code: not what was measured, nor what it is compared with."""

from __future__ import annotations

import ast
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from harness.baseline.store import Store, folder_of
from harness.errors import RecordError
from harness.hardware import cpu
from harness.measure.artefacts import Artefact
from harness.measure.passes import evaluate
from harness.plan import Plan
from harness.report.record import read_run
from harness.worker.artefact import input_names, load_batch, load_batches, read_manifest
from harness.worker.protocol import Evaluate, Evaluated

ROOT = Path(__file__).parent.parent
CODE = {
    "harness/runtimes/aotinductor_session.py",
    "harness/runtimes/torch_files.py",
    "harness/techniques/torchao_modules.py",
}
"""Where served networks of torch are loaded, which docs/architecture.md calls code."""


class Canary:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._folder),)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """One that sang nowhere in the test; it can."""
    folder = tmp_path / "unpickled"
    yield Canary(folder)
    assert not folder.exists()
    pickle.loads(pickle.dumps(Canary(folder)))
    assert folder.exists()


def objects(canary: Canary) -> np.ndarray[Any, Any]:
    return np.array([canary], dtype=object)


def test_the_arrays_of_an_artefact_are_not_unpickled(tmp_path: Path, canary: Canary) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, **{"0/image": objects(canary)})
    assert input_names(tmp_path) == ["image"]
    for read in (load_batches, lambda path: load_batch(path, 0)):
        with pytest.raises(ValueError, match="allow_pickle=False"):
            read(path)


@pytest.mark.parametrize("name", ["scores", "answers", "output 0", "elements", "lengths", "asked"])
def test_what_an_evaluation_gives_is_not_unpickled(tmp_path: Path, canary: Canary, name: str) -> None:
    class Answering:
        """A child that writes what it likes."""

        def __enter__(self) -> Answering:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def ask(self, request: Evaluate) -> None:
            arrays: dict[str, Any] = {"scores": np.ones(1), "elements": np.ones(1, np.int64), "output 0": np.ones(1)}
            arrays |= {"lengths": np.zeros(1, str), "asked": np.zeros((), str)}
            np.savez(request.output, **{**arrays, name: objects(canary)})

        def reply(self, *_: object) -> Evaluated:
            return Evaluated(1.0, "accuracy", "data", {}, "", {})

        def stop(self, _: float) -> None:
            pass

    case = cast(Any, SimpleNamespace(id="tiny/reference/cpu", hardware=cpu))
    tree = SimpleNamespace(check=lambda *_, **__: None)
    artefact = Artefact(cast(Any, tree), tmp_path, cast(Any, None), fresh=False)
    address = cast(Any, SimpleNamespace(root="", file="", function="", case_id=""))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        evaluate(case, address, artefact, Plan(), tmp_path / "evaluate.log", lambda *_: cast(Any, Answering()))


@pytest.mark.parametrize("name", ["run.json", "journal.jsonl", "manifest.json", "portable.json"])
def test_a_record_that_is_a_pickle_is_refused(tmp_path: Path, canary: Canary, name: str) -> None:
    place = tmp_path / folder_of("s", "a")
    place.mkdir(parents=True)
    (place / name).write_bytes(pickle.dumps(canary, protocol=0) + b"\n")
    read: Callable[[], object] = {
        "manifest.json": lambda: read_manifest(place),
        "portable.json": lambda: Store(tmp_path).read("s", "a", {}),
    }.get(name, lambda: read_run(place))
    with pytest.raises(RecordError, match=name):
        read()


def runs_code(call: ast.Call) -> bool:
    """Whether a call may run what it reads."""
    name = ast.unparse(call.func)
    said = {one.arg: ast.unparse(one.value) for one in call.keywords}
    if name.rpartition(".")[2] == "load" and name.split(".")[0] in ("np", "numpy"):
        return said.get("allow_pickle") != "False"
    if name == "torch.load":
        return said.get("weights_only") != "True"
    if re.search("aoti_load|AOTIModel", name):
        return True
    return name in ("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.export.load")


def test_only_the_served_networks_of_torch_are_code() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted([*(ROOT / "harness").rglob("*.py"), *(ROOT / "suites").rglob("*.py")]):
        text = path.read_text(encoding="utf-8")
        if not re.search(r"\b(?:np|numpy|torch|pickle)[.\w]*load|Unpickler|AOTIModelPackageLoader", text):
            continue  # to parse them all takes a second
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and runs_code(node):
                found.setdefault(path.relative_to(ROOT).as_posix(), []).append(ast.unparse(node))
    assert found.keys() == CODE, found
    assert [len(calls) for _, calls in sorted(found.items())] == [2, 1, 1], found
