"""`--against`: two trees in turns, each serving its own sources; what is worse in the working tree is red."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.baseline.accept import baseline_of
from harness.judge.against import DEFAULT_SPREAD, compare_against, expected, more_launches, spread_of
from harness.judge.prior import Spread
from harness.metrics import METRICS
from harness.plan import Plan
from harness.records import Comparison, Environment, Estimate, Launch, Measurement, Outcome, Result, Verdict
from harness.settings import Against
from tests.folder import PLAN, Folder

METRICS_BY_NAME = {metric.name: metric for metric in METRICS}


def usual(spread: float) -> Spread:
    """Launches without rounds of their own that spread by this much."""
    return Spread(spread**2 / expected([]), 6.0)


QUIET = usual(0.003)


def a_result(screen: list[float], confirm: list[float]) -> Result:
    """A case whose launches had these relative changes against the other tree."""
    launches = tuple(
        Launch(phase, 20, None, None, {"candidate": (0.01,)}, 1.0, 0.1, 1.0, against=1 + change)
        for phase, changes in (("screen", screen), ("confirm", confirm))
        for change in changes
    )
    values = tuple(0.01 * (1 + change) for change in [*screen, *confirm])
    latency = Measurement("latency.p50", Estimate(0.01, 0.0099, 0.0101, len(values)), values)
    size = Measurement("size", Estimate.exact(1000.0), (1000.0,))
    return Result("s", "m/t/cpu", "s.py::t", "m", "t", "cpu", Outcome.COMPLETED, "", (latency, size), launches)


def compared(result: Result, spread: Spread = QUIET) -> Comparison:
    """What is said of its time."""
    identity = {"kind": "cpu"}
    baseline = baseline_of(result, Environment({"cpu": identity}, {}, {}))
    rows = compare_against(result, result, baseline, METRICS_BY_NAME, identity, spread=spread, against=Against("HEAD"))
    assert {row.metric: row.verdict for row in rows}["size"] is Verdict.UNCHANGED
    (found,) = (row for row in rows if row.metric == "latency.p50")
    assert "at HEAD" in found.reason
    return found


def verdict(result: Result, spread: Spread = QUIET) -> Verdict:
    return compared(result, spread).verdict


@pytest.mark.parametrize(
    ("screen", "confirm", "expected"),
    [
        ([0.001, -0.001, 0.0], [], Verdict.UNCHANGED),
        ([0.03, 0.031, 0.029], [], Verdict.INCONCLUSIVE),  # a screen convicts nobody
        ([0.03, 0.031, 0.029], [0.03, 0.029, 0.031, 0.03, 0.03], Verdict.REGRESSED),
        ([0.03, 0.031, 0.029], [0.0, 0.001, -0.001, 0.0, 0.0], Verdict.UNCHANGED),  # chance in the screen
        ([-0.05, -0.051, -0.049], [], Verdict.IMPROVED),
        ([0.010, 0.011, 0.009], [0.010, 0.011, 0.009, 0.010, 0.010], Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(screen: list[float], confirm: list[float], expected: Verdict) -> None:
    result = a_result(screen, confirm)
    assert verdict(result) is expected
    lots = Plan().lots if not confirm else (len(confirm), 5)
    wanted = more_launches(result.launches, 0.01, QUIET, lots)
    assert wanted == (0 if expected is not Verdict.INCONCLUSIVE else 5)


def test_an_interval_that_begins_just_beyond_the_limit_does_not_read_as_the_limit() -> None:
    """What regressed was said to have changed by [+1.0, +1.6] beside a limit of +1.0 %."""
    slower = [0.01405, 0.01505, 0.01305, 0.01405, 0.01405]
    result = a_result(slower[:3], slower)
    row = compared(result)
    assert row.verdict is Verdict.REGRESSED
    assert row.change is not None
    assert row.change.low == pytest.approx(0.0104, abs=1e-5)
    assert "[+1.0," not in row.reason
    assert "+1.40 % [+1.04, +1.63] in turns; limit +1.00 %; 5 launches." in row.reason


def test_the_spread_is_learnt_from_the_cases_of_the_run() -> None:
    assert spread_of([]) == DEFAULT_SPREAD
    rng = random.Random(1)
    cases = [a_result([rng.gauss(0, 0.004) for _ in range(5)], []) for _ in range(60)]
    assert spread_of(cases).variance == pytest.approx(0.004**2 / expected([]), rel=0.3)


def measured(rng: random.Random, true: float, spread: float, prior: Spread, odd: float = 0.0) -> Result:
    """A case as the engine measures it: launches are added while it is undecided. `odd` is how many lie far out."""

    def change() -> float:
        return rng.gauss(true, spread) + (rng.choice((-0.05, 0.05)) if rng.random() < odd else 0.0)

    screen, confirm = [change() for _ in range(Plan.screen)], []
    while size := more_launches(a_result(screen, confirm).launches, 0.01, prior, Plan().lots):
        confirm += [change() for _ in range(size)]
    return a_result(screen, confirm)


@pytest.mark.parametrize("odd", [0.0, 0.1])
@pytest.mark.parametrize("true", [0.0, 0.01])
def test_looking_four_times_convicts_at_most_one_case_in_a_hundred(true: float, odd: float) -> None:
    """At no change and exactly at the tolerance; launches spread by 0.5 %, and some lie 5 % off."""
    rng = random.Random(2)
    prior = usual(0.005)
    found = [verdict(measured(rng, true, 0.005, prior, odd), prior) for _ in range(1000)]
    # Ten are expected at the tolerance itself; 19 have a chance of less than one percent.
    assert found.count(Verdict.REGRESSED) <= (18 if true else 0)
    if not true:
        assert found.count(Verdict.UNCHANGED) > (700 if odd else 990)


def test_a_change_of_two_and_a_half_percent_is_found() -> None:
    rng = random.Random(3)
    found = [verdict(measured(rng, 0.025, 0.01, DEFAULT_SPREAD), DEFAULT_SPREAD) for _ in range(300)]
    assert found.count(Verdict.REGRESSED) > 285
    assert Verdict.UNCHANGED not in found


def test_a_suite_of_a_hundred_cases_is_one_decision() -> None:
    """No alarm in 25 runs of 100 cases, without a change and with half the tolerance in every case."""
    rng = random.Random(4)
    for true in (0.0, 0.005):
        results = (measured(rng, true, 0.005, DEFAULT_SPREAD) for _ in range(2500))
        assert sum(verdict(result, DEFAULT_SPREAD) is Verdict.REGRESSED for result in results) == 0


SUITE = """
from suites.own import slowed


