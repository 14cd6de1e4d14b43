"""The project as a whole: what is declared exists, what exists is documented, and nothing names one machine."""

from __future__ import annotations

import argparse
import dataclasses
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points, metadata, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.cli.main import build_parser
from harness.metrics import METRICS, Metric
from harness.plan import Plan
from harness.plugin import pytest_addoption
from harness.units import percent, points, quantity

ROOT = Path(__file__).parent.parent
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = DECLARED["project"]
DOCUMENTS = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md"])
DOCUMENTED = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", errors="replace")


def test_entry_points_resolve() -> None:
    (command,) = entry_points(group="console_scripts", name="harness")
    (plugin,) = entry_points(group="pytest11", name="harness")
    assert command.value == PROJECT["scripts"]["harness"]
    assert plugin.value == PROJECT["entry-points"]["pytest11"]["harness"]
    assert callable(command.load())
    assert plugin.load().pytest_addoption is pytest_addoption


def requirements(extra: str) -> Iterator[Requirement]:
    """The requirements of an extra, those that it takes from other extras among them."""
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            for other in requirement.extras:
                yield from requirements(other)
        else:
            yield requirement


@pytest.mark.parametrize("extra", ["torch", "onnx", "tensorrt", "tensorrt-rtx", "suites", "dev"])
def test_extras_name_what_can_be_installed(extra: str) -> None:
    """TensorRT is for machines with a GPU, so it is not here; everything else is, in a version that fits."""
    needed = {requirement.name: requirement for requirement in requirements(extra)}
    assert needed
    here = {name: version(name) for name in needed if not name.startswith("tensorrt")}
    assert {name: found for name, found in here.items() if not needed[name].specifier.contains(found)} == {}


def test_the_base_install_brings_no_runtime() -> None:
    names = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert names == {"jinja2", "numpy", "nvidia-ml-py", "packaging", "pytest", "scipy"}


def test_constraints_are_exact_and_fit_the_declared_ranges() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert [str(pin) for pin in pins if not re.fullmatch(r"==[0-9][0-9.]*(post[0-9]+)?", str(pin.specifier))] == []
    declared = [*map(Requirement, PROJECT["dependencies"]), *requirements("dev")]
    ranges = {canonicalize_name(requirement.name): requirement.specifier for requirement in declared}
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    assert {name: found for name, found in pinned.items() if name in ranges and found not in ranges[name]} == {}
    assert {"torch", "onnx", "onnxruntime", "numpy", "scipy"} <= pinned.keys()


def test_the_package_is_typed_and_says_what_it_is() -> None:
    assert (ROOT / "harness" / "py.typed").is_file()
    assert metadata(PROJECT["name"])["Requires-Python"] == ">=3.11"
    assert (ROOT / "LICENSE").is_file()


def test_a_source_distribution_takes_what_lies_at_the_top() -> None:
    """Names without a slash fit in every folder: `.github/actions/harness` was taken for a part of the package."""
    taken = DECLARED["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [name for name in taken if not name.startswith("/") or not (ROOT / name.strip("/")).exists()] == []


def test_modules_are_small() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "harness").rglob("*.py")}
    assert {path.name: lines for path, lines in sizes.items() if lines > 300} == {}


def test_durations_are_of_clocks_that_nobody_sets() -> None:
    """Files alone are dated by the clock on the wall, which their own times are of."""
    wall = re.compile(r"\btime\.time\(|\btime\.time_ns\(|from time import .*\btime(?:_ns)?\b")
    found = {path.name for path in (ROOT / "harness").rglob("*.py") if wall.search(path.read_text(encoding="utf-8"))}
    assert found == {"files.py", "sources.py"}


def test_no_file_names_one_machine() -> None:
    home = re.compile("/(?:" + "|".join(["home/[a-z]", "root/", "Users/[a-zA-Z]", "work/"]) + ")")
    named = {
        str(path.relative_to(ROOT)): found.group(0)
        for path in tracked()
        if path.stat().st_size < 2**20 and (found := home.search(text_of(path)))
    }
    assert named == {}


def test_no_large_file_is_committed() -> None:
    assert {str(path.relative_to(ROOT)): size for path in tracked() if (size := path.stat().st_size) > 2**20} == {}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_documented_as_it_is(metric: Metric) -> None:
    portable = "yes" if metric.portable else "no"
    row = f"| `{metric.name}` | {metric.unit} | {metric.better} | {limit_of(metric)} | {portable} | "
    assert row in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Metric)])
