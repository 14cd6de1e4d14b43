"""`harness accept` writes what may be a baseline, and names what may not."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from harness.baseline.records import machine_class
from harness.baseline.store import Store
from harness.cli.main import main
from harness.files import point_latest
from harness.records import Environment, Outcome
from harness.report.commands import accept_command
from harness.report.record import read_run
from tests.cli_runs import IDENTITY, a_case, of_another_length, of_test, on_disk, without_numbers
from tests.judge_samples import portables


class Place:
    """A project's folder with one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.baselines = folder / "baselines"
        self.run = on_disk(folder, "run", [a_case("a"), a_case("b"), without_numbers("c", Outcome.CRASHED, "it broke")])

    def accept(self, *options: str, run: str = "") -> int:
        return main(["accept", "--from", run or self.run, "--baselines", str(self.baselines), *options])

    def accepted(self) -> dict[str, str]:
        return {portable.case_id: portable.accepted.reason for portable in portables(Store(self.baselines))}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_chosen_cases_are_written_with_the_reason(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.accept("--case", "a/*", "--reason", "the first figures") == 0
    assert place.accepted() == {"a/reference/cpu": "the first figures"}
    written = [line.removeprefix("wrote ") for line in capsys.readouterr().out.splitlines()]
    assert len(written) == 2
    assert all(Path(path).is_file() for path in written)
    times = Store(place.baselines).read("toys", "a/reference/cpu", IDENTITY).times
    assert times is not None
    assert len(times.blocks) == 1


def test_the_suite_may_stand_before_the_id(place: Place) -> None:
    assert place.accept("--case", "toys/b/*", "--case", "a/reference/cpu", "--reason", "x") == 0
    assert set(place.accepted()) == {"a/reference/cpu", "b/reference/cpu"}


def test_an_id_that_several_suites_have_says_which_to_choose_from(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    both = on_disk(place.folder, "both", [a_case("a"), a_case("a", suite="games")])
    assert place.accept("--case", "a/reference/cpu", "--reason", "x", run=both) == 2
    error = capsys.readouterr().err
    assert "--case toys/a/reference/cpu or --case games/a/reference/cpu" in error
    assert not place.accepted()
    assert place.accept("--case", "games/a/reference/cpu", "--reason", "x", run=both) == 0
    assert [portable.suite for portable in portables(Store(place.baselines))] == ["games"]
    assert place.accept("--case", "a/*", "--reason", "x", run=both) == 0
    assert [portable.suite for portable in portables(Store(place.baselines))] == ["games", "toys"]


def test_what_may_not_is_refused_by_name_and_the_rest_is_written(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.accept("--reason", "all of it") == 2
    assert set(place.accepted()) == {"a/reference/cpu", "b/reference/cpu"}
    assert "c/reference/cpu: not accepted" in capsys.readouterr().err


def test_a_regression_is_accepted_with_a_reason(place: Place) -> None:
    place.accept("--case", "a/*", "--reason", "first")
    slower = on_disk(place.folder, "slower", [a_case("a", latency=0.02)])
    assert place.accept("--reason", "the new kernel is worth it", run=slower) == 0
    times = Store(place.baselines).read("toys", "a/reference/cpu", IDENTITY).times
    assert times is not None
    assert times.accepted.reason == "the new kernel is worth it"
    assert times.accepted.previous["latency.p50"] == pytest.approx(0.010, rel=0.01)


def test_what_got_worse_is_named_where_a_run_of_another_class_is_accepted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first figures of a class bring the loss of a red run into the baseline of all."""
    place.accept("--case", "a/*", "--case", "b/*", "--reason", "first")
    capsys.readouterr()
    away = Environment({"cpu": {**IDENTITY, "model": "Another CPU"}}, {"python": "3.11.9"}, {}, commit="def5678")
    hosted = on_disk(place.folder, "hosted", [a_case("a", right="f" * 40 + "0" * 10), a_case("b")], environment=away)
    assert place.accept("--reason", "first figures on the hosted runners", run=hosted) == 0
    printed = capsys.readouterr().out.splitlines()
    (worse,) = (line for line in printed if not line.startswith("wrote "))
    assert worse.startswith("a/reference/cpu: taken although it got worse: accuracy ")
    assert "80.00 % against 100.00 %" in worse
    assert place.accept("--reason", "once more", run=hosted) == 0
    assert "got worse" not in capsys.readouterr().out


def test_a_new_fidelity_that_waits_for_another_class_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """It was said that the baseline held it already, or nothing at all."""
    with_error, _ = of_another_length("a")
    place.accept("--case", "a/*", "--reason", "first")
    away = Environment({"cpu": {**IDENTITY, "model": "Another CPU"}}, {"python": "3.11.9"}, {}, commit="def5678")
    hosted = on_disk(place.folder, "hosted", [with_error], environment=away)
    capsys.readouterr()
    for written in (1, 0):
        assert place.accept("--reason", "a limit on the error", run=hosted) == 0
        *wrote, said = capsys.readouterr().out.splitlines()
        assert [line.startswith("wrote ") for line in wrote] == [True] * written
        assert said.startswith(
            "a/reference/cpu: not taken: fidelity.error: the baseline has no such value yet, and takes"
        )
        assert f"Accept a run of {machine_class(IDENTITY)}: pytest" in said


def test_a_metric_that_is_gone_is_named_where_it_is_taken(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """It was gated no longer, and nothing said so."""
    old, _ = of_another_length("a")
    place.accept("--reason", "first", run=on_disk(place.folder, "old", [old]))
    capsys.readouterr()
    without = on_disk(place.folder, "without", [a_case("a")])
    assert place.accept("--reason", "outputs are not compared any more", run=without) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("wrote ")]
    assert said == ["a/reference/cpu: taken although it is gone, and gated no longer: fidelity.error"]
    assert place.accept("--reason", "once more", run=without) == 0
    assert "is gone" not in capsys.readouterr().out


@pytest.mark.parametrize("identity", [IDENTITY, {**IDENTITY, "model": "Another CPU"}], ids=["at home", "elsewhere"])
def test_a_fidelity_that_outputs_of_another_length_can_not_have_stays_in_the_baseline(
    place: Place, identity: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """The run was green, and accepting it removed the fidelity from the baseline of every class of machine. Then it
    went to another class with what differed there, and was held to the strict limit of machines that never measured it.
    """
    old, new = of_another_length("a")
    assert place.accept("--reason", "first", run=on_disk(place.folder, "old", [old])) == 0
    (portable,) = place.baselines.rglob("portable.json")
    before = portable.read_bytes()
    here = Environment({"cpu": identity}, {"python": "3.11.9"}, {}, commit="def5678")
    accepted = on_disk(place.folder, "accepted", [new], environment=here)
    assert place.accept("--reason", "times of this class", run=accepted) == 0
    assert portable.read_bytes() == before
    larger = dataclasses.replace(a_case("a", size=2e6), facts=new.facts)
    accepted = on_disk(place.folder, "larger", [larger], environment=here)
    refused = place.accept("--reason", "a larger table", run=accepted)
    if identity != IDENTITY:
        assert refused == 2
        said = f"size differs, and what this run can't have (fidelity.error) is of {machine_class(IDENTITY)}"
        assert said in capsys.readouterr().err
        assert portable.read_bytes() == before
        return
    assert refused == 0
    (found,) = portables(Store(place.baselines))
    assert found.values == {"size": 2e6, "accuracy": 1.0, "fidelity.error": 0.01}
    assert found.accepted.previous == {"size": 1e6}


def test_a_fidelity_that_outputs_of_another_length_can_not_have_comes_along_after_an_upgrade(place: Place) -> None:
    """It is the same machine, so that nothing goes to another one."""
    old, new = of_another_length("a")
    assert place.accept("--reason", "first", run=on_disk(place.folder, "old", [old])) == 0
    upgraded = {**IDENTITY, "anchor": 2}
    here = Environment({"cpu": upgraded}, {"python": "3.11.9"}, {}, commit="def5678")
    smaller = dataclasses.replace(a_case("a", size=5e5), facts=new.facts)
    accepted = on_disk(place.folder, "smaller", [smaller], environment=here)
    assert place.accept("--reason", "a smaller table", run=accepted) == 0
    (found,) = portables(Store(place.baselines))
    assert found.made_on == machine_class(upgraded)
    assert found.values == {"size": 5e5, "accuracy": 1.0, "fidelity.error": 0.01}


def test_a_damaged_baseline_keeps_no_other_case_from_being_accepted(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.accept("--case", "a/*", "--case", "b/*", "--reason", "first")
    (times,) = (path for path in place.baselines.rglob("times.*.json") if "/a-" in path.as_posix())
    times.write_text("<<<<<<< ours\n" + times.read_text())
    larger = on_disk(place.folder, "larger", [a_case("a", size=2e6), a_case("b", size=2e6)])
    assert place.accept("--reason", "the larger table is worth it", run=larger) == 2
    assert times.name in capsys.readouterr().err
    assert place.accepted() == {"a/reference/cpu": "first", "b/reference/cpu": "the larger table is worth it"}


def test_the_same_run_twice_adds_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.accept("--case", "a/*", "--reason", "first")
    before = {path: path.read_bytes() for path in place.baselines.rglob("*.json")}
    capsys.readouterr()
    assert place.accept("--case", "a/*", "--reason", "again") == 0
    assert {path: path.read_bytes() for path in place.baselines.rglob("*.json")} == before
    assert "holds this already" in capsys.readouterr().out


def test_neighbours_stay_as_they_are(place: Place) -> None:
    place.accept("--case", "a/*", "--case", "b/*", "--reason", "first")
    before = {path: path.read_bytes() for path in place.baselines.rglob("*.json") if "/b-" in path.as_posix()}
    assert before
    place.accept("--reason", "larger", run=on_disk(place.folder, "larger", [a_case("a", size=2e6)]))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(("glob", "hint"), [("d/*", ""), ("a/referense/cpu", "did you mean a/reference/cpu")])
def test_a_glob_that_names_nothing(place: Place, capsys: pytest.CaptureFixture[str], glob: str, hint: str) -> None:
    assert place.accept("--case", "a/*", "--case", glob, "--reason", "x") == 2
    printed = capsys.readouterr().err
    assert "no such case" in printed
    assert hint in printed
    assert place.accepted() == {}


def test_a_reason_of_spaces(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.accept("--reason", "  ") == 2
    assert "--reason is empty" in capsys.readouterr().err
    assert place.accepted() == {}


@pytest.mark.parametrize("changes", [{"complete": False}, {"mode": "quick"}])
def test_runs_that_are_not_whole_touch_nothing(place: Place, changes: dict[str, object]) -> None:
    assert place.accept("--reason", "x", run=on_disk(place.folder, "part", [a_case("a")], **changes)) == 2
    assert place.accepted() == {}


def test_a_run_that_measured_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    empty = on_disk(place.folder, "empty", [without_numbers("a", Outcome.UNAVAILABLE, "no GPU")])
    assert place.accept("--reason", "x", run=empty) == 2
    assert "measured no case" in capsys.readouterr().err


def test_a_glob_leaves_out_what_can_not_run_here_unless_it_names_nothing_else(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """As accepting the whole run does."""
    absent = without_numbers("a", Outcome.UNAVAILABLE, "no GPU")
    absent = dataclasses.replace(absent, case_id="a/reference/cuda", hardware="cuda")
    run = on_disk(place.folder, "both", [a_case("a"), absent])
    assert place.accept("--case", "a/*", "--reason", "x", run=run) == 0
    assert set(place.accepted()) == {"a/reference/cpu"}
    assert capsys.readouterr().err == ""
    assert place.accept("--case", "a/reference/cuda", "--reason", "x", run=run) == 2
    assert "a/reference/cuda: not accepted" in capsys.readouterr().err


def test_the_command_of_a_report_takes_that_run_although_a_newer_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = "pytest suites/ --reports=nightly --baselines golden"
    shown = read_run(on_disk(tmp_path / "nightly", "monday", [a_case("a", size=1e6)], command=command))
    on_disk(tmp_path / "nightly", "tuesday", [a_case("a", size=2e6)])
    point_latest(tmp_path / "nightly" / "tuesday")
    assert main(shlex.split(accept_command(shown))[1:]) == 0
    (portable,) = portables(Store(tmp_path / "golden"))
    assert portable.values["size"] == 1e6


def test_a_case_whose_own_test_failed_is_refused_and_one_whose_baseline_was_not_written_is_not(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, right = a_case("a"), a_case("b")
    said = (
        of_test(wrong, "the test failed: AssertionError: too few are right"),
        of_test(right, "its baseline was not written: no space left on the device."),
    )
    assert place.accept("--reason", "x", run=on_disk(place.folder, "red", [wrong, right], comparisons=said)) == 2
    assert set(place.accepted()) == {"b/reference/cpu"}
    error = capsys.readouterr().err
    assert "a/reference/cpu: not accepted into the baseline: the test failed: AssertionError: too few" in error
    assert f"pytest '{wrong.nodeid}'" in error
