"""Artefacts are made before anything is timed, several at a time; an interrupt ends that at once."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from harness.errors import MeasurementError, SuiteError
from harness.grid import Address, Case
from harness.hardware import Hardware, cpu, edge
from harness.measure.ahead import MOST_JOBS, Wanted, make_ahead, needed, usual_jobs
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.case import Measurer
from harness.measure.case_passes import CasePasses, Coming
from harness.measure.child import Child
from harness.measure.crew import Starter, at_once
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.records import Outcome
from harness.session import Session
from harness.techniques import batched, reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model
from tests.folder import PLAN, Folder

SLOW = '''
import json, os, time
from pathlib import Path

from harness import Promise, technique

NOTES = Path(__file__).parent.parent / ".notes"


@technique(takes="onnx")
def slow(deployment, number: int, *, seconds: float = 1.0, meets: int = 0):
    """Takes a while to make, and notes when; or until another one is being made as well."""
    NOTES.mkdir(exist_ok=True)
    note = NOTES / str(number)
    note.write_text(json.dumps([os.getpid(), time.monotonic(), None]))
    end = time.monotonic() + 100
    while meets and not (NOTES / str(meets)).exists():
        assert time.monotonic() < end, f"{meets} was not begun beside {number}"
        time.sleep(0.05)
    time.sleep(0 if meets else seconds)
    note.write_text(json.dumps([os.getpid(), time.monotonic() - seconds, time.monotonic()]))
    return deployment.promising(Promise("runtime", equals="onnxruntime"))


@technique(takes="onnx")
def broken(deployment):
    """Can't be made."""
    NOTES.mkdir(exist_ok=True)
    with (NOTES / "broken").open("a") as file:
        file.write("x")
    raise RuntimeError("a part is missing")
