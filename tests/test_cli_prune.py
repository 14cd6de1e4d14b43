"""`harness prune` deletes what a whole run looked for and did not find, and nothing else."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from harness.baseline.store import Store
from harness.cli.main import main
from harness.files import point_latest
from harness.records import Comparison, Verdict
from tests.cli_runs import a_case, on_disk
from tests.judge_samples import portables

GONE = Comparison("toys", "b/reference/cpu", "case", Verdict.MISSING, "b is gone")


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.baselines = str(folder / "baselines")
        run = on_disk(folder, "first", [a_case("a"), a_case("b"), a_case("far", suite="other")])
        assert main(["accept", "--from", run, "--reason", "first", "--baselines", self.baselines]) == 0

    def prune(self, *options: str, **changes: object) -> int:
        fields: dict[str, object] = {"comparisons": (GONE,), **changes}
        run = on_disk(self.folder, "run", [a_case("a")], **fields)
        return main(["prune", "--from", run, "--baselines", self.baselines, *options])

    def kept(self) -> set[str]:
        return {portable.case_id.split("/")[0] for portable in portables(Store(Path(self.baselines)))}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    made = Place(tmp_path)
    capsys.readouterr()
    return made


def test_first_it_only_lists(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.prune() == 0
    assert capsys.readouterr().out.splitlines()[0] == "toys/b/reference/cpu"
    assert place.kept() == {"a", "b", "far"}


def test_the_command_that_is_told_deletes_what_was_listed(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    on_disk(place.folder / "my reports", "listed", [a_case("a")], comparisons=(GONE,))
    point_latest(place.folder / "my reports" / "listed")
    assert main(["prune", "--from", "my reports/latest"]) == 0
    told = capsys.readouterr().out.splitlines()[-1].split("do it with: ")[1]
    assert told == "harness prune --yes --from 'my reports/listed'"
    on_disk(place.folder / "my reports", "newer", [a_case("b")])
    point_latest(place.folder / "my reports" / "newer")
    assert main(shlex.split(told)[1:]) == 0
    assert place.kept() == {"a", "far"}


def test_other_baselines_are_part_of_the_command_that_is_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    run = on_disk(place.folder, "run", [a_case("a")], comparisons=(GONE,))
    assert main(["prune", "--from", run, "--baselines", "./baselines"]) == 0
    assert capsys.readouterr().out.endswith("do it with: harness prune --yes --from run\n")
    monkeypatch.chdir(place.folder.parent)
    assert main(["prune", "--from", run, "--baselines", place.baselines]) == 0
    told = f"harness prune --yes --from {place.folder.name}/run --baselines {place.baselines}\n"
    assert capsys.readouterr().out.endswith(told)


def test_then_it_deletes_what_is_gone_and_not_what_was_not_looked_for(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.prune("--yes") == 0
    assert place.kept() == {"a", "far"}
    deleted = [Path(line.removeprefix("deleted ")) for line in capsys.readouterr().out.splitlines()]
    assert len(deleted) == 2
    assert not any(path.exists() for path in deleted)


def test_a_case_that_is_there_but_has_no_numbers_is_kept(place: Place) -> None:
    missing = Comparison("toys", "a/reference/cpu", "case", Verdict.MISSING, "no compiler here")
    assert place.prune("--yes", comparisons=(missing,)) == 0
    assert place.kept() == {"a", "b", "far"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"complete": False}, "is not complete"),
        ({"filtered": True, "comparisons": ()}, "selected a part"),
        ({"mode": "off"}, "--baseline=off"),
        ({"mode": "quick"}, "--quick"),
        ({"mode": "update"}, "--baseline=update"),
    ],
)
def test_a_run_that_can_t_tell(
    place: Place, capsys: pytest.CaptureFixture[str], changes: dict[str, object], why: str
) -> None:
    assert place.prune("--yes", **changes) == 2
    assert why in capsys.readouterr().err
    assert place.kept() == {"a", "b", "far"}


def test_a_run_of_a_part_that_found_one_gone_has_looked_for_it(place: Place) -> None:
    assert place.prune("--yes", filtered=True) == 0
    assert place.kept() == {"a", "far"}


def test_nothing_gone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.prune("--yes", comparisons=()) == 0
    assert "no baseline" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "told"), [("a", False), ("far", True)])
def test_a_damaged_baseline_keeps_no_other_from_being_deleted(
    place: Place, capsys: pytest.CaptureFixture[str], name: str, told: bool
) -> None:
    """One branch may have pruned a case to which another one has added the times of a class: git merges that."""
    (portable,) = Path(place.baselines).rglob(f"{name}-*/portable.json")
    portable.unlink()
    assert place.prune("--yes") == (2 if told else 0)
    said = capsys.readouterr()
    assert said.out.count("deleted ") == 2
    assert ("restore it from git, or delete the folder where its case is gone" in said.err) is told