@grid(model=[tiny], technique=[batched(64), slowed | batched(64)], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""
FAST = ("--plan", "seconds=0.3", "--against-tolerance", "0.05")


@pytest.fixture
def project(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "project")
    folder.slow_down(0)
    folder.suite("test_pair", SUITE)
    folder.commit("start")
    return folder


@pytest.mark.alone
def test_a_slower_working_tree_is_red_and_the_untouched_case_is_not(project: Folder) -> None:
    project.slow_down(8)
    short = ("--plan", "screen=2", "--plan", "repeats=0", "--plan", "seconds=0.2", "--against-tolerance", "0.05")
    code, text = project.pytest("suites", "--against", "HEAD", *short)
    assert code == 1, text
    assert {c["metric"] for c in project.run()["comparisons"]} >= {"latency.p50", "accuracy", "size", "memory.peak"}
    verdicts = {(c["case_id"], c["metric"]): c["verdict"] for c in project.run()["comparisons"]}
    assert verdicts["tiny_onnx/slowed+batched:64/cpu", "latency.p50"] == "regressed"
    assert verdicts["tiny_onnx/batched:64/cpu", "latency.p50"] != "regressed"
    assert verdicts["tiny_onnx/slowed+batched:64/cpu", "size"] == "regressed"
    assert "in turns; limit +5.0 %" in text
    assert "--against HEAD --against-tolerance 0.05" in text
    assert "harness accept" not in text
    result = project.result("tiny_onnx/slowed+batched:64/cpu")
    assert all(set(launch["samples"]) == {"candidate", "previous"} for launch in result["launches"])


LIMITED = """
from harness.metrics import METRICS

THROUGHPUT = next(metric for metric in METRICS if metric.name == "throughput").with_tolerance(0.1)


@grid(model=[tiny], technique=[reference], hardware=[cpu], metrics=[THROUGHPUT])
def test_it(case, bench):
    bench(case)
"""


def test_a_damaged_baseline_keeps_no_case_from_being_measured(project: Folder) -> None:
    """Nor does a limit that turns can't hold, of which its case has a warning."""
    project.suite("test_pair", LIMITED)
    damaged = project.path / "baselines" / "pair" / "gone.12345678" / "portable.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("<<<<<<< ours\n{}\n")
    for options in (("--against", ".", "--plan", "confirm=1"), ()):
        code, text = project.pytest("suites", *PLAN, *options)
        assert code == 1, text
        assert "gone.12345678/portable.json: holds git conflict markers" in text
        assert project.result("tiny_onnx/reference/cpu")["outcome"] == "completed"
        assert "error" in {c["verdict"] for c in project.run()["comparisons"]}
        if options:
            (warning,) = (one for one in project.result("tiny_onnx/reference/cpu")["warnings"] if "limits" in one)
            assert "throughput" in warning
            assert "throughput" not in {c["metric"] for c in project.run()["comparisons"]}, text
    code, text = project.pytest("suites", "-k", "no_such_case", *PLAN)
    assert code == 5, text


def test_what_can_not_be_measured_here_any_more_is_missing(project: Folder) -> None:
    skipped = SUITE.replace("test_it", "test_skipped").replace("batched(64), ", "").replace("64", "32")
    project.suite("test_pair", SUITE + skipped)
    code, text = project.pytest("suites", "--baseline=update", "--reason", "first", *PLAN)
    assert code == 0, text
    project.commit("baselines")
    skipped = skipped.replace("    bench(case)", "    pytest.skip()")
    project.suite("test_pair", SUITE.replace("batched(64), slowed", "slowed") + skipped)
    unavailable = "from harness.errors import UnavailableError\n    raise UnavailableError('no such thing here')\n"
    own = project.path / "suites" / "own.py"
    own.write_text(own.read_text().replace("import numpy as np\n", unavailable))
    code, text = project.pytest("suites", "--against", "HEAD", *FAST)
    assert code == 1, text
    verdicts = {(c["case_id"], c["metric"]): c["verdict"] for c in project.run()["comparisons"]}
    assert verdicts == {
        ("tiny_onnx/batched:64/cpu", "case"): "missing",
        ("tiny_onnx/slowed+batched:64/cpu", "case"): "missing",
        ("tiny_onnx/slowed+batched:32/cpu", "case"): "missing",
    }
    for path in (project.path / "baselines").rglob("*.json"):
        path.unlink()
    project.slow_down(0)
    project.commit("no baselines")
    own.write_text(own.read_text().replace("import numpy as np\n", unavailable))
    code, text = project.pytest("suites", "--against", "HEAD", *FAST)
    assert code == 1, text
    verdicts = {c["case_id"]: c["verdict"] for c in project.run()["comparisons"]}
    assert verdicts["tiny_onnx/slowed+batched:64/cpu"] == "missing"
    assert verdicts["tiny_onnx/slowed+batched:32/cpu"] == "skipped", "nothing says that it was there before"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--against", "no-such-branch"), "no-such-branch"),
        (("--against", "HEAD", "--against-python", "/no/such/python"), "can't be run as the other arm's Python"),
    ],
)
def test_what_makes_no_sense_is_said(project: Folder, arguments: tuple[str, ...], words: str) -> None:
    code, text = project.pytest("suites", *arguments)
    assert code != 0
    assert words in text