'''
SUITE = """
from suites.own import broken, slow


@grid(model=[tiny], technique=[{techniques}], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "project")
    (made.path / "suites" / "own.py").write_text(SLOW)
    return made


def times_of(folder: Folder) -> list[tuple[float, float]]:
    import json

    notes = [json.loads(path.read_text()) for path in (folder.path / ".notes").iterdir() if path.name != "broken"]
    return sorted((begin, end) for _, begin, end in notes)


def test_with_one_job_each_is_made_when_its_case_comes(folder: Folder) -> None:
    folder.suite("test_own", SUITE.format(techniques="slow(1), slow(2)"))
    code, text = folder.pytest("suites", "--baseline=off", "--jobs=1", *PLAN)
    assert code == 0, text
    assert "made ready" not in text
    (_, end), (begin, _) = times_of(folder)
    assert end <= begin


def test_an_interrupt_ends_the_children_and_keeps_what_is_finished(folder: Folder) -> None:
    techniques = "slow(1, seconds=0.1), slow(2, seconds=600.0), slow(3, seconds=600.0)"
    folder.suite("test_own", SUITE.format(techniques=techniques))
    command = folder.command("suites", "--baseline=off", "--jobs=2", *PLAN)
    process = subprocess.Popen(
        command, cwd=folder.path, env=folder.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    notes = folder.path / ".notes"
    while not ((notes / "2").exists() and (notes / "3").exists()) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)  # before the two are made
    assert process.returncode == 2, output
    for number in ("2", "3"):
        child = int((notes / number).read_text()[1:].split(",")[0])
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    kept = [path for path in (folder.path / ".harness" / "artefacts").iterdir() if not path.name.startswith(".")]
    assert len(kept) == 2, "slow(1)'s, and the reference's"


def test_an_interrupt_that_comes_while_tasks_are_handed_out_ends_the_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the first moments had no effect until what had begun was made, which may take hours."""
    begun, ended = threading.Event(), list[bool]()
    submit, handed = ThreadPoolExecutor.submit, itertools.count()

    class Member:
        def __init__(self, *_: object) -> None:
            self.over = threading.Event()

        def end(self) -> None:
            self.over.set()

    def task(start: Starter) -> None:
        child = cast(Any, start("it", tmp_path, {}, Tree(tmp_path)))
        begun.set()
        ended.append(child.over.wait(30))

    def interrupted(pool: ThreadPoolExecutor, *handing: Any) -> Any:
        if next(handed):
            begun.wait(30)
            raise KeyboardInterrupt
        return submit(pool, *handing)

    monkeypatch.setattr(sys.modules["harness.measure.crew"], "_Member", Member)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        at_once([task, task], 2, lambda _: None)
    assert ended == [True]


EVALUATED = """
import dataclasses, os, time


def beside(predict):
    notes = Path(__file__).parent.parent / ".evaluated"
    notes.mkdir(exist_ok=True)
    (notes / str(os.getpid())).touch()
    end = time.monotonic() + 60
    while len(list(notes.iterdir())) < {meets} and time.monotonic() < end:
        time.sleep(0.02)
    assert len(list(notes.iterdir())) >= {meets}, "this evaluation was made alone"
    return tiny.evaluate(predict)


noted = dataclasses.replace(tiny, name="noted", evaluate=beside)


def too_bright(predict):
    return tiny.evaluate(lambda inputs: predict({{"image": inputs["image"] * 1e38}}))


far = dataclasses.replace(tiny, name="far", evaluate=too_bright)


@grid(model=[{models}], technique=[{techniques}], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""


def test_artefacts_accuracy_and_memory_are_made_two_at_a_time_before_the_first_case(folder: Folder) -> None:
    suite = EVALUATED.format(meets=2, models="noted", techniques="slow(1, meets=2), slow(2, meets=1)")
    folder.suite("test_own", f"from suites.own import slow\n{suite}")
    code, text = folder.pytest("suites", "--baseline=off", "--jobs=2", *PLAN)
    assert code == 0, text
    assert re.search(r"3 artefacts were made ready in .*", text), "two, and the reference's"
    assert len(list((folder.path / ".evaluated").iterdir())) == 3, "two, and the reference, once each"
    for name in ("slow:1:meets-2", "slow:2:meets-1"):
        result = folder.result(f"noted/{name}/cpu")
        names = {measurement["metric"] for measurement in result["measurements"]}
        assert {"time.prepare", "accuracy", "fidelity.cosine", "memory.peak", "latency.p50"} <= names


LOST = """
from suites.own import broken, slow

lost = dataclasses.replace(tiny, name="lost", data=lambda: {"table": Path(".gone").read_text()})


@grid(model=[lost], technique=[reference], hardware=[cpu])
def test_lost(case, bench):
    bench(case)


@grid(model=[tiny], technique=[broken, reference, slow(1, seconds=0.0)], hardware=[cpu])
def test_behind(case, bench):
    bench(case)
"""


def test_what_fails_ahead_fails_when_its_own_case_comes(folder: Folder) -> None:
    """An evaluation, a model's own code, and a technique, which is tried once."""
    far = EVALUATED.format(meets=1, models="far", techniques="batched(2), batched(3)")
    folder.suite("test_own", far + LOST)
    code, text = folder.pytest("suites", "--baseline=off", "--jobs=2", *PLAN)
    assert code == 1
    assert "4 failed, 2 passed" in text, "what is queued behind them is made all the same"
    assert folder.result("tiny_onnx/reference/cpu")["outcome"] == "completed"
    for number in (2, 3):
        result = folder.result(f"far/batched:{number}/cpu")
        assert result["outcome"] == "invalid"
        assert "holds NaN or infinity" in result["reason"]
    assert "FileNotFoundError" in folder.result("lost/reference/cpu")["reason"]
    result = folder.result("tiny_onnx/broken/cpu")
    assert result["outcome"] == "failed"
    assert "a part is missing" in result["reason"]
    assert (folder.path / ".notes" / "broken").read_text() == "x"


def test_the_same_cases_of_two_trees_are_measured_beside_each_other(folder: Folder) -> None:
    suite = EVALUATED.format(meets=1, models="noted", techniques="batched(2)")
    folder.suite("test_own", suite)
    folder.commit("start")
    folder.suite("test_own", suite.replace("[batched(2)]", "[batched(2), batched(3)]"))  # HEAD lacks the second
    code, text = folder.pytest("suites", "--against", "HEAD", "--jobs=2", *PLAN, "--plan", "confirm=1")
    assert code in (0, 1), text
    logs = (folder.path / "reports" / "latest" / "logs").rglob("prepare*.log")
    assert {path.name for path in logs} == {"prepare.log", "prepare-previous.log"}
    rows = folder.run()["comparisons"]
    verdicts = {one["metric"]: one["verdict"] for one in rows}
    assert verdicts["accuracy"] == verdicts["size"] == "unchanged"
    (row,) = (one for one in rows if "batched:3" in one["case_id"])
    assert row["verdict"] == "incomparable"
    assert "has no case noted/batched:3/cpu" in row["reason"]


class Again(Exception):
    """It is made again."""


def again(*_: object) -> NoReturn:
    raise Again


@dataclass
class Waiting:
    """A cache that has its artefact when these logs are there."""

    logs: list[Path]

    def get(self, *_: object) -> None:
        end = time.monotonic() + 60
        while not all(log.exists() for log in self.logs):
            assert time.monotonic() < end
            time.sleep(0.01)


@dataclass
class Holding:
    """A cache that has this artefact."""

    artefact: Artefact

    def get(self, *_: object) -> Artefact:
        return self.artefact


def test_what_was_ended_from_outside_is_made_again(tmp_path: Path) -> None:
    """As pytest-timeout ends the first case, in whose time all are made."""
    root, python = tmp_path / "project", tmp_path / "python"
    root.mkdir()
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    cache = ArtefactCache(Tree(root, python=str(python)), tmp_path / "artefacts", {}, Plan(), cold=False)
    cases = [Case(tiny_onnx_model(tmp_path), as_pipeline(technique), cpu) for technique in (reference, batched(2))]
    wanted = [
        Wanted(
            cache, case, Address(str(root), "test_it.py", "test_it", case.id), tmp_path / case.technique.steps[0].name
        )
        for case in cases
    ]
    ready = cast(Any, Waiting([one.logs / "prepare.log" for one in wanted]))
    with pytest.raises(pytest.fail.Exception, match="Timeout"):
        make_ahead([*wanted, dataclasses.replace(wanted[0], cache=ready)], 3, lambda _: pytest.fail("Timeout"))
    for one in wanted:
        with pytest.raises(Again):
            cache.get(one.case, one.address, one.logs, again)


def test_a_reference_whose_evaluation_was_ended_from_outside_is_evaluated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next case of its model waited for it for ever."""
    given = iter([pytest.fail.Exception("Timeout"), pytest.exit.Exception("enough"), Again()])

    def evaluated(*_: object) -> NoReturn:
        raise next(given)

    monkeypatch.setattr(sys.modules["harness.measure.case_passes"], "evaluate", evaluated)
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    address = Address(str(tmp_path), "test_it.py", "test_it", case.id)
    artefact = Artefact(Tree(tmp_path), tmp_path, cast(Any, None), fresh=False)
    passes = CasePasses(cast(Any, None), Plan(), tmp_path)
    errors = (pytest.fail.Exception, pytest.exit.Exception, Again)
    for error in errors:
        with pytest.raises(errors) as caught:
            passes.reference(case, address, artefact, tmp_path / "it.log")
        assert caught.type is error


def test_a_reference_is_evaluated_once_a_session_and_a_case_as_often_as_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second evaluation of a case is one of another process, which tells whether its data are the same there."""
    monkeypatch.setattr(sys.modules["harness.measure.case_passes"], "evaluate", lambda *_: object())
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    address = Address(str(tmp_path), "test_it.py", "test_it", case.id)
    artefact = Artefact(Tree(tmp_path), tmp_path, cast(Any, None), fresh=False)
    passes = CasePasses(cast(Any, None), Plan(), tmp_path)
    first, second = (passes.reference(case, address, artefact, tmp_path / "it.log") for _ in range(2))
    assert first is second
    (first, _), (second, _) = (passes.evaluation(case, address, artefact, tmp_path / "it.log") for _ in range(2))
    assert first is not second


def test_what_was_made_ahead_in_another_environment_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that the fixture of one case set was in the accuracy and the memory of those after it, and not in its
    own where the first of them had none.
    """
    module, made = sys.modules["harness.measure.case_passes"], list[str]()

    def noted(*_: object) -> object:
        made.append(os.environ.get("HARNESS_TEST_FLAG", ""))
        return object()

    monkeypatch.setattr(module, "evaluate", noted)
    monkeypatch.setattr(module, "measure_memory", noted)
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(batched(2)), cpu)
    address = Address(str(tmp_path), "test_it.py", "test_it", case.id)
    artefact = Artefact(Tree(tmp_path), tmp_path, cast(Any, None), fresh=False)
    passes = CasePasses(cast(Any, Holding(artefact)), Plan(), tmp_path, jobs=2)
    passes.expect([Coming(case, address, "it")])
    assert passes.make_ahead("it", case, lambda _: None) == 1
    assert made == [""] * 3, "the reference's evaluation, the case's, and its memory"

    def ask() -> None:
        passes.memory(case, artefact, tmp_path / "it.log")
        passes.reference(case.reference, address, artefact, tmp_path / "it.log")
        passes.evaluation(case, address, artefact, tmp_path / "it.log")

    with monkeypatch.context() as fixture:
        fixture.setenv("HARNESS_TEST_FLAG", "1")
        ask()
        assert made[3:] == ["1"] * 3
        passes.reference(case.reference, address, artefact, tmp_path / "it.log")
        assert len(made) == 6, "a reference is evaluated once for each environment"
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "another case's")
    ask()
    assert made[6:] == [""], "the reference alone: what was made ahead of the case is there still"


def test_passes_of_cases_with_an_environment_each_are_made_once_and_held_no_longer_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a fixture sets a variable for each, all were made ahead in vain, and each reference was held to the end."""
    module, made = sys.modules["harness.measure.case_passes"], list[str]()

    def noted(*_: object) -> object:
        made.append(os.environ["HARNESS_TEST_FLAG"])
        return object()

    monkeypatch.setattr(module, "LOT", 1)
    monkeypatch.setattr(module, "evaluate", noted)
    monkeypatch.setattr(module, "measure_memory", noted)
    model = tiny_onnx_model(tmp_path)
    cases = [Case(model, as_pipeline(batched(number)), cpu) for number in (1, 2, 3)]
    address = Address(str(tmp_path), "test_it.py", "test_it", cases[0].id)
    artefact = Artefact(Tree(tmp_path), tmp_path, cast(Any, None), fresh=False)
    passes = CasePasses(cast(Any, Holding(artefact)), Plan(), tmp_path, jobs=2)
    passes.expect(Coming(case, address, "it") for case in cases)
    ahead = []
    for flag, case in zip("abc", cases, strict=True):
        monkeypatch.setenv("HARNESS_TEST_FLAG", flag)
        ahead.append(passes.make_ahead("it", case, lambda _: None))
        passes.memory(case, artefact, tmp_path / "it.log")
        passes.reference(case.reference, address, artefact, tmp_path / "it.log")
        passes.evaluation(case, address, artefact, tmp_path / "it.log")
    assert ahead == [1, 0, 0]
    assert "".join(made) == "aaabbbccc"
    assert [key[0] for key in passes._made] == ["reference"]


class Empty:
    """A cache of which nothing can be had."""

    tree, sources = Tree(Path("project")), ""

    def look_again(self) -> None:
        """Nothing changed."""

    def check_going_on(self, case_id: str) -> None:
        """It does."""

    def get(self, *_: object) -> NoReturn:
        raise SuiteError("there is none")


def test_making_artefacts_ahead_is_in_the_seconds_of_the_first_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No case's own preparation holds it: the benchmark of overhead took it for launches."""
    now = [100.0]

    def made(*_: object) -> None:
        now[0] += 146.0

    monkeypatch.setattr(sys.modules["harness.session"], "make_ahead", made)
    monkeypatch.setattr(sys.modules["harness.session"], "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sys.modules["harness.measure.case"], "time", SimpleNamespace(perf_counter=lambda: now[0]))
    cache, plan = cast(Any, Empty()), Plan()
    passes = CasePasses(cache, plan, tmp_path, jobs=2)
    session = SimpleNamespace(
        _why_not=lambda _: None,
        environment=SimpleNamespace(hardware={"cpu": {"kind": "cpu"}}),
        _earlier={},
        _head=SimpleNamespace(environment=SimpleNamespace(state={"sources": ""})),
        journal=SimpleNamespace(amend=lambda _: None),
        folder=tmp_path,
        _cache=cache,
        _other=None,
        settings=SimpleNamespace(jobs=2),
        _passes=passes,
    )
    one = Case(tiny_onnx_model(tmp_path), as_pipeline(batched(2)), cpu)
    other = dataclasses.replace(one, technique=as_pipeline(batched(3)))
    address = Address("project", "test_it.py", "test_it", one.id)
    alone = Case(one.model, as_pipeline(batched(4)), cpu)
    Session.make_ahead(cast(Any, session), [(case, address, "it") for case in (one, other)], lambda *_: None)
    measurer = Measurer(cache, passes, plan, tmp_path, lambda *_: 0, lambda _: None)
    seconds = [measurer.measure(case, address, "it", case.id, {})[0].seconds for case in (alone, one, other)]
    assert seconds == [{}, {"ahead": 146.0}, {}], "both are of one lot, and the first of it carries what is of all"
    assert measurer.budget._ahead == [(0.0, 2)], "no later case is expected to take as long"


def test_what_was_killed_beside_others_is_made_again_alone(tmp_path: Path) -> None:
    """The memory that did not reach for two may reach for one; what is killed alone is not made once more."""
    root, python = tmp_path / "project", tmp_path / "python"
    root.mkdir()
    python.write_text("#!/bin/sh\nkill -KILL $$\n")
    python.chmod(0o755)
    cache = ArtefactCache(Tree(root, python=str(python)), tmp_path / "artefacts", {}, Plan(), cold=False)
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    address = Address(str(root), "test_it.py", "test_it", case.id)
    make_ahead([Wanted(cache, case, address, tmp_path)], 2, lambda _: None)
    assert (tmp_path / "prepare.log").exists()
    with pytest.raises(Again):
        cache.get(case, address, tmp_path, again)
    starters: tuple[Starter, ...] = (Child, again)
    for start in starters:
        with pytest.raises(MeasurementError) as caught:
            cache.get(case, address, tmp_path, start)
        assert caught.value.outcome in (Outcome.KILLED, Outcome.OOM)


@pytest.mark.parametrize("hardware", [cpu, edge])
def test_a_pass_that_was_killed_beside_others_is_made_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hardware: Hardware
) -> None:
    """Of a device as well, where it works without the limit: the limit need not be the cause."""
    module = sys.modules["harness.measure.case_passes"]

    def killed(where: Case, *_: object) -> None:
        if where.hardware == hardware:
            raise MeasurementError("the process was killed (SIGKILL)", outcome=Outcome.KILLED)

    monkeypatch.setattr(module, "evaluate", killed)
    monkeypatch.setattr(module, "measure_memory", killed)
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), hardware)
    address = Address(str(tmp_path), "test_it.py", "test_it", case.id)
    artefact = Artefact(Tree(tmp_path), tmp_path, cast(Any, None), fresh=False)
    passes = CasePasses(cast(Any, Holding(artefact)), Plan(), tmp_path, jobs=2)
    passes.expect([Coming(case, address, "it")])
    assert passes.make_ahead("it", case, lambda _: None) == 1
    monkeypatch.setattr(module, "evaluate", again)
    monkeypatch.setattr(module, "measure_memory", again)
    with pytest.raises(Again):
        passes.memory(case, artefact, tmp_path / "it.log")
    evaluated = passes.reference if hardware is cpu else passes.evaluation
    with pytest.raises(Again):
        evaluated(case, address, artefact, tmp_path / "it.log")


@pytest.mark.parametrize(("python", "count"), [("/env/bin/python", 2), ("", 1)])
def test_one_tree_under_two_interpreters_takes_two_artefacts(tmp_path: Path, python: str, count: int) -> None:
    """`--against . --against-with X`: where only one was made ahead, the other was made when its case came."""
    (tmp_path / "project").mkdir()
    here = Tree(tmp_path / "project")
    trees = (here, dataclasses.replace(here, python=python or here.python))
    cache, other = (ArtefactCache(tree, tmp_path / "artefacts", {}, Plan(), cold=False) for tree in trees)
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    address = Address(str(here.root), "test_it.py", "test_it", case.id)
    found = needed(case, address, "it", tmp_path / "logs", cache, other)
    assert len(found) == count
    assert {one.cache for one in found.values()} <= {cache, other}


@pytest.mark.parametrize(("cores", "jobs"), [(1, 1), (2, 2), (64, 4)])
def test_as_many_at_a_time_as_cores_have_time(monkeypatch: pytest.MonkeyPatch, cores: int, jobs: int) -> None:
    monkeypatch.setattr(sys.modules["harness.measure.ahead"], "cores_usable", lambda: cores)
    assert usual_jobs() == jobs


def test_the_page_says_how_many_are_made_at_a_time() -> None:
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"one a core and {MOST_JOBS} at most" in page
