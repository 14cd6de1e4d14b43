"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Model

LONGEST = (
    "test_planted_untimed", "test_plugin", "test_measure_ahead", "test_history_plugin", "test_suites_models",
    "test_plugin_selection", "test_terminal", "test_report_browser", "test_timed_test", "test_measure_artefacts",
    "test_runtimes_aotinductor", "test_runtimes_inductor", "test_docs_techniques", "test_docs",
    "test_techniques_promises", "test_techniques_pruning", "test_against", "test_techniques_distill", "test_resume",
    "test_updating", "test_measure_tree", "test_edge_run", "test_judge_simulation", "test_cli_optimize",
    "test_fidelity_run",
)  # fmt: skip
"""Files that take longest come first, so that no process is left with one of them while the others have nothing."""

# A pytest that a test starts is no worker: pytest-benchmark would switch itself off there.
os.environ.pop("PYTEST_XDIST_WORKER", None)
# Nor may it keep its toy runs in the store of whoever runs the tests.
os.environ.pop("HARNESS_HISTORY_URL", None)

# No test depends on how fast the machine is. Where an extra is tested alone there is no hypothesis.
with suppress(ImportError):
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors here alone: the suites run beside whatever plugins their user has, of whatever age."""
    config.addinivalue_line("filterwarnings", "error")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m alone`, files without such a test stay unimported; pytest does not ask about one that was named."""
    if config.getoption("markexpr") == "alone" and collection_path.suffix == ".py":
        return "mark.alone" not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.fixture(autouse=True, scope="session")
def _inner_pytests_start_without_what_they_do_not_use() -> None:
    """Tests start pytest more than a hundred times, and importing hypothesis takes a second."""
    os.environ["PYTEST_ADDOPTS"] = "-p no:hypothesispytest -p no:anyio"


@pytest.fixture(autouse=True)
def _denormals_as_python_has_them() -> Iterator[None]:
    """The torch runtimes make a process flush denormals, as a served model wants it; other tests need whole floats."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)


@pytest.fixture
def onnx_model(tmp_path: Path) -> Model:
    """A small ONNX model, which is written when it is loaded."""
    from harness.testing import tiny_onnx_model

    return tiny_onnx_model(tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files for `--dist loadfile --no-loadscope-reorder`."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))
