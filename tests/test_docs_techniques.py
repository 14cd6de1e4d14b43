"""docs/techniques.md is true: every technique, parameter, promise, id, reason, fact, runtime and option is in it.

What it says was measured is what the table of docs/results.md has.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import harness.runtimes
import harness.techniques
from harness import Deployment, Model
from harness.hardware import cpu
from harness.runtimes.aotinductor import AotInductor
from harness.runtimes.cudagraph import CudaGraph
from harness.runtimes.eager import Eager
from harness.runtimes.inductor import Inductor
from harness.runtimes.litert import LiteRt
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.openvino import OpenVino
from harness.runtimes.tensorrt import TensorRt, TensorRtRtx
from harness.techniques import Technique
from harness.techniques.base import as_pipeline
from harness.testing import check_technique, tiny_onnx_model, tiny_student_model, tiny_torch_model
from tests.attention_networks import encoder_model
from tests.fake_cuda import FakeDevice

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "techniques.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
EXPORTED = {name: getattr(harness.techniques, name) for name in harness.techniques.__all__}
TECHNIQUES = {name: value for name, value in EXPORTED.items() if isinstance(value, Technique)}
STUDENT = dataclasses.replace(tiny_student_model(), name="student")


def rows(title: str) -> list[list[str]]:
    """The cells of the first table after a line that starts with `title`."""
    table = re.search(rf"^{re.escape(title)}.*?\n\|[-|]+\|\n(.*?)(?:\n\n|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert table, title
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1].splitlines()]


def written(expression: str) -> Any:
    """The technique or pipeline that an expression of the page means."""
    return eval(expression, {"student": STUDENT, **EXPORTED})


def parameters(technique: Technique) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(technique.function).parameters.items())[1:])


def test_every_technique_has_its_section_and_no_other_has() -> None:
    assert set(SECTIONS) == set(TECHNIQUES)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_parameter_is_documented_with_its_default(name: str) -> None:
    expected = {
        parameter.name: "required"
        if parameter.default is parameter.empty
        else f'`"{parameter.default}"`'
        if isinstance(parameter.default, str)
        else f"`{parameter.default}`"
        for parameter in parameters(TECHNIQUES[name]).values()
    }
    assert dict(re.findall(r"^\* `(\w+)` \((required|`\S+`)\): ", SECTIONS[name], re.MULTILINE)) == expected
    assert ("No parameters." in SECTIONS[name]) is not bool(expected)


def test_what_each_takes_leaves_and_needs_is_what_the_table_says() -> None:
    table = {row[0].strip("`"): row for row in rows("| technique | takes")}
    assert set(table) == set(TECHNIQUES)
    for name, technique in TECHNIQUES.items():
        _, takes, leaves, needs, _ = table[name]
        free = "any but litert" if "batchable" in technique.needed else "any"  # a .tflite file has one batch
        assert takes == (", ".join(technique.takes) if technique.takes else free)
        assert leaves == (technique.gives or "same")
        assert tuple(re.findall(r"`(\w+)`", needs)) == technique.needed if technique.needed else needs == "nothing"


def test_ids_are_what_the_table_says() -> None:
    for expression, identifier in rows("| written | id"):
        assert written(expression.strip("`")).id == identifier.strip("`")


@pytest.mark.parametrize(
    "expression",
    [
        "reference",
        "bf16",
        "fp16",
        "autocast",
        "compiled",
        "aotinductor",
        "cuda_graph",
        "onnxruntime | fp16",
        "onnxruntime | int8_dynamic",
        'onnxruntime | int8_static(keep="Gemm")',
        "onnxruntime | int8_weights",
        "onnxruntime | int4_weights",
        "pruned_weights(0.5, finetune=False)",
        "pruned_n_m(finetune=False)",
        "pruned_channels(0.5, finetune=False)",
        "distilled(student)",
        "distilled(pruned_channels(0.5, finetune=False))",
        "batched(2)",
    ],
)
def test_facts_that_are_promised_are_in_the_section_and_types_are_the_runtimes(expression: str, tmp_path: Path) -> None:
    model = tiny_torch_model()
    deployment = Deployment(model, model.load(), Eager(), cpu, tmp_path)
    done = as_pipeline(written(expression)).apply(deployment)
    for technique, promise in done.promises:
        section = SECTIONS[technique.partition(":")[0]]
        assert f"`{promise.fact}`" in section[section.index("* Promises") :]
        if promise.fact.startswith("arithmetic."):
            assert promise.fact.removeprefix("arithmetic.") in done.runtime.computes["cpu"]


@pytest.mark.parametrize("expression", ["pruned_heads(0.5, finetune=False)", "pruned_layers(1, finetune=False)"])
def test_facts_promised_of_networks_with_attention_are_named_too(expression: str, tmp_path: Path) -> None:
    model = encoder_model()
    promises = written(expression).apply(Deployment(model, model.load(), Eager(), cpu, tmp_path)).promises
    assert [(name.partition(":")[0], promise.fact) for name, promise in promises] == [
        (expression.partition("(")[0], "parameters")
    ]
    assert "* Promises: `parameters`" in SECTIONS[expression.partition("(")[0]]


def test_notes_on_students_are_those_of_the_page(tmp_path: Path) -> None:
    model = tiny_torch_model()
    notes = written("distilled(student, seeds=2)").apply(Deployment(model, model.load(), Eager(), cpu, tmp_path)).notes
    named = set(re.findall(r"`((?:student|teacher|macs)\.[a-z.]+)`", TEXT))
    assert named == set(notes) - {"student.seeds"}


def test_reasons_are_what_collection_says(tmp_path: Path) -> None:
    models: dict[str, Model] = {
        "digits": tiny_torch_model("digits"),
        "magika": dataclasses.replace(tiny_onnx_model(tmp_path), name="magika"),
    }
    shown = re.findall(r"^    (\S.*) on (\w+)\n      (.*)$", TEXT, re.MULTILINE)
    assert len(shown) == 3
    for expression, model, reason in shown:
        assert as_pipeline(written(expression)).inapplicable(models[model]) == reason


@pytest.mark.parametrize(
    "expression",
    [
        "reference | batched(2)",
        "fp16 | onnxruntime",
        "pruned_weights(0.5, finetune=False) | pruned_channels(0.5, finetune=False)",
        'onnxruntime("disable") | int8_static',
    ],
)
def test_compositions_that_the_page_calls_invalid_break_a_promise(expression: str) -> None:
    with pytest.raises(AssertionError, match="promised"):
        check_technique(written(expression), tiny_torch_model())


def documented_facts(runtime: str) -> set[str]:
    (heading,) = re.findall(r"^\| fact \| .*$", TEXT, re.MULTILINE)
    column = [cell.strip() for cell in heading.split("|")[1:-1]].index(runtime)
    return {name for row in rows("| fact |") if row[column] == "yes" for name in re.findall(r"`([^`]+)`", row[0])}


def generic(facts: dict[str, Any]) -> set[str]:
    """The names of facts as the page has them: types and providers as words of their own."""
    names = (re.sub(r"^(arithmetic|weights)\..*", r"\1.<dtype>", name) for name in facts)
    return {re.sub(r"^nodes\.(\w+Provider|XNNPACK|LiteRT)$", "nodes.<provider>", name) for name in names}


def test_facts_of_eager_and_onnx_runtime_are_those_of_the_table() -> None:
    model = tiny_torch_model()
    assert generic(check_technique(written("batched(2)"), model)[1]) == documented_facts("eager")
    quantized = written('onnxruntime | int8_dynamic(ops=["MatMul", "Conv"])')
    assert generic(check_technique(quantized, model)[1]) == documented_facts("onnxruntime")


def test_facts_of_litert_are_those_of_the_table(tmp_path: Path) -> None:
    pytest.importorskip("litert_quantizer")
    from tests.litert_networks import tiny_litert_model

    facts = check_technique(written("int8_dynamic"), tiny_litert_model(tmp_path))[1]
    assert generic(facts) == documented_facts("litert")


@pytest.mark.parametrize(
    "expression",
    ["litert(xnnpack=False)", "int8_dynamic", "int8_static", "int8_weights", "int4_weights", "int4_dynamic"],
)
def test_every_fact_that_is_promised_of_a_litert_network_is_named(expression: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_quantizer")
    from tests.litert_networks import tiny_litert_model

    evidence, _ = check_technique(written(expression), tiny_litert_model(tmp_path))
    section = SECTIONS[expression.partition("(")[0]]
    for item in evidence:
        assert f"`{item.promise.partition(' ')[0]}`" in section[section.index("* Promises") :]


def test_facts_of_cuda_graphs_are_those_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeDevice().in_torch(monkeypatch)
    monkeypatch.setattr(CudaGraph, "unavailable", lambda self, hardware: None)
    assert generic(check_technique(written("cuda_graph"), tiny_torch_model())[1]) == documented_facts("cudagraph")


def test_facts_and_promises_of_openvino_are_those_of_the_page(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    model = tiny_torch_model()
    assert generic(check_technique(written("openvino | int8_static"), model)[1]) == documented_facts("openvino")
    for expression in ("fp16", "int8_static(keep='MatMul')", "int8_weights", "int4_weights"):
        deployment = Deployment(model, model.load(), Eager(), cpu, tmp_path)
        for technique, promise in as_pipeline(written(f"openvino | {expression}")).apply(deployment).promises:
            section = SECTIONS[technique.partition(":")[0]]
            assert f"`{promise.fact}`" in section[section.index("* Promises") :]


def runtime_classes() -> dict[str, type]:
    """Every runtime that harness.runtimes holds, by the name of its class."""
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(harness.runtimes.__path__):
        if module.name.endswith("_session"):
            continue  # imports what it runs, which need not be installed
        members = vars(importlib.import_module(f"harness.runtimes.{module.name}")).items()
        found |= {name: value for name, value in members if hasattr(value, "pack") and dataclasses.is_dataclass(value)}
    return found


def test_every_runtime_is_documented_with_its_form_and_options() -> None:
    table = {row[0].strip("`"): row[1] for row in rows("| runtime | form")}
    classes = runtime_classes()
    known = (AotInductor, CudaGraph, Eager, Inductor, LiteRt, OnnxRuntime, OpenVino, TensorRt, TensorRtRtx)
    assert set(classes) == set(table) == {cls.__name__ for cls in known}
    for name, cls in classes.items():
        assert table[name] == cls().form
        described = re.search(rf"^\* \*\*{name}\*\*(.*?)(?=^\* |\n\n)", TEXT, re.MULTILINE | re.DOTALL)
        assert described
        for option in dataclasses.fields(cls):
            assert f"`{option.name}`" in described[1]


def test_every_runtime_can_be_imported_from_a_module_that_the_page_names() -> None:
    words = r"`from harness\.runtimes\.(\w+) import \w+` \(also ([^)]+)\)"
    ((first, others),) = re.findall(words, " ".join(TEXT.split()))
    named = {f"harness.runtimes.{name}" for name in (first, *re.findall(r"`(\w+)`", others))}
    assert named == {cls.__module__ for cls in runtime_classes().values()}


def speedup(case: str) -> float:
    """What the table of results has for `model/technique` on `cpu`, against the model as it is."""
    model, _, technique = case.partition("/")
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {model} on cpu\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"^\| `{re.escape(technique)}` \| \w+ \| ([\d.]+)x ", section, re.MULTILINE)
    return float(found)


@pytest.mark.parametrize(
    ("sentence", "cases"),
    [
        ("| `bf16`, `autocast` | diamonds | (), ()x;", ["diamonds/bf16", "diamonds/autocast"]),
        (
            "| diamonds in ONNX Runtime | ()x of float32 there, a row; ()x, 256 rows;",
            [
                "diamonds/onnxruntime+int8_static : diamonds/onnxruntime",
                "diamonds/onnxruntime+int8_static+batched:256 : diamonds/onnxruntime+batched:256",
            ],
        ),
        (
            "| `int4_weights` in ONNX Runtime | diamonds | ()x of float32 there,",
            ["diamonds/onnxruntime+int4_weights : diamonds/onnxruntime"],
        ),
        (
            "that pays ()x in ONNX Runtime, against the whole network there, and ()x in torch.",
            ["digits/pruned_channels:0.5+onnxruntime : digits/onnxruntime", "digits/pruned_channels:0.5"],
        ),
        (
            "it pays ()x and ()x; a runtime (ONNX Runtime ()x, LiteRT ()x) and batching (()x a row)",
            [
                "diamonds/pruned_channels:0.5+onnxruntime : diamonds/onnxruntime",
                "diamonds/pruned_channels:0.5",
                "diamonds/onnxruntime",
                "diamonds/litert",
                "diamonds/onnxruntime+batched:256",
            ],
        ),
    ],
)
def test_figures_are_those_of_the_table_of_results(sentence: str, cases: list[str]) -> None:
    """`()` in a sentence is a figure: a case's speed-up, or that of the first of two cases over the second's."""
    figures = re.search(re.escape(sentence).replace(r"\(\)", r"(\d+(?:\.\d+)?)"), " ".join(TEXT.split()))
    assert figures, sentence
    for case, figure in zip(cases, figures.groups(), strict=True):
        whole, _, part = case.partition(" : ")
        value = speedup(whole) / (speedup(part) if part else 1.0)
        assert f"{value:.{len(figure.partition('.')[2])}f}" == figure, case
