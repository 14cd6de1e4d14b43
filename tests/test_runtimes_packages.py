"""Missing packages and those that are too old, and imports that must not happen."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.runtimes import packages
from harness.runtimes.packages import missing


def test_what_is_missing_is_named_with_the_extra_that_brings_it() -> None:
    assert missing("torch", "json") is None
    assert missing("torch", "json", "no_such_package") == (
        "no_such_package is not installed (pip install 'inference-harness[torch]')"
    )
    assert "one_thing and another_thing are not installed" in str(missing("onnx", "one_thing", "another_thing"))


def test_a_folder_that_has_the_name_of_a_package_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of exported models: what is skipped with the cure failed with the words of the import."""
    (tmp_path / "some_runtime").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    cure = "pip install 'inference-harness[openvino]'"
    assert missing("openvino", "some_runtime") == f"some_runtime is not installed ({cure})"


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts what a distribution says of itself before what is installed, and lets `missing` look again."""

    def put(name: str, *lines: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-1.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", *lines, ""]))
        for cached in (packages._too_old, packages._oldest):
            cached.cache_clear()
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    needed = [f"Requires-Dist: {text}; extra == 'torch'" for text in ("torch>=2.13", "json>=9")]
    put("inference-harness", "Version: 0.1.0", "Requires-Dist: pytest>=8.2", *needed)
    yield put
    for cached in (packages._too_old, packages._oldest):
        cached.cache_clear()


def test_what_is_older_than_the_harness_needs_is_named_with_the_cure(distributions: Callable[..., None]) -> None:
    """It failed where it was used, with an error of Python's that named no cure."""
    distributions("torch", "Version: 2.11.0+cpu")
    assert missing("torch", "json", "torch") == (
        "torch 2.11.0+cpu is installed, and 2.13 or newer is needed (pip install --upgrade 'inference-harness[torch]')"
    )
    assert "no_such_package is not installed" in str(missing("torch", "torch", "no_such_package"))


@pytest.mark.parametrize(
    "lines",
    [
        ["Version: 2.13.0"],
        ["Version: 2.13.0+cpu"],
        ["Version: 2.13.0a0+gitabc1234"],
        ["Version: 2.14.0.dev20261101+cpu"],
        ["Version: of my own"],
        [],
    ],
    ids=["the oldest", "of a build", "before the release", "of a night", "no version", "none at all"],
)
def test_what_is_new_enough_or_tells_no_version_is_taken(lines: list[str], distributions: Callable[..., None]) -> None:
    distributions("torch", *lines)
    assert missing("torch", "torch") is None


def test_what_has_no_metadata_is_taken(distributions: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask for them is an error from Python 3.15 on, which ended the run."""
    distributions("json", "Version: 1")
    assert "json" in packages._oldest()

    def untold(self: importlib.metadata.Distribution) -> object:
        raise FileNotFoundError("no package metadata was found")

    monkeypatch.setattr(importlib.metadata.Distribution, "metadata", property(untold))
    assert missing("torch", "json") is None


def test_a_package_of_a_distribution_with_another_name_is_taken(distributions: Callable[..., None]) -> None:
    """onnxruntime-gpu brings onnxruntime; here Python itself brings what the metadata call a distribution."""
    assert missing("torch", "json") is None


def test_naming_techniques_and_runtimes_imports_nothing_heavy() -> None:
    code = (
        "import sys, harness.techniques, harness.runtimes.eager, harness.runtimes.inductor, "
        "harness.runtimes.onnxruntime, harness.testing, harness.plugin; from harness.hardware import cpu; "
        "from harness.techniques import compiled, int8_static, onnxruntime, pruned_channels; "
        "pipeline = pruned_channels(0.5) | onnxruntime | int8_static; model = harness.testing.tiny_torch_model(); "
        "pipeline.unavailable(model, cpu); compiled.requires(cpu, 'torch'); "
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
