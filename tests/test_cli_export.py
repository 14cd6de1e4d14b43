"""`harness export`: the file is what pytest-benchmark would have written, and what reads such files can read it."""

from __future__ import annotations

import csv
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness.cli.main import main
from harness.judge import estimate
from harness.records import Comparison, Launch, Measurement, Outcome, Verdict
from harness.report.pytest_benchmark import summary_of
from harness.report.record import read_run
from tests.cli_runs import a_case, on_disk, without_numbers


def launches(*samples: tuple[float, ...]) -> tuple[Launch, ...]:
    return tuple(Launch("screen", 3, 1.0, None, {"candidate": one}, 1.0, 0.1, 1.0) for one in samples)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A run of two cases with times, one that crashed and one that a disturbed launch was made again for."""
    again = Launch("repeated", 3, 1.0, None, {"candidate": (9.0, 9.0)}, 1.0, 0.1, 1.0)
    run = on_disk(
        tmp_path,
        "run",
        [
            a_case("fast", launches=launches((0.001, 0.002), (0.003, 0.002))),
            a_case("slow", technique="onnxruntime", launches=(*launches((0.5, 0.7, 0.6)), again)),
            without_numbers("gone", Outcome.CRASHED, "it crashed"),
        ],
        comparisons=(Comparison("toys", "slow/reference/cpu", "latency.p50", Verdict.REGRESSED, "slow"),),
    )
    assert main(["export", run]) == 0
    return Path(run) / "pytest-benchmark.json"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_what_stands_in_the_file(exported: Path) -> None:
    data = read(exported)
    fast, slow = data["benchmarks"]
    assert fast["fullname"] == "suites/test_toys.py::test_toys[fast/reference/cpu]"
    assert fast["name"] == "test_toys[fast/reference/cpu]"
    assert fast["stats"]["data"] == [0.001, 0.002, 0.003, 0.002]
    assert fast["stats"]["ops"] == pytest.approx(500)
    assert slow["stats"]["rounds"] == 3, "a launch that was made again is no evidence"
    assert slow["extra_info"]["verdict"] == "regressed"
    assert slow["extra_info"]["accuracy"] == 1.0
    assert data["commit_info"] == data["commit_info"] | {"id": "abc1234", "dirty": False}
    assert data["machine_info"]["cpu"]["brand_raw"] == "Test CPU"
    assert data["datetime"] == "2026-01-01T00:00:00+00:00"


def test_its_shape_is_that_of_the_real_plugin(exported: Path, tmp_path: Path) -> None:
    """Every field that the installed pytest-benchmark writes is there, with a value of the same kind."""
    test = tmp_path / "test_real.py"
    test.write_text("def test_it(benchmark):\n    benchmark.pedantic(sum, args=([1, 2],), rounds=5)\n")
    real = tmp_path / "real.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test), f"--benchmark-json={real}"]
    subprocess.run([*command, "--rootdir", str(tmp_path)], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    theirs, ours = read(real), read(exported)
    assert theirs.keys() <= ours.keys()
    assert theirs["commit_info"].keys() - {"error"} <= ours["commit_info"].keys()
    assert theirs["machine_info"].keys() <= ours["machine_info"].keys()
    (one,) = theirs["benchmarks"]
    other = ours["benchmarks"][0]
    assert one.keys() <= other.keys()
    assert one["stats"].keys() == other["stats"].keys()
    numbers = {name: isinstance(value, (int, float)) for name, value in one["stats"].items()}
    assert numbers == {name: isinstance(value, (int, float)) for name, value in other["stats"].items()}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 51])
def test_the_statistics_are_the_real_plugin_s(count: int) -> None:
    from pytest_benchmark.stats import Stats

    rng = random.Random(count)
    times = [rng.lognormvariate(-7, 0.3) * (8 if rng.random() < 0.1 else 1) for _ in range(count)]
    theirs = Stats()
    for seconds in times:
        theirs.update(seconds)
    ours = summary_of(times)
    for name, value in theirs.as_dict().items():
        assert ours[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-12)), name


def test_pytest_benchmark_compares_it(exported: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    options = ["--group-by", "param:technique", "--columns", "min,median,iqr,ops,rounds", "--csv", str(table)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", str(exported), *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "technique=onnxruntime" in done.stdout
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert {row["name"]: float(row["median"]) for row in rows} == {
        "suites/test_toys.py::test_toys[fast/reference/cpu]": 0.002,
        "suites/test_toys.py::test_toys[slow/reference/cpu]": 0.6,
    }


UNITS = ((1e-6, 1e9, "nsec"), (1e-3, 1e6, "usec"), (1.0, 1e3, "msec"), (math.inf, 1.0, "sec"))
"""How a dashboard writes a mean: below the first of these seconds, times the second, with the third."""


def kept_by_github_action_benchmark(path: Path) -> list[dict[str, Any]]:
    """What that action (tool `pytest`) keeps of a file: calls a second, of which more is better, the rest in words.

    It parses in JavaScript, which takes no NaN, and writes all digits, of which these are six. The commit is not from
    the file: the action takes it from what started the workflow.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    kept = []
    for one in json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)["benchmarks"]:
        stats = one["stats"]
        factor, unit = next((factor, unit) for below, factor, unit in UNITS if stats["mean"] < below)
        words = {
            "range": f"stddev: {stats['stddev']:.6g}",
            "extra": f"mean: {stats['mean'] * factor:.6g} {unit}\nrounds: {stats['rounds']}",
        }
        kept.append({"name": one["fullname"], "value": stats["ops"], "unit": "iter/sec", **words})
    return kept


