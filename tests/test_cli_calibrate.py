"""`harness calibrate`: which runs it makes, what it says of them, and that a tolerance too small is refused."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.baseline.records import machine_class
from harness.baseline.store import Store
from harness.cli.main import main
from harness.judge import estimate
from harness.metrics import Metric, resolve
from harness.plan import Plan
from harness.records import Comparison, Measurement, Outcome, Result, Run, Verdict
from tests.cli_runs import IDENTITY, a_case, a_run, without_numbers
from tests.folder import Folder
from tests.judge_samples import a_block, some_times
from tests.test_judge_calibration import runs_of

STEADY = {"launch": 0.004, "hour": 0.002, "in_turns": 0.003}
RESTLESS = {"launch": 0.01, "hour": 0.03, "in_turns": 0.012}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The options of each run that was asked for."""
    monkeypatch.chdir(tmp_path)
    return []


def prepare(
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    spreads: dict[str, float],
    rows: Sequence[Comparison] = (),
    more: Sequence[Result] = (),
    own: Sequence[tuple[Metric, Sequence[float]]] = (),
) -> None:
    """Let pytest find six cases with these spreads, the first run with these rows, and all with these results more.

    `own` are metrics of the suite, each with what every one of its cases has measured.
    """
    paired, alone = runs_of(random.Random(1), cases=6, **spreads)
    metrics = tuple(metric.record() for metric in resolve(metric for metric, _ in own).values())
    measured = tuple(Measurement(metric.name, estimate(values), tuple(values)) for metric, values in own)

    def full(run: Run) -> Run:
        results = (dataclasses.replace(one, measurements=(*one.measurements, *measured)) for one in run.results)
        return dataclasses.replace(run, results=(*results, *more), metrics=metrics)

    paired, alone = ([full(run) for run in runs] for runs in (paired, alone))
    paired[0] = dataclasses.replace(paired[0], comparisons=tuple(rows))

    def run(arguments: Sequence[str], reports: Path) -> Run:
        given.append(" ".join(arguments))
        return (paired if "--against" in arguments else alone).pop(0)

    monkeypatch.setattr("harness.cli.calibrate.measured", run)


