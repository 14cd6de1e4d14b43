"""The compatibility matrix of the documents is what `harness doctor --json` says, with a GPU beside the CPU."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from harness.cli import doctor
from harness.cli.main import main
from harness.cli.noise import Noise
from tests.fake_nvml import FakeBoard, fake_nvml

PAGE = Path(__file__).parent.parent / "docs" / "compatibility.md"
FORMS = {"torch": "eager", "onnx": "onnxruntime", "openvino": "openvino", "litert": "litert"}
"""Each form of network, and the runtime that it has where no technique chose another one."""
ONE_SHAPE = {"batched": {"litert"}}
"""Forms for one shape of inputs, which what takes any form does not take."""
DEVICES = ("cpu", "cuda")


@pytest.fixture
def doctors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([FakeBoard("GPU-aaaa")]))
    monkeypatch.setattr(sys.modules["harness.hardware.cuda"], "_torch_without_cuda", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(doctor, "measure_noise", lambda: Noise(2.0, 0.002, 0.04, 0.004, 0.0, 0.0))
    assert main(["doctor", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def possible(item: dict[str, Any]) -> bool:
    """Whether it can be had on its hardware: what is only not installed, as a compiler, is no reason against it."""
    reason: str = item["reason"]
    return not reason or any(words in reason for words in ("pip install", "compiler", "CUDA toolkit"))


def rows(heading: str) -> dict[str, list[str]]:
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0].strip("`"): row[1:] for row in cells[2:]}


def test_techniques(doctors: dict[str, Any]) -> None:
    served = defaultdict(set)
    for item in doctors["runtimes"]:
        if possible(item):
            served[item["name"]].add(item["hardware"])
    found: dict[tuple[str, str], list[str]] = {}
    for item in doctors["techniques"]:
        for form in [item["form"]] if item["form"] else FORMS.keys() - ONE_SHAPE.get(item["name"], set()):
            cell = found.setdefault((item["name"], form), [])
            if item["hardware"] in DEVICES and possible(item):
                cell += [item["hardware"]] if item["form"] or item["hardware"] in served[FORMS[form]] else []
    names = sorted({name for name, _ in found})
    expected = {
        name: [(", ".join(found[name, form]) or "no") if (name, form) in found else "–" for form in FORMS]
        for name in names
    }
    assert rows("Techniques") == expected


def test_runtimes(doctors: dict[str, Any]) -> None:
    hardware: dict[str, list[str]] = {}
    types: dict[str, dict[str, str]] = {}
    for item in doctors["runtimes"]:
        name, device = item["name"], item["hardware"]
        if device in DEVICES:
            hardware.setdefault(name, []).extend([device] if possible(item) else [])
            types.setdefault(name, {})[device] = ", ".join(item["computes"])
            assert bool(item["computes"]) is possible(item), f"{name} computes on {device} in {item['computes']}"
    assert rows("Runtimes") == {
        name: [", ".join(hardware[name]), *(types[name].get(device) or "–" for device in DEVICES)] for name in types
    }
