"""`--against .` and `--at`: the working tree against itself, and two commits from whatever is checked out."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from harness.settings import Against
from tests.folder import Folder

SUITE = """
from suites.own import slowed


@grid(model=[tiny], technique=[slowed | batched(64)], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""
CASE = "tiny_onnx/slowed+batched:64/cpu"
FAST = ("--plan", "screen=2", "--plan", "confirm=8", "--plan", "seconds=0.2", "--against-tolerance", "0.1")


@pytest.fixture
def project(tmp_path: Path) -> Folder:
    """A project whose first commit is quick, whose second is slow, and whose working tree has lost the suite's case."""
    folder = Folder(tmp_path / "project")
    folder.suite("test_it", SUITE)
    folder.slow_down(0)
    folder.commit("quick")
    folder.slow_down(8)
    folder.commit("slow")
    return folder


@pytest.mark.alone
def test_a_tree_against_itself_shares_its_artefact_and_is_not_red(project: Folder) -> None:
    code, text = project.pytest("suites", "--against", ".", *FAST)
    assert code == 0, text
    assert len(list((project.path / ".harness" / "artefacts").iterdir())) == 1
    assert not (project.path / ".harness" / "trees").exists()
    launches = project.result(CASE)["launches"]
    assert all(set(launch["samples"]) == {"candidate", "previous"} for launch in launches)
    verdicts = {c["metric"]: c["verdict"] for c in project.run()["comparisons"]}
    assert verdicts["size"] == verdicts["accuracy"] == "unchanged"
    assert verdicts["latency.p50"] != "regressed"


@pytest.mark.alone
def test_two_commits_are_compared_whatever_is_checked_out(project: Folder) -> None:
    quick, slow = project.git("rev-parse", "HEAD~1"), project.git("rev-parse", "HEAD")
    project.slow_down(1)  # neither commit has this
    code, text = project.pytest("suites", "--against", quick, "--at", "HEAD", *FAST)
    assert code == 1, text
    run = project.run()
    assert run["environment"]["commit"] == run["environment"]["state"]["at"] == slow
    assert run["environment"]["state"]["against"] == quick
    assert run["environment"]["dirty"] is False
    verdicts = {c["metric"]: c["verdict"] for c in run["comparisons"]}
    assert verdicts["latency.p50"] == verdicts["size"] == "regressed"
    code, text = project.pytest("suites", "--against", slow, "--at", quick, *FAST)
    assert code == 0, text
    other = project.run()
    assert other["environment"]["commit"] == quick
    assert other["environment"]["state"]["sources"] != run["environment"]["state"]["sources"]
    assert {c["metric"]: c["verdict"] for c in other["comparisons"]}["latency.p50"] == "improved"


def test_a_case_that_the_measured_commit_lacks_is_an_error_that_says_so(project: Folder) -> None:
    project.suite("test_it", SUITE.replace("batched(64)", "batched(32)"))
    code, text = project.pytest("suites", "--against", "HEAD", "--at", "HEAD~1", *FAST)
    assert code == 1
    assert "has no case tiny_onnx/slowed+batched:32/cpu" in text
    (comparison,) = project.run()["comparisons"]
    assert comparison["verdict"] == "error"
    assert project.result("tiny_onnx/slowed+batched:32/cpu")["outcome"] == "absent"


def test_a_comparison_as_options() -> None:
    assert Against("HEAD").options == ("--against", "HEAD")
    found = Against("a b", "/usr/bin/python", ("onnxruntime==1.30",), 0.02, "main").options
    assert shlex.join(found) == (
        "--against 'a b' --at main --against-python /usr/bin/python --against-with onnxruntime==1.30 "
        "--against-tolerance 0.02"
    )
