"""The benchmarks run as their documents say; their figures are not judged here."""

from __future__ import annotations

import ast
import dataclasses
import json
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np
import pytest

from benchmarks import results_table
from benchmarks.anchor_tables import load_of, print_tables
from benchmarks.spread import best_weights, fit, held_out, spread
from tests.cli_runs import a_case, a_run, on_disk

ROOT = Path(__file__).parent.parent


def test_the_simulation_prints_and_writes_its_rows(tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    command = [sys.executable, "benchmarks/simulation.py", "--cases", "5", "--json", str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(rows.read_text())
    assert {row["mode"] for row in found} == {"against", "baseline"}
    assert len(found) == len(done.stdout.splitlines()) - 2
    for row in found:
        words = ("regressed", "unchanged", "improved", "inconclusive")
        assert sum(row.get(word, 0) for word in words) == row["cases"] == 5


def own_import(node: ast.stmt) -> bool:
    """Whether a statement imports something of this project."""
    own = ("benchmarks", "harness", "suites")
    return isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in own


def test_commands_of_a_clone_measure_the_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They measured what was installed, often another checkout, and filed it under the clone's commit."""
    clone = tmp_path / "clone"
    (clone / "harness").mkdir(parents=True)
    (clone / "harness" / "__init__.py").touch()
    shutil.copytree(ROOT / "benchmarks", clone / "benchmarks", ignore=shutil.ignore_patterns("__pycache__", "results"))
    installed, commands = list(sys.path), []
    for file in sorted((clone / "benchmarks").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        body = ast.parse(text).body
        first = next((number for number, node in enumerate(body) if own_import(node)), None)
        if first is None or '__name__ == "__main__"' not in text:
            continue
        # What comes before its first import from the project, with the path that `python benchmarks/...` gives.
        monkeypatch.setattr(sys, "path", [str(file.parent), *installed])
        before = ast.Module(body[:first], type_ignores=[])
        exec(compile(before, file, "exec"), {"__name__": "probed", "__file__": str(file)})
        for package in ("benchmarks", "harness"):
            spec = PathFinder.find_spec(package)
            assert spec is not None
            assert next(iter(spec.submodule_search_locations or ())) == str(clone / package), file.name
        commands.append(file.stem)
    assert {"anchors", "change_points", "detection", "detection_tables", "many_cases", "optimize"} < set(commands)
    assert {"overhead", "page", "results_table", "rival_calls", "simulation"} < set(commands)


def drifting(launches: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A case that moves by 0.75 and 0.25 of what two of three anchors move."""
    random = np.random.default_rng(5)
    anchors = random.normal(0, 0.05, (launches, 3))
    return 2 + anchors @ [0.75, 0.25, 0.0] + random.normal(0, 0.004, launches), anchors


def test_a_fit_finds_the_slope_and_what_stays() -> None:
    anchor = np.random.default_rng(3).normal(0, 0.05, 200)
    found = fit(1 + 0.6 * anchor + np.random.default_rng(4).normal(0, 0.01, 200), anchor)
    assert found.slope == pytest.approx(0.6, abs=0.05)
    assert found.left == pytest.approx(0.01, rel=0.15)
    assert found.left < found.ahead < 1.05 * found.left


def test_what_was_left_out_is_predicted_from_the_others() -> None:
    case, anchors = drifting(8)
    errors = []
    for out in range(8):
        rest = np.arange(8) != out
        slope, constant = np.polyfit(anchors[rest, 0], case[rest], 1)
        errors.append(case[out] - constant - slope * anchors[out, 0])
    assert fit(case, anchors[:, 0]).ahead == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_too_few_launches_and_a_still_anchor_have_no_fit() -> None:
    assert np.isnan(fit(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])).slope)
    assert np.isnan(fit(np.arange(5.0), np.ones(5)).slope)
    assert np.isnan(spread([1.0]))


def test_weights_are_found_and_hold_for_other_launches() -> None:
    case, anchors = drifting()
    weights = best_weights([(case, anchors), (case + 3, anchors)])
    assert weights == pytest.approx([0.75, 0.25, 0.0], abs=0.03)
    assert weights.sum() == pytest.approx(1)
    assert held_out([(case, anchors)]) == pytest.approx([0.004], rel=0.3)
    assert spread(case) > 0.03


def anchor_rows() -> list[dict[str, object]]:
    random, rows = np.random.default_rng(6), []
    for number in range(24):
        slow = float(random.normal(0, 0.02)) + (0.1 if number % 2 else 0)
        luck = float(random.normal(0, 0.001))
        rows.append(
            {
                "part": f"hour {number // 8}",
                "load": "one" if number % 2 else "idle",
                "pressure": 0.9 if number == 0 else 0.01,
                "microseconds": {"model": 100 * np.exp(slow + luck), "good": 50 * np.exp(slow), "still": 50.0},
                "ratios": {"model": {"good": np.log(2) + luck, "still": np.log(2) + slow + luck}},
            }
        )
    return rows


def test_the_tables_of_anchors_rank_them_and_name_disturbed_launches(capsys: pytest.CaptureFixture[str]) -> None:
    rows = anchor_rows()
    assert [load_of(row) for row in rows[:3]] == ["disturbed", "one", "idle"]
    print_tables(rows)
    printed = capsys.readouterr().out
    assert "24 launches in 3 parts: 11 idle, 1 disturbed, 12 one, 0 all" in printed
    idle = printed.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in idle[3:7]] == ["alone", "its", "good", "still"]
    assert float(idle[5].split()[-1]) < 0.2
    assert float(idle[6].split()[-1]) == pytest.approx(1)
    shifts = next(
        part for part in printed.split("\n\n") if part.startswith("mean shift in % from idle to a neighbour on the")
    )
    assert float(shifts.splitlines()[2].split()[1]) == pytest.approx(11, abs=3)
    assert "between the parts' means" in printed


def test_results_are_of_runs_of_one_machine_with_the_same_packages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [a_case("m")]
    run = a_run(results)
    here, page = run.environment, tmp_path / "page.md"
    more = {"hardware": {**here.hardware, "edge": {"limit": 5}}, "software": {**here.software, "openvino": "1"}}
    folders = [
        on_disk(tmp_path, "one", results),
        on_disk(tmp_path, "more", results, environment=dataclasses.replace(here, **more)),
    ]
    assert results_table.main([*folders, str(page)]) == 0
    assert "that of one run's launches" in page.read_text()
    page.unlink()
    moved = {name: {**one, "model": "Other"} for name, one in here.hardware.items()}
    for changes, words in (
        ({"hardware": moved}, "cpu is model Other, not model"),
        ({"software": {"python": "3.13.1"}}, "python is 3.13.1, not 3.11.9"),
    ):
        other = on_disk(tmp_path, "other", results, environment=dataclasses.replace(here, **changes))
        assert results_table.main([folders[0], other, str(page)]) == 2
        assert f"other was not made as one was: {words}" in capsys.readouterr().err
        assert not page.exists()


def test_the_page_of_results_says_what_its_maker_says() -> None:
    assert results_table.HOURS in (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
