"""Missing packages, and imports that must not happen."""

from __future__ import annotations

import subprocess
import sys

from harness.runtimes.packages import missing


def test_what_is_missing_is_named_with_the_extra_that_brings_it() -> None:
    assert missing("torch", "json") is None
    assert missing("torch", "json", "no_such_package") == (
        "no_such_package is not installed (pip install 'inference-harness[torch]')"
    )
    assert "one_thing and another_thing are not installed" in str(missing("onnx", "one_thing", "another_thing"))


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