def test_both_kinds_of_runs_are_made_by_turns(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(monkeypatch, given, STEADY)
    assert main(["calibrate", "a", "b", "-k", "int8", "--runs", "2", "--plan", "seconds=1", "--tolerance", "0.02"]) == 0
    rest = "-k int8 --plan seconds=1"
    assert given == [f"a b --against . --against-tolerance 0.02 {rest}", f"a b --baseline=off {rest}"] * 2
    printed = capsys.readouterr()
    assert "run 4 of 4, alone: 6 cases in" in printed.err
    rows = [line for line in printed.out.splitlines() if "against another tree" in line]
    assert len(rows) == 6
    assert all(" 2.0 % " in row for row in rows)
    assert "refused" not in printed.out
    assert "memory.peak repeats within" in printed.out


def test_a_tolerance_that_is_too_small_is_refused_by_name_with_the_plan_that_holds_it(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(monkeypatch, given, RESTLESS)
    assert main(["calibrate"]) == 1
    assert len(given) == 6
    refused = [line for line in capsys.readouterr().out.splitlines() if line.startswith("refused: toys/c0/")]
    in_turns, speedup = (next(line for line in refused if name in line) for name in ("another tree", "speedup"))
    assert "a tolerance of 1.0 % is less than the 1" in in_turns
    assert "it needs --plan confirm=" in in_turns
    assert "no plan holds it, since runs are taken to differ by" in speedup
    assert "the next that holds is" in speedup


def test_that_both_arms_were_one_artefact_is_said(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate of false alarms was told as if arms of another commit were the same files too."""
    prepare(monkeypatch, given, STEADY)
    main(["calibrate", "--runs", "1"])
    assert "Every run had one and the same artefact of a case, in both arms." in capsys.readouterr().out


def test_json(given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(monkeypatch, given, RESTLESS)
    assert main(["calibrate", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["exit"] == 1
    assert len(found["refused"]) > 6
    first = found["calibration"]["cases"][0]["quantities"][0]
    assert first["ratio"] == "against"
    assert first["tolerance"] < first["detectable"]
    assert first["plan"]["confirm"] > found["calibration"]["plan"]["confirm"]


def a_verdict(metric: str) -> Comparison:
    return Comparison("toys", "c0/reference/cpu", metric, Verdict.REGRESSED, "3 % slower.")


def test_a_rate_of_false_alarms_is_told_of_verdicts_on_time_alone(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(monkeypatch, given, STEADY, [a_verdict(metric) for metric in ("latency.p50", "size", "parameters")])
    main(["calibrate"])
    lines = capsys.readouterr().out.splitlines()
    times, others = (next(line for line in lines if f"verdicts on {what}" in line) for what in ("time", "everything"))
    assert "1, of which 1 false alarm (a rate of at most 100 %, with 95 % confidence), 0 unchanged" in times
    assert others == (
        "verdicts on everything else: 2, of which 2 false alarms, 0 unchanged, 0 improved, 0 inconclusive"
    )


@pytest.mark.parametrize(
    ("rows", "failing", "code"),
    [
        ([a_verdict("latency.p50")], [], 1),
        ([a_verdict("accuracy")], [], 0),
        ([], [without_numbers("c9", Outcome.FAILED, "no such file")], 2),
        ([a_verdict("latency.p50")], [without_numbers("c9", Outcome.TIMEOUT, "too long")], 2),
        ([], [without_numbers("c9", Outcome.UNAVAILABLE, "no GPU")], 0),
    ],
)
def test_a_false_alarm_on_time_and_a_case_that_failed_have_a_code(
    rows: list[Comparison],
    failing: list[Result],
    code: int,
    given: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(monkeypatch, given, STEADY, rows, failing)
    assert main(["calibrate", "--tolerance", "0.02"]) == code
    printed = capsys.readouterr().out
    assert ("not measured: c9/reference/cpu: " in printed) == (code == 2)


def test_a_damaged_baseline_does_not_cost_the_runs(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("baselines/toys/c0")
    folder.mkdir(parents=True)
    (folder / f"times.{machine_class(IDENTITY)}.json").write_text("{}", encoding="utf-8")
    prepare(monkeypatch, given, STEADY)
    assert main(["calibrate", "--tolerance", "0.02"]) == 0
    assert "learnt from these runs alone, since a baseline is bad: baselines/toys/c0" in capsys.readouterr().out


@pytest.mark.parametrize(("several", "known"), [(0, False), (4, False), (6, True)])
def test_where_baselines_have_one_block_each_another_is_what_tells_how_runs_differ(
    several: int, known: bool, given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said that there were fewer than 5 cases or baselines, and to calibrate the whole suite, which did not help."""
    store = Store(Path("baselines"))
    for number in range(6):
        blocks = [
            a_block(
                {"latency.p50": (0.01, 0.0101), "speedup": (level, 1.01 * level)},
                {"latency.p50": (level, 1.01 * level)},
            )
            for level in ((2.0, 2.01) if number < several else (2.0,))
        ]
        case = f"c{number}/reference/cpu"
        store.write(some_times(blocks, suite="toys", case_id=case, identity=IDENTITY))
    prepare(monkeypatch, given, STEADY)
    assert main(["calibrate", "--tolerance", "0.02"]) == (0 if known else 1)
    printed = capsys.readouterr().out
    assert "fewer than 5" not in printed
    told = f"6 committed baselines of cpu are there, {several} of them with two blocks or more, where 5 tell how runs"
    assert (told in printed) is not known
    assert ("add another block at another hour with pytest --baseline=update" in printed) is not known
    refused = [line for line in printed.splitlines() if line.startswith("refused: ")]
    assert len(refused) == (0 if known else 6)
    assert all("speedup: " in line and " as long as too few baselines have two blocks" in line for line in refused)


def test_a_limit_that_is_not_looked_at_is_named(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a tolerance of 2 % on p99 it said with 0 that all can be held, and every later run was inconclusive."""
    built_in, launches = resolve(), (0.010, 0.012, 0.011, 0.010)
    own: list[tuple[Metric, Sequence[float]]] = [
        (built_in["latency.p99"].with_tolerance(0.02), launches),
        (Metric("tokens", "items/s", "higher", tolerance=0.05), launches),
        (built_in["energy.per_call"].with_tolerance(0.02), (0.5,)),
        (built_in["latency.p90"], launches),  # without a limit
        (Metric("perplexity", "nats", "lower", tolerance=0.05), (3.0,)),  # one value for all launches repeats exactly
        (Metric("recall", "share", "higher", slack=0.01, portable=True), (0.9,)),
    ]
    prepare(monkeypatch, given, STEADY, own=own)
    assert main(["calibrate", "--tolerance", "0.02"]) == 0
    (energy, p99, tokens) = (line for line in capsys.readouterr().out.splitlines() if "not looked at" in line)
    assert energy.startswith("limits on energy.per_call were not looked at (in toys), since only")
    assert energy.endswith("and where a verdict is red give a wider limit")
    assert p99.startswith(
        "limits on latency.p99 were not looked at (in toys), since only time in turns, latency.p50 and "
    )
    assert p99.endswith(
        "accept a baseline, run the suites again without a change, and where a verdict is inconclusive "
        "do what it says, or give a wider limit"
    )
    assert tokens.startswith("limits on tokens were not looked at")
    prepare(monkeypatch, given, STEADY, own=own)
    assert main(["calibrate", "--tolerance", "0.02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [energy, p99, tokens]
    prepare(monkeypatch, given, STEADY)
    assert main(["calibrate", "--tolerance", "0.02"]) == 0
    assert "not looked at" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (None, "did not come to its end"),
        (a_run([], complete=False), "did not come to its end"),
        (a_run([without_numbers("a", Outcome.UNAVAILABLE, "no GPU")]), "measured no case: no GPU"),
        (a_run([]), "measured no case: none was selected"),
        (a_run([a_case("a")], plan=Plan(confirm=0).record()), "give --plan confirm=N above 0"),
    ],
)
def test_what_can_not_be_read_is_an_error(
    run: Run | None,
    words: str,
    given: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("harness.cli.calibrate.measured", lambda arguments, reports: run)
    assert main(["calibrate", "--runs", "1"]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.alone
def test_a_real_suite_is_calibrated(tmp_path: Path) -> None:
    project = Folder(tmp_path / "project")
    project.suite(
        "test_tiny",
        "@grid(model=[tiny], technique=[batched(64)], hardware=[cpu])\ndef test_it(case, bench):\n    bench(case)\n",
    )
    plan = ["--plan", "screen=2", "--plan", "confirm=4", "--plan", "seconds=0.2"]
    command = [
        sys.executable,
        "-m",
        "harness.cli.main",
        "calibrate",
        "--json",
        "--runs",
        "1",
        "--tolerance",
        "0.2",
        *plan,
    ]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)["calibration"]
    assert found["times"]["verdicts"] == 1
    assert found["times"]["false"] == []
    (case,) = found["cases"]
    assert case["memory"] < 0.05
    quantities = {one["ratio"]: one for one in case["quantities"]}
    assert quantities.keys() == {"against", "anchored", "speedup"}
    for one in quantities.values():
        assert one["launches"] > 0
        assert one["within"] > 0
        assert 0 < one["detectable"] < one["found"]