def test_every_field_of_a_metric_is_documented(field: str) -> None:
    page = (ROOT / "docs" / "writing-a-suite.md").read_text(encoding="utf-8")
    _, section = page.split("\n## A metric\n")
    assert re.search(rf"`{field}(?:=[^`]*)?`", section.partition("\n## ")[0])


def limit_of(metric: Metric) -> str:
    limits = []
    if metric.tolerance is not None:
        limits.append(percent(metric.tolerance, sign=False) if metric.tolerance else "no change")
    if metric.slack is not None and metric.unit == "share":
        limits.append(points(metric.slack).removeprefix("+"))
    elif metric.slack is not None:
        limits.append(quantity(metric.slack, metric.unit))
    return " or ".join(limits) or "reported only"


class Options:
    """Takes what `pytest_addoption` adds."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def getgroup(self, *_: str) -> Options:
        return self

    def addoption(self, *names: str, **_: Any) -> None:
        self.names += names

    def addini(self, *_: Any, **__: Any) -> None:
        pass


def pytest_options() -> list[str]:
    options = Options()
    pytest_addoption(options)
    return options.names


def command_options() -> list[str]:
    """`COMMAND --option` for every option of the command line, and each command."""
    (commands,) = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return [
        f"harness {name}{f' {option}' if option else ''}"
        for name, parser in commands.choices.items()
        for option in ["", *(option for action in parser._actions for option in action.option_strings)]
        if option not in ("-h", "--help")
    ]


@pytest.mark.parametrize("option", pytest_options())
def test_every_pytest_option_is_documented(option: str) -> None:
    assert option.startswith("--")
    assert re.search(rf"`[^`\n]*{option}(?![\w-])", DOCUMENTED), f"{option} is in no document, in backticks"


def test_the_commands_with_exit_codes_of_their_own_are_named() -> None:
    (commands,) = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    own = re.compile(r"xit code(: 0| is pytest's)")
    expected = {name for name, parser in commands.choices.items() if own.search(parser.description or "")}
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    sentence = re.search(r"interrupt; ([^;]*?) give more codes a meaning", text)
    assert sentence
    assert set(re.findall(r"`(\w+)`", sentence[1])) == expected


@pytest.mark.parametrize("name", command_options())
def test_every_command_and_its_options_are_documented(name: str) -> None:
    words = name.split()
    command, option = " ".join(words[:2]), words[2:]
    assert re.search(rf"`{command}(?![\w-])[^`\n]*`", DOCUMENTED), f"`{command}` is in no document"
    for word in option:
        assert re.search(rf"`[^`\n]*{word}(?![\w-])", DOCUMENTED), f"{word} of {command} is in no document"


@pytest.mark.parametrize("variable", ["HARNESS_DATA", "HARNESS_HISTORY_URL"])
def test_every_variable_that_users_may_set_is_documented(variable: str) -> None:
    assert re.search(rf"`[^`\n]*{variable}", DOCUMENTED)


@pytest.mark.parametrize("field", sorted(Plan().record()))
def test_every_part_of_a_plan_is_documented(field: str) -> None:
    assert f"`{field}`" in DOCUMENTED


def test_a_review_shows_the_baselines() -> None:
    """They were marked as generated, which folds the diff away by which a slow-down passes."""
    assert "linguist-generated" not in (ROOT / ".gitattributes").read_text(encoding="utf-8")


def test_links_between_documents_lead_somewhere() -> None:
    dead = [
        f"{path.name}: {target}"
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert dead == []


@pytest.mark.parametrize("name", ["README.md", "docs/ci-guide.md", "docs/ci/gitlab-ci.yml", "docs/ci/Jenkinsfile"])
def test_who_installs_is_told_how_until_the_release_and_no_longer(name: str) -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased = re.findall(r"^## (\S+) \(unreleased\)$", changes, re.MULTILINE)
    said = re.findall(r"Until (\S+) is released", (ROOT / name).read_text(encoding="utf-8"))
    assert set(said) == {"0.1.0"} & set(unreleased)


def test_the_workflow_gates_on_both_machines() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert text.count("uses: ./.github/actions/harness") == 1
    assert '"runner": ["self-hosted", "linux", "gpu"]' in text
    assert "fetch-depth: 0" in text
    assert "--require-hardware=cuda" in text
    assert "make lint test" in text
    assert "pull_request_target" not in text
