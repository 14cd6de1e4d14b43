"""The examples of the documentation, run as a new user would run them; and the blocks of the committed baselines."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.collecting import Found, choose
from harness.grid import grids_of, load_suite
from harness.names import suite_name

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TRAINABLE = """\
from harness.techniques import pruned_weights
from harness.testing import check_technique
from suites.trainable import trainable


def test_it_can_be_trained_and_has_batches_to_calibrate_with():
    check_technique(pruned_weights(0.5), trainable)
    assert [batch["x"].shape for batch in trainable.calibration()] == [(32, 64)] * 2
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with every file that docs/writing-a-suite.md shows."""
    folder = tmp_path_factory.mktemp("documented")
    blocks = BLOCK.findall((ROOT / "docs" / "writing-a-suite.md").read_text())
    assert len(blocks) == 5
    for name, text in blocks:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tests" / "test_trainable.py").write_text(TRAINABLE)
    (folder / "suites" / "__init__.py").touch()
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return folder


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_the_model_the_technique_the_metric_and_the_test_of_the_technique_run(written: Path) -> None:
    done = pytest_in(written, "suites", "tests", "--quick")
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
    page = (written / "reports" / "latest" / "index.html").read_text()
    for word in ("blobs", "rounded:1+onnxruntime", "cost"):
        assert word in page


def test_a_technique_takes_at_most_ten_lines(written: Path) -> None:
    (function,) = (
        node
        for node in ast.parse((written / "suites" / "own_techniques.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    )
    first = min(node.lineno for node in [function, *function.decorator_list])
    assert function.end_lineno is not None
    assert function.end_lineno - first + 1 <= 10


def test_the_case_of_each_bisect_line_is_one_of_the_bundled_suites() -> None:
    suites = {suite_name(path): path.relative_to(ROOT) for path in sorted((ROOT / "suites").glob("test_*.py"))}
    grids = [(suite, grid) for suite, file in suites.items() for grid in grids_of(load_suite(ROOT, str(file)))]
    cases = [Found(case.id, suite, "") for suite, grid in grids for case in grid.cases()]
    pages = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "command-line.md"]
    words = [re.findall(r"^    harness bisect '([^']+)'", page.read_text(), re.MULTILINE) for page in pages]
    assert all(words)
    for word in [word for found in words for word in found]:
        choose(cases, word)


def left_to_full(file: Path) -> set[str]:
    """The tests of a suite's file that are left to `-m full`, as node ids without a case."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    whole = any(ast.unparse(node) == "pytestmark = pytest.mark.full" for node in tree.body)
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    chosen = [one for one in tests if whole or "pytest.mark.full" in map(ast.unparse, one.decorator_list)]
    return {f"suites/{file.name}::{one.name}" for one in chosen}


def test_the_committed_baselines_have_as_many_blocks_as_the_page_says() -> None:
    full = {test for file in (ROOT / "suites").glob("test_*.py") for test in left_to_full(file)}
    assert full
    blocks: dict[bool, list[int]] = {True: [], False: []}
    for file in (ROOT / "baselines").glob("*/*/times.*.json"):
        test = json.loads((file.parent / "portable.json").read_text(encoding="utf-8"))["nodeid"].partition("[")[0]
        blocks[test in full].append(len(json.loads(file.read_text(encoding="utf-8"))["blocks"]))
    text = " ".join((ROOT / "docs" / "baselines.md").read_text(encoding="utf-8").split())
    assert (
        "Most files of times in the usual selection have three blocks or more; nearly all that is left to `-m f" in text
    )
    most, nearly_all = (sum(kept) / len(kept) for kept in (
        [number >= 3 for number in blocks[False]],
        [number == 1 for number in blocks[True]],
    ))  # fmt: skip
    assert most > 0.5, "say in docs/baselines.md what is so now"
    assert nearly_all > 0.8, "say in docs/baselines.md what is so now"


def test_the_suite_of_the_readme_is_what_pytest_can_collect(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "test_readme.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{block}")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = pytest_in(tmp_path, "--collect-only", "-q")
    assert done.returncode == 0, done.stdout
    assert "digits/reference/cpu" in done.stdout