def test_what_github_action_benchmark_takes_from_it(exported: Path) -> None:
    assert kept_by_github_action_benchmark(exported) == [
        {
            "name": "suites/test_toys.py::test_toys[fast/reference/cpu]",
            "value": pytest.approx(500),
            "unit": "iter/sec",
            "range": "stddev: 0.000816497",
            "extra": "mean: 2 msec\nrounds: 4",
        },
        {
            "name": "suites/test_toys.py::test_toys[slow/reference/cpu]",
            "value": pytest.approx(1 / 0.6),
            "unit": "iter/sec",
            "range": "stddev: 0.1",
            "extra": "mean: 600 msec\nrounds: 3",
        },
    ]


def test_what_dashboards_take_from_it(exported: Path) -> None:
    """The fields that github-action-benchmark (tool `pytest`) and Bencher (`python_pytest`) read, and their types."""
    data = read(exported)
    assert isinstance(data["machine_info"], dict)
    assert isinstance(data["commit_info"], dict)
    for one in data["benchmarks"]:
        assert isinstance(one["fullname"], str)
        for name in ("ops", "stddev", "mean", "median", "iqr"):
            assert isinstance(one["stats"][name], float), name
        assert isinstance(one["stats"]["rounds"], int)
    names = [one["fullname"] for one in data["benchmarks"]]
    assert len(set(names)) == len(names), "a tracker keeps a series for each name"


def test_what_a_test_said_of_itself_is_kept_and_no_metric_is_taken_for_a_verdict(tmp_path: Path) -> None:
    own = (Measurement("launches", estimate((7.0,)), (7.0,)), Measurement("bytes", estimate((3.0,)), (3.0,)))
    facts = {"group": "small", "extra.size": 2000, "extra.bytes": "many", "extra.verdict": "fine"}
    run = on_disk(tmp_path, "run", [a_case("a", facts=facts, measurements=own), a_case("b")])
    assert main(["export", run]) == 0
    said, silent = read(Path(run) / "pytest-benchmark.json")["benchmarks"]
    assert (said["group"], silent["group"]) == ("small", "toys/b/cpu")
    assert said["extra_info"] == {"size": 2000, "bytes": 3.0, "verdict": "measured", "launches": 5}


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("suites/test_sort.py::test_x[std::sort]", "test_x[std::sort]"),
        ("suites/test_sort.py::TestX::test_x[a[std::sort]]", "test_x[a[std::sort]]"),
        ("suites/v[2]/test_sort.py::test_x", "test_x"),
    ],
)
def test_the_name_of_a_test_ends_where_its_parameters_do(tmp_path: Path, nodeid: str, name: str) -> None:
    run = on_disk(tmp_path, "run", [a_case("fast", nodeid=nodeid)])
    assert main(["export", run]) == 0
    (one,) = read(Path(run) / "pytest-benchmark.json")["benchmarks"]
    assert (one["name"], one["fullname"]) == (name, nodeid)


def test_what_has_no_times_is_counted(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["export", str(exported.parent), "--output", "-"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["benchmarks"]
    assert "1 of 3 cases" in said.err
    nothing = on_disk(tmp_path, "nothing", [without_numbers("gone", Outcome.CRASHED, "it crashed")])
    assert main(["export", nothing, "--output", str(tmp_path / "none.json")]) == 2
    assert "no case of this run has times" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()


def test_a_cut_short_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A step of CI was green with a part of the cases."""
    run = on_disk(tmp_path, "run", [a_case("a")], complete=False)
    assert main(["export", run, "--output", "-"]) == 2
    said = capsys.readouterr()
    assert "did not finish" in said.err
    assert json.loads(said.out)["benchmarks"]
    assert main(["export", run, "--output", str(tmp_path / "out.json")]) == 2
    assert "did not finish" in capsys.readouterr().err
    assert read(tmp_path / "out.json")["harness"]["complete"] is False
    assert not read_run(run).complete
