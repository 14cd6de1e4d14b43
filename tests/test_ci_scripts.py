"""What runs in a CI service: the steps of action and comment, run for real; snippets against their schemas."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.report.comment import MARKER
from harness.report.journal import Journal
from tests.cli_runs import a_case, a_run, on_disk
from tests.folder import git
from tests.report_samples import sample_run

ROOT = Path(__file__).parent.parent
ACTION = ROOT / ".github" / "actions" / "harness"

STUB = """\
import json, os, pathlib, sys
if sys.argv[1] == "-c":
    exec(sys.argv[2])
    sys.exit()
pathlib.Path("arguments.json").write_text(json.dumps(sys.argv[1:]))
runs = os.environ.get("RUNS", "yes")
if runs != "no":
    folder = pathlib.Path("reports/a-run")
    folder.mkdir(parents=True, exist_ok=True)
    if runs == "yes":
        (folder / "run.json").write_text("{}")
        (folder / "summary.md").write_text("## what was found\\n")
    pathlib.Path("reports/latest").symlink_to("a-run")
sys.exit(int(os.environ.get("CODE", "0")))
"""
"""In place of an interpreter with pytest: notes what it was asked for, and leaves what a run leaves."""

GH = """\
#!{python}
import json, os, pathlib, sys
words = [pathlib.Path(word[6:]).read_text() if word.startswith("body=@") else word for word in sys.argv[1:]]
answers = json.loads(pathlib.Path(os.environ["GH_ANSWERS"]).read_text())
with open(os.environ["GH_LOG"], "a") as log:
    log.write(json.dumps(words) + "\\n")
path = next(word for word in words if word.startswith("repos/"))
found = answers.get(path, "")
if isinstance(found, dict):
    asked = "".join(words)
    found = next((number for marker, number in found.items() if f'startswith("{{marker}}")' in asked), "")
print(found)
"""
"""In place of GitHub's own command: notes what is asked, and answers from a file; of comments by how they begin."""


