"""What a run may take over from one that was interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.files import point_latest
from harness.grid import Case
from harness.hardware import cpu
from harness.measure.data import data_state
from harness.optimize.goal import Goal
from harness.optimize.measuring import Bench
from harness.optimize.space import Space
from harness.records import Outcome, Result, Run
from harness.report.journal import JOURNAL_NAME, Journal
from harness.report.record import read_run, write_run
from harness.resume import of_sources, unfinished
from harness.techniques import distilled, onnxruntime, reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_student_model, tiny_torch_model
from tests.folder import PLAN, Folder
from tests.report_samples import sample_run


def told(run: Run, **said: str) -> Run:
    """The run with more said of its state."""
    state = {**run.environment.state, **said}
    return dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))


def test_a_run_that_was_finished_is_not_gone_on_with(tmp_path: Path) -> None:
    run = sample_run(1, 2)
    write_run(run, tmp_path)
    sentence = "--resume: the earlier run was finished, so this run starts from the beginning"
    assert unfinished(tmp_path, run) == ({}, sentence)


@pytest.mark.parametrize(
    ("before", "now", "taken"),
    [("", "", True), ("main", "", False), ("", "main", False), ("main", "v1", False), ("main", "main", True)],
)
def test_what_was_compared_with_something_else_is_measured_again(
    tmp_path: Path, before: str, now: str, taken: bool
) -> None:
    run = dataclasses.replace(sample_run(1, 2), complete=False)
    earlier, again = (told(run, against=other) if other else run for other in (before, now))
    write_run(earlier, tmp_path)
    found, sentence = unfinished(tmp_path, again)
    assert bool(found) is taken
    assert ("what it is compared with differs" in sentence) is not taken


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        ({"a": "1", "b": "1"}, {"a": "1", "b": "1"}, ""),
        ({"a": "1", "b": "1"}, {"a": "1", "b": "2"}, "the data of b changed, so this run starts"),
        ({"a": "1", "b": "1"}, {"a": "2", "b": "2"}, "the data of a, b changed"),
        ({"a": "1", "b": "1"}, {"b": "1"}, ""),
        ({"b": "1"}, {"a": "2", "b": "1"}, ""),
    ],
)
def test_results_of_other_data_are_not_taken(
    tmp_path: Path, before: Mapping[str, str], now: Mapping[str, str], changed: str
) -> None:
    """Another selection has other models, and says nothing of their data."""
    run = dataclasses.replace(sample_run(1, 2), complete=False)
    earlier, again = (told(run, **{f"data.{name}": one for name, one in said.items()}) for said in (before, now))
    write_run(earlier, tmp_path)
    found, sentence = unfinished(tmp_path, again)
    assert bool(found) is not bool(changed)
    assert changed in sentence


def test_what_was_handed_on_of_models_that_were_not_selected_is_measured_again(tmp_path: Path) -> None:
    """A run that selects some of the models keeps what an earlier one measured of the others, of whatever data."""
    run = dataclasses.replace(sample_run(1, 2), complete=False)
    model = run.results[0].model
    write_run(run, tmp_path)
    assert model in {result.model for result in unfinished(tmp_path, run)[0].values()}
    found, _ = unfinished(tmp_path, told(run, **{f"data.{model}": "1"}))
    assert model not in {result.model for result in found.values()}


def killed(folder: Path, run: Run, results: Iterable[Result] = (), **said: str) -> None:
    """Write the folder of a run that was killed when it had these results."""
    journal = Journal(folder)
    journal.start(told(run, **said))
    for result in results:
        journal.append(result, ())


def by_case(*results: Result) -> dict[tuple[str, str], Result]:
    return {(result.suite, result.case_id): result for result in results}


def test_what_a_killed_run_had_gone_on_with_is_not_lost(tmp_path: Path) -> None:
    """It hands on nothing, and has only the cases that it came to."""
    run = sample_run(1, 3)
    killed(tmp_path / "a", run, run.results)
    killed(tmp_path / "b", run, resumes="a")
    killed(tmp_path / "c", run, run.results[:1], resumes="b")
    for name in "abc":
        found, sentence = unfinished(tmp_path / name, run)
        assert found == by_case(*run.results)
        assert "3 cases were measured" in sentence


def test_a_run_whose_last_line_was_cut_off_is_gone_on_with_where_warnings_are_errors(tmp_path: Path) -> None:
    """As in these tests: by a power cut, in the latest run or in the one that it went on with."""
    run = sample_run(1, 3)
    killed(tmp_path / "a", run, run.results)
    killed(tmp_path / "b", run, run.results[:1], resumes="a")
    for name in "ab":
        journal = tmp_path / name / JOURNAL_NAME
        journal.write_bytes(journal.read_bytes()[:-30])
        found, sentence = unfinished(tmp_path / name, run)
        assert found == by_case(*run.results[:2])
        assert "2 cases were measured" in sentence


def test_nothing_stands_in_a_run_of_what_tests_wrote_meanwhile() -> None:
    """The sources that a run began with may be no longer those that its cases are measured of."""
    run = told(sample_run(1, 2), sources="s")
    earlier = by_case(*run.results)
    assert of_sources(run, earlier, "s") == (run, earlier, "")
    now, taken, sentence = of_sources(run, earlier, "others")
    assert (now, taken) == (told(run, sources="others"), {})
    assert sentence.startswith("--resume: tests wrote among the sources before the first case")
    assert of_sources(run, {}, "others") == (now, {}, ""), "who does not go on with a run need not know"


def test_a_killed_run_is_of_the_sources_that_its_cases_were_measured_of(tmp_path: Path) -> None:
    """Its journal said those that it began with: it was not gone on with, or after these were back, as one of them."""
    began = told(sample_run(1, 2), sources="s")
    now, _, _ = of_sources(began, {}, "others")
    journal = Journal(tmp_path)
    journal.start(began)
    journal.amend(now)
    for result in now.results:
        journal.append(result, ())
    assert unfinished(tmp_path, now)[0] == by_case(*now.results)
    found, sentence = unfinished(tmp_path, began)
    assert found == {}
    assert "sources, packages or flags were changed" in sentence


def test_of_a_case_that_several_runs_have_the_newest_result_is_taken(tmp_path: Path) -> None:
    run = sample_run(1, 3)
    one, other, third = run.results
    again = dataclasses.replace(one, warnings=("measured again",))
    gone = dataclasses.replace(other, outcome=Outcome.UNAVAILABLE, reason="not any more")
    killed(tmp_path / "a", run, run.results)
    killed(tmp_path / "b", run, (again, gone), resumes="a")
    assert unfinished(tmp_path / "b", run)[0] == by_case(again, third)


@pytest.mark.parametrize(
    ("before", "taken"),
    [
        ({"sources": "s"}, 2),
        ({"sources": "others"}, 1),
        ({"sources": "s", "against": "main"}, 1),
        ({"sources": "s", "data.digits": "1"}, 2),
        ({"sources": "s", "data.digits": "2"}, 1),
    ],
)
def test_what_an_earlier_run_of_the_row_measured_otherwise_is_not_taken(
    tmp_path: Path, before: Mapping[str, str], taken: int
) -> None:
    run = sample_run(1, 2)
    now = {"sources": "s", **{name: "1" for name in before if name.startswith("data.")}}
    killed(tmp_path / "a", run, run.results, **before)
    killed(tmp_path / "b", run, run.results[:1], resumes="a", **now)
    found, _ = unfinished(tmp_path / "b", told(run, **now))
    assert len(found) == taken


def test_the_row_ends_at_a_complete_run_and_at_one_that_is_gone_and_goes_in_no_circle(tmp_path: Path) -> None:
    run = sample_run(1, 2)
    write_run(run, tmp_path / "complete")
    for name, before in {"b": "complete", "c": "deleted", "d": "e", "e": "d", "f": "f"}.items():
        killed(tmp_path / name, run, run.results[1:] if name == "e" else run.results[:1], resumes=before)
    assert [len(unfinished(tmp_path / name, run)[0]) for name in "bcdef"] == [1, 1, 2, 2, 1]
    assert len(unfinished(tmp_path / "b", run, finished=True)[0]) == 2, "a search goes on with a whole one too"


def on(run: Run, **hardware: int) -> Run:
    """The run on this hardware, each with a number for what it is."""
    identities: dict[str, Mapping[str, Any]] = {name: {"number": number} for name, number in hardware.items()}
    return dataclasses.replace(run, environment=dataclasses.replace(run.environment, hardware=identities))


@pytest.mark.parametrize(
    ("before", "now", "taken"),
    [
        ({"cpu": 1, "edge": 1}, {"cpu": 1, "edge": 1}, ("cpu", "edge")),
        ({"cpu": 1, "edge": 1}, {"cpu": 1}, ("cpu",)),
        ({"cpu": 1}, {"cpu": 1, "edge": 1}, ("cpu",)),
        ({"cpu": 1, "edge": 1}, {"cpu": 1, "edge": 2}, ()),
        ({"cpu": 1}, {"cpu": 2, "edge": 1}, ()),
    ],
)
def test_another_selections_hardware_is_no_other_machine(
    tmp_path: Path, before: Mapping[str, int], now: Mapping[str, int], taken: tuple[str, ...]
) -> None:
    """A run says what the hardware is that its own grids have, and may hand on results of other hardware."""
    run = sample_run(1, 2)
    results = [dataclasses.replace(one, hardware=name) for one, name in zip(run.results, ("cpu", "edge"), strict=True)]
    killed(tmp_path, on(run, **before), results)
    found, sentence = unfinished(tmp_path, on(run, **now))
    assert tuple(one.hardware for one in found.values()) == taken
    assert ("the machine differs" in sentence) is not bool(taken)


def test_a_run_of_some_hardware_does_not_hide_the_one_that_it_went_on_with(tmp_path: Path) -> None:
    run = sample_run(1, 2)
    one, other = (dataclasses.replace(r, hardware=name) for r, name in zip(run.results, ("cpu", "edge"), strict=True))
    everything = on(run, cpu=1, edge=1)
    again, of_any_machine = (dataclasses.replace(r, warnings=("measured again",)) for r in (one, other))
    killed(tmp_path / "a", everything, (one, other))
    killed(tmp_path / "b", on(run, cpu=1), (again, of_any_machine), resumes="a")
    assert unfinished(tmp_path / "b", everything)[0] == by_case(again, other)


def test_only_what_is_wanted_is_taken_and_counted(tmp_path: Path) -> None:
    run = sample_run(1, 3)
    one = run.results[0].case_id
    write_run(run, tmp_path)
    found, sentence = unfinished(tmp_path, run, finished=True, wanted=lambda result: result.case_id == one)
    assert found == by_case(run.results[0])
    assert "1 cases were measured in the latest run" in sentence
    found, sentence = unfinished(tmp_path, run, finished=True, wanted=lambda result: result.model == "another")
    assert found == {}
    assert sentence.startswith("--resume: the latest run measured other models, suites or hardware, so this run starts")


def test_a_search_takes_results_of_its_own_suite_model_and_hardware(tmp_path: Path) -> None:
    space = Space(tiny_torch_model(), cpu, as_pipeline(onnxruntime).steps)
    goal = Goal("latency.p50", "s", "lower")
    bench = Headed(tmp_path, "test_s.py", space, goal, (), tmp_path, tmp_path, "", lambda _: None)
    own = Result("s", "tiny/reference/cpu", "", "tiny", "reference", "cpu", Outcome.COMPLETED)
    assert bench._is_of_this(own)
    others = ({"suite": "other"}, {"model": "tiny_student"}, {"hardware": "edge"})
    assert not any(bench._is_of_this(dataclasses.replace(own, **other)) for other in others)


def unreadable() -> Mapping[str, str]:
    raise FileNotFoundError("no labels")


def test_the_data_of_every_model_counts_once_and_what_can_not_be_read_ends_no_run() -> None:
    asked: list[str] = []
    teacher = dataclasses.replace(tiny_torch_model(), data=lambda: asked.append("tiny") or {"weights": "1"})
    student = dataclasses.replace(tiny_student_model(), data=unreadable)
    steps = (reference, distilled(into=student), distilled(into=student) | onnxruntime)
    state = data_state(Case(teacher, as_pipeline(step), cpu) for step in steps)
    assert state == {"data.tiny": state["data.tiny"], "data.tiny_student": "unknown: FileNotFoundError"}
    assert asked == ["tiny"]
    changed = dataclasses.replace(teacher, data=lambda: {"weights": "2"})
    assert data_state([Case(changed, as_pipeline(reference), cpu)]) != {"data.tiny": state["data.tiny"]}
    assert data_state([Case(tiny_torch_model(), as_pipeline(reference), cpu)]) == {}


class Headed(Bench):
    """A search that has nothing but its head."""

    def __post_init__(self) -> None:
        self._artefacts = cast(Any, SimpleNamespace(sources="sources"))
        self.metrics = {}
        self.suite = "s"
        self.head = self._start()


def test_a_search_says_of_what_data_it_is(tmp_path: Path) -> None:
    model = dataclasses.replace(tiny_torch_model(), data=lambda: {"weights": "1"})
    student = dataclasses.replace(tiny_student_model(), data=lambda: {"labels": "1"})
    space = Space(model, cpu, as_pipeline(distilled(into=student) | onnxruntime).steps)
    goal = Goal("latency.p50", "s", "lower")
    bench = Headed(tmp_path, "test_s.py", space, goal, (), tmp_path, tmp_path, "", lambda _: None)
    assert {"data.tiny", "data.tiny_student"} <= bench.head.environment.state.keys()
    assert "resumes" not in bench.head.environment.state


def test_a_search_says_what_it_goes_on_with(tmp_path: Path) -> None:
    (tmp_path / "earlier").mkdir()
    point_latest(tmp_path / "earlier")
    space = Space(tiny_torch_model(), cpu, as_pipeline(onnxruntime).steps)
    goal = Goal("latency.p50", "s", "lower")
    bench = Headed(tmp_path, "test_s.py", space, goal, (), tmp_path, tmp_path, "", lambda _: None, resume=True)
    assert bench.head.environment.state["resumes"] == "earlier"


def test_a_search_whose_record_can_not_be_written_did_not_end(tmp_path: Path) -> None:
    space = Space(tiny_torch_model(), cpu, as_pipeline(onnxruntime).steps)
    goal = Goal("latency.p50", "s", "lower")
    bench = Headed(tmp_path, "test_s.py", space, goal, (), tmp_path, tmp_path, "", lambda _: None)
    bench.folder = tmp_path / "run"
    bench.journal = Journal(bench.folder)
    bench.journal.start(bench.head)
    bench._head, bench._results, bench._began = bench.head, {}, 0.0
    (bench.folder / "run.json" / "full").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        bench.finish(complete=True)
    assert not Journal.load(bench.folder).complete


def interrupt(folder: Folder) -> None:
    """Let the latest run look as if it had been interrupted at its end."""
    latest = (folder.path / "reports" / "latest").resolve()
    write_run(dataclasses.replace(read_run(latest), complete=False), latest)


def test_a_run_that_is_killed_while_it_goes_on_takes_nothing_along_and_none_goes_on_with_other_data(
    tmp_path: Path,
) -> None:
    """The file of the data lies in a hidden folder, so it is no source."""
    pytest.importorskip("onnxruntime")
    folder = Folder(tmp_path)
    data = tmp_path / ".labels"
    data.write_text("1", encoding="utf-8")
    folder.suite(
        "test_it",
        "import dataclasses\nimport os\n\n"
        "told = dataclasses.replace(tiny, data=lambda: {'labels': Path('.labels').read_text()})\n\n\n"
        "@grid(model=[told], technique=[reference, batched(2)], hardware=[cpu])\n"
        "def test_it(case, bench):\n    bench(case)\n"
        "    if Path('.killed').exists():\n        os.kill(os.getpid(), 9)\n",
    )
    arguments = ("suites", "--baseline=off", *PLAN)
    assert folder.pytest(*arguments)[0] == 0
    interrupt(folder)
    (tmp_path / ".killed").touch()
    assert folder.pytest(*arguments, "--resume")[0] == -9
    assert len(read_run(tmp_path / "reports" / "latest").results) == 1
    (tmp_path / ".killed").unlink()
    code, text = folder.pytest(*arguments, "--resume")
    assert code == 0, text
    assert "2 cases were measured before the run was interrupted" in text
    interrupt(folder)
    data.write_text("2", encoding="utf-8")
    code, text = folder.pytest(*arguments, "-k", "reference", "--resume")
    assert code == 0, text
    assert "--resume: the data of tiny_onnx changed, so this run starts from the beginning" in text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mode": "off"}, "the mode differs"),
        ({"plan": {"confirm": 0}}, "the sampling plan differs"),
        ({"software": {"onnxruntime": "0.1"}}, "packages differ"),
    ],
)
def test_what_was_measured_in_another_way_is_measured_again(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    run = dataclasses.replace(sample_run(1, 2), complete=False)
    here = run.environment
    earlier = dataclasses.replace(
        run,
        mode=changes.get("mode", run.mode),
        plan={**run.plan, **changes.get("plan", {})},
        environment=dataclasses.replace(here, software={**here.software, **changes.get("software", {})}),
    )
    write_run(earlier, tmp_path)
    assert unfinished(tmp_path, run) == ({}, f"--resume: {why}, so this run starts from the beginning")