@dataclass
class Gate:
    """A folder in which the step runs."""

    folder: Path

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        python = self.folder / "python"
        python.write_text(f"#!{sys.executable}\n{STUB}")
        python.chmod(0o755)
        for name in ("output", "summary"):
            (self.folder / name).touch()
        own = {
            "HARNESS_PYTHON": str(python),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_", "GITHUB_"))}
        return subprocess.run(
            [str(ACTION / "gate.sh")], cwd=self.folder, env=kept | own | environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def arguments(self) -> list[str]:
        found: list[str] = json.loads((self.folder / "arguments.json").read_text())
        return found

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def test_without_a_pull_request_the_baselines_are_compared(gate: Gate) -> None:
    done = gate.run()
    assert done.returncode == 0, done.stderr
    assert gate.arguments() == ["-m", "pytest", "--baseline=compare", "suites/"]
    assert gate.text("output") == "folder=reports/a-run\n"
    assert gate.text("summary") == "## what was found\n"


def test_what_the_workflow_says_of_baselines_goes_before_the_default(tmp_path: Path) -> None:
    for name, base in (("without", ""), ("with", "a-pull-request's")):
        (tmp_path / name).mkdir()
        gate = Gate(tmp_path / name)
        done = gate.run(HARNESS_ARGUMENTS="--baseline=strict", HARNESS_AGAINST="baseline", HARNESS_BASE=base)
        assert done.returncode == 0, done.stderr
        modes = [word for word in gate.arguments() if word.startswith("--baseline")]
        assert modes[-1] == "--baseline=strict"


def test_a_red_gate_leaves_its_summary_and_its_code(gate: Gate) -> None:
    done = gate.run(CODE="1")
    assert done.returncode == 1
    assert gate.text("summary") == "## what was found\n"
    assert gate.text("output") == "folder=reports/a-run\n"


@pytest.mark.parametrize("written", ["ml", "./ml/"])
def test_a_project_in_a_folder_of_the_repository_has_its_runs_there(gate: Gate, written: str) -> None:
    """They were looked for in the repository's folder: each pull request was red, since "nothing was run"."""
    (gate.folder / "ml").mkdir()
    done = gate.run(HARNESS_FOLDER=written, HARNESS_PYTHON="./python")
    assert done.returncode == 0, done.stdout + done.stderr
    assert gate.text("output") == "folder=ml/reports/a-run\n"
    assert gate.text("summary") == "## what was found\n"
    assert gate.text("ml/arguments.json") == json.dumps(["-m", "pytest", "--baseline=compare", "suites/"])
    assert gate.text("ml/reports/a-run/gate.txt") == f"{written} suites/ report\n"


def test_a_folder_that_is_not_there_is_named(gate: Gate) -> None:
    done = gate.run(HARNESS_FOLDER="lm")
    assert done.returncode == 2
    assert "the folder lm is not there" in done.stdout


def test_a_run_without_a_report_is_never_green(gate: Gate) -> None:
    done = gate.run(RUNS="no")
    assert done.returncode == 2
    assert "nothing was run" in done.stdout
    assert gate.text("output") == ""


def test_a_run_that_began_and_did_not_end_is_never_green(gate: Gate) -> None:
    """Its folder is there from the beginning, and that there was no summary in it was passed over."""
    done = gate.run(RUNS="begun")
    assert done.returncode == 2
    assert "the run did not end" in done.stdout
    assert gate.text("output") == "folder=reports/a-run\n", "its journal is worth keeping"


def test_a_red_run_that_did_not_end_keeps_its_code(gate: Gate) -> None:
    done = gate.run(RUNS="begun", CODE="4")
    assert done.returncode == 4
    assert "the run did not end" not in done.stdout


def test_arguments_are_words_and_never_shell(gate: Gate, tmp_path: Path) -> None:
    gate.run(
        HARNESS_SUITES="suites/ other/", HARNESS_ARGUMENTS="-k 'a or b' $(touch hacked)\n--budget=5m `touch hacked`;"
    )
    assert gate.arguments()[2:] == [
        "--baseline=compare", "suites/", "other/", "-k", "a or b", "$(touch", "hacked)", "--budget=5m", "`touch",
        "hacked`;",
    ]  # fmt: skip
    assert not (tmp_path / "hacked").exists()


def a_fork(folder: Path) -> tuple[str, str, str]:
    """A repository whose branch `change` is checked out: where it forked, its head, and what the base got since."""
    folder.mkdir()
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "-m", "base")
    fork = git(folder, "rev-parse", "HEAD")
    git(folder, "commit", "--allow-empty", "-m", "somebody else's")
    tip = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-b", "change", fork)
    git(folder, "commit", "--allow-empty", "-m", "change")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    return fork, git(folder, "rev-parse", "HEAD"), tip


def test_a_pull_request_is_compared_with_its_base_which_is_fetched(tmp_path: Path) -> None:
    base, _, _ = a_fork(tmp_path / "origin")
    git(tmp_path, "clone", "--depth=1", (tmp_path / "origin").as_uri(), "clone")
    gate = Gate(tmp_path / "clone")
    done = gate.run(HARNESS_BASE=base)
    assert done.returncode == 0, done.stderr
    assert gate.arguments()[-1] == f"--against={base}"
    assert git(gate.folder, "cat-file", "-t", base) == "commit"
    gate.run(HARNESS_BASE=base, HARNESS_AGAINST="baseline")
    assert gate.arguments()[2:] == ["--baseline=compare", "suites/"]
    gate.run(HARNESS_BASE=base, HARNESS_AGAINST="v1.0")
    assert gate.arguments()[-1] == "--against=v1.0"
    done = gate.run(HARNESS_BASE="0" * 40)
    assert done.returncode == 2
    assert "fetch-depth: 0" in done.stdout


def test_a_merge_of_a_pull_request_is_compared_with_what_it_was_merged_into(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    base, head, tip = a_fork(origin)
    git(origin, "checkout", "main")
    git(origin, "merge", "--no-ff", "-m", "merge", "change")
    git(tmp_path, "clone", "--depth=1", origin.as_uri(), "clone")
    gate = Gate(tmp_path / "clone")
    done = gate.run(HARNESS_BASE=base, HARNESS_HEAD=head)
    assert done.returncode == 0, done.stderr
    assert gate.arguments()[-1] == f"--against={tip}"
    assert git(gate.folder, "cat-file", "-t", tip) == "commit", "it was fetched"
    gate.run(HARNESS_BASE=base, HARNESS_HEAD=tip)
    assert gate.arguments()[-1] == f"--against={base}", "a merge of something else"


def test_the_head_of_a_pull_request_is_compared_with_where_it_forked(tmp_path: Path) -> None:
    """It was blamed for what it lacked, and credited with it, when the base branch had got other commits."""
    fork, head, tip = a_fork(tmp_path / "origin")
    git(tmp_path, "clone", (tmp_path / "origin").as_uri(), "clone")
    gate = Gate(tmp_path / "clone")
    done = gate.run(HARNESS_BASE=tip, HARNESS_HEAD=head)
    assert done.returncode == 0, done.stderr
    assert gate.arguments()[-1] == f"--against={fork}"
    gate.run(HARNESS_BASE=tip, HARNESS_HEAD=tip)
    assert gate.arguments()[-1] == f"--against={tip}", "what is checked out is not that head"


def test_a_repository_that_is_checked_out_into_a_folder_is_asked_for_its_commits_there(tmp_path: Path) -> None:
    """They were asked of the workspace, which is no repository then: each pull request's base "can't be fetched"."""
    _, _, tip = a_fork(tmp_path / "origin")
    git(tmp_path, "clone", "--depth=1", (tmp_path / "origin").as_uri(), "repo")
    gate = Gate(tmp_path)
    done = gate.run(HARNESS_FOLDER="repo", HARNESS_BASE=tip, HARNESS_PYTHON="./python")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(gate.text("repo/arguments.json"))[-1] == f"--against={tip}"
    assert git(tmp_path / "repo", "cat-file", "-t", tip) == "commit", "it was fetched"
    assert gate.text("output") == "folder=repo/reports/a-run\n"


def test_a_clone_that_does_not_reach_to_the_fork_says_so(tmp_path: Path) -> None:
    _, head, tip = a_fork(tmp_path / "origin")
    git(tmp_path, "clone", "--depth=1", (tmp_path / "origin").as_uri(), "clone")
    gate = Gate(tmp_path / "clone")
    done = gate.run(HARNESS_BASE=tip, HARNESS_HEAD=head)
    assert done.returncode == 0, done.stderr
    assert gate.arguments()[-1] == f"--against={tip}"
    assert "does not hold the commit at which the pull request forked" in done.stdout


def test_what_is_not_the_pull_request_is_never_green_for_it(tmp_path: Path) -> None:
    """On pull_request_target the base branch is checked out: it was compared with itself, whatever was changed."""
    fork, head, tip = a_fork(tmp_path / "origin")
    gate = Gate(tmp_path / "origin")
    event = {"GITHUB_EVENT_NAME": "pull_request_target", "HARNESS_BASE": tip, "HARNESS_HEAD": head}
    git(gate.folder, "checkout", "main")
    for against in ("base", "baseline", fork):
        done = gate.run(**event, HARNESS_AGAINST=against)
        assert done.returncode == 2
        assert "::what is checked out is not this pull request; let the workflow run on pull_request\n" in done.stdout
    assert not (gate.folder / "arguments.json").exists(), "nothing was run"
    git(gate.folder, "merge", "--no-ff", "-m", "merge", "change")
    for commit, base in (("main", tip), ("change", fork)):
        git(gate.folder, "checkout", commit)
        gate.run(**event)
        assert gate.arguments()[-1] == f"--against={base}"


def test_the_action_tells_its_script_all_that_it_asks_for() -> None:
    (step,) = (
        step
        for step in parsed((ACTION / "action.yml").read_text())["runs"]["steps"]
        if "gate.sh" in step.get("run", "")
    )
    assert set(re.findall(r"HARNESS_[A-Z]+", (ACTION / "gate.sh").read_text())) == set(step["env"])


def test_inputs_and_outputs_of_the_action_are_documented() -> None:
    action = parsed((ACTION / "action.yml").read_text())
    page = (ROOT / "docs" / "ci.md").read_text()
    assert [name for name in (*action["inputs"], *action["outputs"]) if f"`{name}`" not in page] == []


class Comment:
    """A folder in which the comment is written, with a stand-in for `gh`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "gh.log"
        self.said = ""
        bin_ = folder / "bin"
        bin_.mkdir()
        (bin_ / "gh").write_text(GH.format(python=sys.executable))
        (bin_ / "gh").chmod(0o755)
        (bin_ / "harness").write_text(f'#!/bin/sh\nexec {sys.executable} -m harness.cli.main "$@"\n')
        (bin_ / "harness").chmod(0o755)

    def run(self, run: str, *, number: str = "7", old: dict[str, str] | None = None) -> list[list[str]]:
        """The calls that were made, without those that only ask. `old` are the comments that are there, by marker."""
        answers = self.folder / "answers.json"
        answers.write_text(json.dumps({"repos/o/r/pulls": number, "repos/o/r/issues/7/comments": old or {}}))
        self.log.unlink(missing_ok=True)
        own = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "GH_ANSWERS": str(answers), "GH_LOG": str(self.log),
            "REPOSITORY": "o/r", "HEAD_OWNER": "fork", "HEAD_BRANCH": "b", "HEAD_SHA": "abc", "RUN_URL": "https://e.test/1",
        }  # fmt: skip
        done = subprocess.run(
            [str(ACTION / "comment.sh"), run],
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.said = done.stdout
        calls = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [call for call in calls if {"POST", "PATCH", "DELETE"} & set(call)]


@pytest.fixture
def comment(tmp_path: Path) -> Comment:
    return Comment(tmp_path)


def red(folder: Path) -> str:
    from harness.report.record import write_run

    write_run(sample_run(samples=5), folder / "red")
    return str(folder / "red")


def test_failures_are_commented_once(comment: Comment, tmp_path: Path) -> None:
    (call,) = comment.run(red(tmp_path))
    assert call[:4] == ["api", "--method", "POST", "repos/o/r/issues/7/comments"]
    assert call[5].startswith(f"{MARKER}\n### ")
    (call,) = comment.run(red(tmp_path), old={MARKER: "99"})
    assert call[:4] == ["api", "--method", "PATCH", "repos/o/r/issues/comments/99"]


def test_a_run_that_was_killed_is_commented_from_its_journal(comment: Comment, tmp_path: Path) -> None:
    """It has no run.json, so that the job failed and what the run before had said stayed."""
    killed = tmp_path / "killed"
    run, journal = a_run([a_case("a")]), Journal(killed)
    journal.start(run)
    journal.append(run.results[0], ())
    (call,) = comment.run(str(killed), old={MARKER: "99"})
    assert call[:4] == ["api", "--method", "PATCH", "repos/o/r/issues/comments/99"]
    assert "The run did not finish." in call[5]
    assert [path.name for path in killed.iterdir()] == ["journal.jsonl"]


def test_where_nothing_is_to_do_an_old_comment_goes(comment: Comment, tmp_path: Path) -> None:
    quiet = on_disk(tmp_path, "quiet", [a_case("a")], mode="off")
    assert comment.run(quiet) == []
    (call,) = comment.run(quiet, old={MARKER: "99"})
    assert call[:4] == ["api", "--method", "DELETE", "repos/o/r/issues/comments/99"]


def test_each_gate_of_a_repository_has_a_comment_of_its_own(comment: Comment, tmp_path: Path) -> None:
    """What a red one had said was removed by a green one."""
    mine, others = "<!-- harness: a suites/ report-a -->", "<!-- harness: b suites/ report-b -->"
    failed, quiet = red(tmp_path), on_disk(tmp_path, "quiet", [a_case("a")], mode="off")
    for folder in (failed, quiet):
        (Path(folder) / "gate.txt").write_text("a suites/\nreport-a\n")
    (call,) = comment.run(failed, old={others: "98", MARKER: "97", mine: "99"})
    assert call[:4] == ["api", "--method", "PATCH", "repos/o/r/issues/comments/99"]
    assert call[5].startswith(f"{mine}\n### ")
    assert comment.run(quiet, old={others: "98"}) == []
    # The name of a gate is neither a query nor text, and a comment of before they had one is replaced.
    (Path(failed) / "gate.txt").write_text('a") or true) --> # <b>|$(touch hacked)&')
    (call,) = comment.run(failed, old={others: "98", MARKER: "97"})
    assert call[:4] == ["api", "--method", "PATCH", "repos/o/r/issues/comments/97"]
    assert call[5].startswith("<!-- harness: a or true -- b touch hacked -->\n### ")


def test_of_several_pull_requests_of_one_branch_none_gets_the_comment_of_another(
    comment: Comment, tmp_path: Path
) -> None:
    """They go to different bases, and the newest one got what was found against each."""
    assert comment.run(red(tmp_path), number="7\n8", old={MARKER: "99"}) == []
    assert comment.said == "several open pull requests are at abc, so no comment\n"


def test_a_pull_request_that_moved_on_is_left_alone(comment: Comment, tmp_path: Path) -> None:
    assert comment.run(red(tmp_path), number="") == []
    assert comment.run(red(tmp_path), number="7; rm -rf /") == []


@pytest.mark.parametrize(
    ("schema", "path"),
    [("vendor.github-actions", ACTION / "action.yml"), ("vendor.gitlab-ci", ROOT / "docs" / "ci" / "gitlab-ci.yml")],
    ids=["action", "gitlab"],
)
def test_snippets_fit_the_schemas(schema: str, path: Path) -> None:
    check(schema, path)


def check(schema: str, *paths: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("target", "base", "comparison"),
    [
        ("", "", "--baseline=compare"),
        ("", "b45e", "--against=b45e"),
        ("7a46", "b45e", "--against=7a46"),
    ],
    ids=["branch", "merge request", "merged result"],
)
def test_gitlab_measures_a_merge_request_in_turns(target: str, base: str, comparison: str) -> None:
    job = parsed((ROOT / "docs" / "ci" / "gitlab-ci.yml").read_text())["harness"]
    assert any("merge_request_event" in rule["if"] for rule in job["rules"]), "else these variables are never set"
    (script,) = job["script"]
    asked = {"CI_MERGE_REQUEST_TARGET_BRANCH_SHA": target, "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
    command = ["bash", "-c", f'python() {{ echo "$@"; }}\n{script}']
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert done.stdout.split()[:4] == ["-m", "pytest", "suites/", comparison]


@pytest.mark.parametrize("name", ["gitlab-ci.yml", "Jenkinsfile"])
def test_snippets_need_nothing_of_this_repository(name: str) -> None:
    text = (ROOT / "docs" / "ci" / name).read_text()
    assert "make " not in text
    assert "pip install -c constraints.txt 'inference-harness[torch,onnx]'" in text
    assert re.search(r'python -m pytest suites/ "\$comparison" ', text)


GUIDE = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "ci-guide.md").read_text(), re.MULTILINE | re.DOTALL)
"""Its two workflows: the gate, and the comment after it."""


def parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(text)
    return found


def test_the_comment_of_the_guide_follows_its_gate() -> None:
    gate, comment = map(parsed, GUIDE)
    assert comment["on"]["workflow_run"]["workflows"] == [gate["name"]]
    (measuring,) = (step for job in gate["jobs"].values() for step in job["steps"] if "harness" in step.get("uses", ""))
    action = parsed((ACTION / "action.yml").read_text())
    kept = measuring.get("with", {}).get("artifact", action["inputs"]["artifact"]["default"])
    steps = comment["jobs"]["comment"]["steps"]
    (found,) = (step["with"] for step in steps if "download-artifact" in step.get("uses", ""))
    assert found["name"] == kept
    (writing,) = (step for step in steps if "comment.sh" in step.get("run", ""))
    script, folder = writing["run"].split()
    assert folder == found["path"]
    assert (ROOT / script).is_file()
    assert script.startswith(measuring["uses"].removeprefix("./"))
    needed = set(re.findall(r"\$([A-Z_]{2,})", (ROOT / script).read_text())) | {"GH_TOKEN"}
    assert set(writing["env"]) == needed, "what the script takes from its environment"


def test_both_pages_name_the_cure_of_an_intended_change() -> None:
    """In turns nothing is accepted, so it stays red otherwise."""
    guide, page = ((ROOT / "docs" / name).read_text() for name in ("ci-guide.md", "ci.md"))
    (row,) = re.findall(r"^\| intended \|.*$", guide, re.MULTILINE)
    (step,) = re.findall(r"`with: (\{.*?\})`", row)
    assert parsed(step) == {"against": "baseline"}
    assert "`against: baseline`" in page.partition("\n## A pull request against its base\n")[2].partition("\n## ")[0]


def test_workflows_and_those_of_the_guide_fit_the_schema(tmp_path: Path) -> None:
    """Against the copy of GitHub's workflow schema that check-jsonschema ships; nothing is downloaded."""
    own = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
    assert own
    paths = [tmp_path / f"workflow{number}.yml" for number in range(len(GUIDE))]
    for path, text in zip(paths, GUIDE, strict=True):
        path.write_text(text)
    check("vendor.github-workflows", *own, *paths)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here; apt-get install shellcheck")
@pytest.mark.parametrize("script", sorted(path.name for path in ACTION.glob("*.sh")))
def test_scripts_have_no_known_faults(script: str) -> None:
    done = subprocess.run(["shellcheck", str(ACTION / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
