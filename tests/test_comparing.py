"""What a session compares with: judged once where that is enough, and never otherwise than the judge does."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import amending, comparing
from harness.amending import as_said, of_commit, with_home, with_launches
from harness.baseline.compare import compare_with_baseline
from harness.baseline.records import Baseline, machine_class
from harness.baseline.store import Store
from harness.cli.judging import compare_runs
from harness.comparing import WithBaselines, WithTree, not_in_turns
from harness.errors import BaselineError
from harness.judge import compare, fresh_launches
from harness.judge.against import spread_of
from harness.judge.prior import Spread, pooled
from harness.measure.passes import OF_OTHER_DATA, OF_OTHER_INPUTS
from harness.measure.tree import Tree
from harness.metrics import Metric, resolve
from harness.plan import Plan
from harness.records import Comparison, Evidence, Outcome, Result, Verdict
from harness.review import Acceptor
from harness.settings import Against
from harness.timed_test import TECHNIQUE
from tests.cli_runs import a_run
from tests.judge_samples import (
    CASE,
    ELSEWHERE,
    ENVIRONMENT,
    IDENTITY,
    METRICS,
    NODEID,
    WORKLOAD,
    a_block,
    a_portable,
    a_result,
    scores,
    some_times,
)

SCREENS = {
    "unchanged": {"speedup": (2.0, 2.001, 2.002), "size": (4.0,)},
    "slower": {"speedup": (1.5, 1.501, 1.502), "size": (4.0,)},
    "doubtful": {"speedup": (1.7, 2.0, 2.1), "size": (4.0,)},
    "larger, which no launch settles": {"speedup": (2.0, 2.001, 2.002), "size": (8.0,)},
    "incomplete": {"size": (4.0,)},
}


@pytest.fixture
def with_baselines(tmp_path: Path) -> WithBaselines:
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0}))
    store.write(some_times([a_block({"speedup": [2.0, 2.001, 2.002]}), a_block({"speedup": [2.001, 2.003, 1.999]})]))
    return WithBaselines(store, ENVIRONMENT, Plan())


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """The results that were judged."""
    found: list[Result] = []

    def counted(result: Result, *rest):
        found.append(result)
        return compare_with_baseline(result, *rest)

    monkeypatch.setattr(comparing, "compare_with_baseline", counted)
    return found


@pytest.mark.parametrize("name", SCREENS)
def test_as_many_launches_are_wanted_as_the_judge_wants(with_baselines: WithBaselines, name: str) -> None:
    result = a_result(SCREENS[name])
    baseline, prior = with_baselines.baseline("digits", CASE, "cpu"), with_baselines.prior("cpu")
    wanted = with_baselines.more(result, METRICS)
    assert wanted == fresh_launches(result, baseline, METRICS, prior, 16)
    assert bool(wanted) is (name in ("slower", "doubtful"))
    assert with_baselines.compare(result, None, METRICS) == compare(result, baseline, METRICS, prior, IDENTITY)


def test_what_its_screen_decides_is_judged_once(with_baselines: WithBaselines, judged: list[Result]) -> None:
    result = a_result(SCREENS["unchanged"])
    assert with_baselines.more(result, METRICS) == 0
    thinner = tuple(dataclasses.replace(launch, samples={}) for launch in result.launches)
    ended = dataclasses.replace(result, launches=thinner, seconds={"sample": 3.0}, warnings=("warm",))
    rows = with_baselines.compare(ended, None, METRICS)
    assert {row.verdict for row in rows} == {Verdict.UNCHANGED}
    assert len(judged) == 1


def test_what_was_judged_is_known_again_without_a_copy_of_it(
    with_baselines: WithBaselines, judged: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of each launch and of the result was made twice a case, to look whether they had been judged."""
    result = a_result(SCREENS["unchanged"])
    with_baselines.more(result, METRICS)
    with monkeypatch.context() as patched:  # pytest's report of a failure makes copies of its own
        patched.setattr(dataclasses, "replace", lambda *_, **__: pytest.fail("it was copied"))
        again = with_baselines.more(result, METRICS)
    assert again == 0
    assert len(judged) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"measurements": a_result(SCREENS["slower"]).measurements},
        {"launches": a_result(SCREENS["slower"], confirm=2).launches},
        {"launches": tuple(dataclasses.replace(one, disturbed=0.5) for one in a_result(SCREENS["unchanged"]).launches)},
        {"workload": {"inputs": "others"}},
        {"cut_short": True},
        {"case_id": "digits/another/cpu"},
    ],
)
def test_what_changed_since_is_judged_anew(with_baselines: WithBaselines, judged: list[Result], change: dict) -> None:
    result = a_result(SCREENS["unchanged"])
    with_baselines.more(result, METRICS)
    changed = dataclasses.replace(result, **change)
    baseline = with_baselines.baseline(changed.suite, changed.case_id, "cpu")
    rows = with_baselines.compare(changed, None, METRICS)
    assert len(judged) == 2
    assert rows == compare(changed, baseline, METRICS, with_baselines.prior("cpu"), IDENTITY)


def with_tree(**changes: object) -> WithTree:
    return WithTree(Against("HEAD", **changes), Tree(Path()), {}, ENVIRONMENT, Plan())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("place", "said"), [(f"trees/{'ab' * 20}/data/x.npy", True), ("elsewhere/x.npy", False)], ids=["in it", "elsewhere"]
)
def test_a_file_that_a_checkout_lacks_may_be_one_that_git_ignores(place: str, said: bool) -> None:
    tree = Tree(Path(f"trees/{'ab' * 20}"), revision="ab" * 20)
    now = in_turns({"size": (4.0,)})
    reason = f"FileNotFoundError: [Errno 2] No such file or directory: '{place}'"
    previous = dataclasses.replace(now, outcome=Outcome.FAILED, reason=reason)
    (row,) = WithTree(Against("HEAD"), tree, {}, ENVIRONMENT, Plan()).compare(now, previous, METRICS)
    assert row.verdict is Verdict.INCOMPARABLE
    assert ("HARNESS_DATA" in row.reason) is said


def in_turns(values: dict[str, tuple[float, ...]], **changes: object) -> Result:
    """A case that took turns with itself, and was confirmed to take as long."""
    result = a_result({"latency.p50": (0.01,) * 8, **values}, confirm=5, **changes)
    launches = tuple(dataclasses.replace(one, anchored=None, against=1.0) for one in result.launches)
    return dataclasses.replace(result, launches=launches)


def verdicts(rows: tuple[Comparison, ...]) -> dict[str, Verdict]:
    return {row.metric: row.verdict for row in rows}


def test_each_case_in_turns_is_looked_at_once_for_the_spread_of_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at a case went through all before it: ten thousand cases took more than forty minutes for that."""
    plain = in_turns({"size": (4.0,)})
    cases = [
        dataclasses.replace(
            plain,
            launches=tuple(
                dataclasses.replace(one, against=1 + 0.001 * (case * turn % 7), within={"against": 0.001 * (case % 3)})
                for turn, one in enumerate(plain.launches)
            ),
        )
        for case in range(20)
    ]
    looks, spreads, judge = [], [], with_tree()

    def looked(groups: Sequence[Sequence[float]]) -> Spread:
        looks.append(groups)
        return pooled(groups)

    def asked(_launches: object, _tolerance: float, spread: Spread, _lots: object) -> int:
        spreads.append(spread)
        return 0

    monkeypatch.setattr("harness.judge.against.pooled", looked)
    monkeypatch.setattr(comparing, "more_launches", asked)
    for case in cases:
        for _ in "123":
            judge.more(case, METRICS)
        judge.compare(case, case, METRICS)
    assert len(looks) == len(cases)
    assert spreads == [spread for count in range(20) for spread in [spread_of(cases[:count])] * 3]


def test_times_of_other_work_are_not_compared_in_turns() -> None:
    now = in_turns({"size": (4.0,)})
    before = dataclasses.replace(now, workload={**now.workload, "inputs": "longer"})
    rows = with_tree().compare(now, before, METRICS)
    assert verdicts(rows) == {"latency.p50": Verdict.INCOMPARABLE, "size": Verdict.UNCHANGED}
    assert "inputs differ from those at HEAD" in rows[0].reason
    assert rows[0].change is None
    assert verdicts(with_tree().compare(now, now, METRICS))["latency.p50"] is Verdict.UNCHANGED


OF_BOTH = {"size": (4.0,), "accuracy": (0.5,)}
OTHERS = dataclasses.replace(METRICS["size"], name="own")
MORE = {**METRICS, "own": OTHERS}


@pytest.mark.parametrize(
    ("now", "before", "metrics", "reason"),
    [
        (
            in_turns(OF_BOTH),
            in_turns(OF_BOTH, workload={**WORKLOAD, "evaluation": "3333"}),
            METRICS,
            "accuracy: the workload's evaluation changed between the two trees, so the two answer different questions.",
        ),
        (
            in_turns({**OF_BOTH, "own": (1.0,)}),
            in_turns(OF_BOTH),
            MORE,
            "own: no such value was measured of the other tree.",
        ),
        (
            in_turns(OF_BOTH),
            in_turns({**OF_BOTH, "own": (1.0,)}),
            MORE,
            "own: the other tree has a value, and this one has none.",
        ),
        (
            in_turns(OF_BOTH, scores=scores("1100")),
            in_turns(OF_BOTH, scores=scores("10")),
            METRICS,
            "accuracy: the answers can't be paired with the other tree's: 4 examples now and 2 in the other tree.",
        ),
        (in_turns(OF_BOTH), None, METRICS, f"{CASE} has nothing in the other tree to be compared with."),
    ],
)
def test_what_took_turns_is_told_of_no_baseline_and_of_nothing_to_accept(
    now: Result, before: Result | None, metrics: dict[str, Metric], reason: str
) -> None:
    """The sentences are the judge's, which speaks to those who have a baseline."""
    reasons = [row.reason for row in with_tree().compare(now, before, metrics)]
    assert reason in reasons
    assert not any("baseline" in one or "harness accept" in one for one in reasons)


def test_a_metric_in_another_unit_is_not_compared_in_turns() -> None:
    """80 in per cent beside 0.93 as a share was an improvement."""
    metrics = {**METRICS, "value": Metric("value", "%", "higher", tolerance=0.1, portable=True)}
    now = in_turns({"size": (4.0,), "value": (80.0,)})
    before = in_turns({"size": (4.0,), "value": (0.93,)}, facts={"unit.value": "share"})
    rows = {row.metric: row for row in with_tree().compare(now, before, metrics)}
    assert (rows["value"].verdict, rows["value"].baseline) == (Verdict.INCOMPARABLE, None)
    said = "value: it is in '%' now, and the other tree's is in 'share', so that the two can't be compared."
    assert rows["value"].reason == said
    assert rows["size"].verdict is Verdict.UNCHANGED
    alike = dataclasses.replace(before, facts={"unit.value": "%"})
    assert verdicts(with_tree().compare(now, alike, metrics))["value"] is Verdict.IMPROVED


@pytest.mark.parametrize("accuracy", [METRICS["accuracy"], METRICS["accuracy"].with_tolerance()], ids=["held", "free"])
def test_what_an_evaluation_tells_of_other_data_is_not_compared_in_turns(accuracy: Metric) -> None:
    """It was worse, or unchanged, beside an accuracy that was not compared, be it held to a limit or not."""
    metrics = {**METRICS, "accuracy": accuracy, "wer": Metric("wer", "share", "lower", tolerance=0.05)}
    now = in_turns({"accuracy": (0.5,), "wer": (0.2,)})
    before = in_turns({"accuracy": (0.5,), "wer": (0.1,)}, workload={**WORKLOAD, "evaluation": "3333"})
    rows = {row.metric: row for row in with_tree().compare(now, before, metrics)}
    assert (rows["wer"].verdict, rows["wer"].baseline) == (Verdict.INCOMPARABLE, None)
    said = "wer: the workload's evaluation changed between the two trees, so the two answer different questions."
    assert rows["wer"].reason == said
    alike = dataclasses.replace(before, workload=now.workload)
    assert verdicts(with_tree().compare(now, alike, metrics))["wer"] is Verdict.REGRESSED


def test_a_limit_that_turns_can_not_hold_is_told_and_fails_nothing() -> None:
    p99 = METRICS["latency.p99"].with_tolerance(0.1)
    own = Metric("lag", "s", "lower", tolerance=0.1, derive=lambda values: values["latency.p50"])
    gain = Metric("gain", "x", "higher", tolerance=0.1, derive=lambda values: values["speedup"])  # has no value here
    busy = METRICS["utilization.cpu"].with_tolerance(0.1)
    idle = METRICS["utilization.gpu"].with_tolerance(0.1)
    # Of an evaluation, whatever it is called.
    codes = Metric("utilization.codes", "share", "higher", slack=0.1, portable=True)
    onset = Metric("latency.onset", "ms", "lower", slack=1, portable=True)
    of_launches = {"latency.p99": 0.02, "lag": 0.01, "utilization.cpu": 0.9, "utilization.gpu": 0.4}
    evaluated = {"size": (4.0,), "utilization.codes": (0.9,), "latency.onset": (20.0,)}
    now = in_turns({**evaluated, **{name: (value,) * 8 for name, value in of_launches.items()}})
    assert not_in_turns(now, METRICS) == ()
    limited = {**METRICS, **{one.name: one for one in (p99, own, gain, busy, idle, codes, onset)}}
    (warning,) = not_in_turns(now, limited)
    assert "latency.p99, utilization.cpu, utilization.gpu, lag, gain hold" in warning
    before = in_turns(evaluated)  # of the other tree launches keep the latency alone
    found = verdicts(with_tree().compare(now, before, limited))
    assert found == dict.fromkeys(("latency.p50", "size", "utilization.codes", "latency.onset"), Verdict.UNCHANGED)
    later = in_turns({**evaluated, "latency.onset": (40.0,)})
    assert verdicts(with_tree().compare(later, before, limited)) == {**found, "latency.onset": Verdict.REGRESSED}
    timed = dataclasses.replace(in_turns({}), technique=TECHNIQUE)  # which has no metrics of a suite's own
    assert not_in_turns(timed, limited) == ()


def test_time_is_judged_where_nothing_else_has_a_limit() -> None:
    metrics = {name: dataclasses.replace(one, tolerance=None, slack=None) for name, one in METRICS.items()}
    now = in_turns({"size": (4.0,)})
    assert verdicts(with_tree().compare(now, now, metrics)) == {"latency.p50": Verdict.UNCHANGED}
    broken = dataclasses.replace(now, evidence=(Evidence("int8", "quantized", "nothing", kept=False),))
    assert verdicts(with_tree().compare(broken, now, metrics)) == {"case": Verdict.INVALID}


@pytest.mark.parametrize(
    ("outcome", "arm", "expected"),
    [
        (Outcome.CRASHED, {}, Verdict.INCOMPARABLE),
        (Outcome.CRASHED, {"packages": ("onnxruntime==1.0",)}, Verdict.ERROR),
        (Outcome.UNAVAILABLE, {"python": "python3.12"}, Verdict.ERROR),
        (Outcome.ABSENT, {"packages": ("onnxruntime==1.0",)}, Verdict.INCOMPARABLE),
    ],
)
def test_an_arm_that_can_not_run_is_an_error_and_an_absent_case_is_not(
    outcome: Outcome, arm: dict, expected: Verdict
) -> None:
    now = in_turns({"size": (4.0,)})
    before = dataclasses.replace(now, outcome=outcome, reason="it did not import")
    (row,) = with_tree(**arm).compare(now, before, METRICS)
    assert row.verdict is expected
    assert f"it is {outcome}: it did not import" in row.reason


def test_what_had_no_time_left_is_told_so() -> None:
    now = in_turns({"size": (4.0,)})
    screen = dataclasses.replace(now, launches=tuple(dataclasses.replace(now.launches[0], against=1.5) for _ in "123"))
    for cut_short in (True, False):
        row, *_ = with_tree().compare(dataclasses.replace(screen, cut_short=cut_short), now, METRICS)
        assert row.verdict is Verdict.INCONCLUSIVE
        assert ("--budget" in row.reason) is cut_short


def test_no_password_of_a_package_is_in_what_is_kept() -> None:
    packages = ("mine @ git+https://user:SECRET@host/x@v1", "other @ https://SECRET@host/y.whl")
    now = in_turns({"size": (4.0,)})
    screen = dataclasses.replace(now, launches=tuple(dataclasses.replace(now.launches[0], against=1.5) for _ in "123"))
    others = dataclasses.replace(now, workload={**now.workload, "inputs": "longer"})
    failed = dataclasses.replace(now, outcome=Outcome.FAILED, reason="it did not import")
    judge = with_tree(packages=packages)
    undecided, *_ = judge.compare(screen, now, METRICS)
    assert undecided.verdict is Verdict.INCONCLUSIVE
    assert "--against-with 'mine @ git+https://***@host/x@v1'" in undecided.reason
    rows = [undecided, *judge.compare(now, others, METRICS), *judge.compare(now, failed, METRICS)]
    assert sum("at HEAD with mine @ git+https://***@host/x@v1" in row.reason for row in rows) == 3
    assert "with other @ https://***@host/y.whl" in str(judge.origins)
    assert "SECRET" not in f"{[row.reason for row in rows]} {judge.origins}"


def taking(seconds: float, result: Result) -> Result:
    """A result whose launches took so long each."""
    launches = tuple(dataclasses.replace(launch, wall_seconds=seconds) for launch in result.launches)
    return dataclasses.replace(result, launches=launches)


@pytest.mark.parametrize(
    ("seconds", "made", "cure"),
    [
        (31.0, 5, "--plan budget=600"),
        (31.0, 4, "a longer --budget"),
        (10.0, 5, "a longer --budget"),
        (31.0, 16, None),
    ],
    ids=["its own", "its own leaves five", "the run's", "there were all"],
)
def test_what_had_too_little_time_is_told_whose_it_was(
    with_baselines: WithBaselines, seconds: float, made: int, cure: str | None
) -> None:
    doubtful = (1.4, 2.0, 2.4)
    assert with_baselines.more(a_result({"speedup": doubtful, "size": (4.0,)}), METRICS) == 16
    result = a_result({"speedup": (doubtful * 7)[: 3 + made], "size": (4.0,)}, confirm=made)
    rows = with_baselines.compare(taking(seconds, result), None, METRICS)
    turns = tuple(
        dataclasses.replace(launch, anchored=None, against=ratio)
        for launch, ratio in zip(result.launches, (0.9, 1.0, 1.1) * 7, strict=False)
    )
    now = dataclasses.replace(
        result, measurements=in_turns({"size": (4.0,)}).measurements, launches=turns, cut_short=cure is not None
    )
    in_tree = with_tree().compare(taking(seconds, now), now, METRICS)
    for row in (*(row for row in rows if row.metric == "speedup"), in_tree[0]):
        assert row.verdict is Verdict.INCONCLUSIVE
        said = f" Its time was over after {made} of 16 fresh launches; {cure} gives it more."
        assert row.reason.endswith(said) if cure else "time was over" not in row.reason


def test_launches_that_were_given_up_take_no_time_of_those_that_follow(with_baselines: WithBaselines) -> None:
    """A case of edge was sampled with its reference, which did not fit, and then without it, with all of its time: it
    was told to take more of that where the run's was over.
    """
    values = {"speedup": ((1.4, 2.0, 2.4) * 3)[:8], "size": (4.0,)}
    result = taking(10.0, a_result(values, confirm=5, seconds={"sample": 200.0}))
    (row,) = (row for row in with_baselines.compare(result, None, METRICS) if row.metric == "speedup")
    assert row.reason.endswith("time was over after 5 of 16 fresh launches; a longer --budget gives it more.")


def test_a_case_that_is_taken_over_is_told_the_cure_of_the_run_that_measured_it(
    with_baselines: WithBaselines, tmp_path: Path
) -> None:
    """`--resume` and whoever reviews have seen no screen, and advised to allow more launches than had been made."""
    doubtful = (1.4, 2.0, 2.4)
    assert with_baselines.more(a_result({"speedup": doubtful, "size": (4.0,)}), METRICS) == 16
    result = a_result({"speedup": (doubtful * 3)[:8], "size": (4.0,)}, confirm=5)
    measured = with_baselines.compare(result, None, METRICS)
    said = {row.metric: row.reason for row in measured}
    assert said["speedup"].endswith("time was over after 5 of 16 fresh launches; a longer --budget gives it more.")
    taken_over = WithBaselines(Store(tmp_path), ENVIRONMENT, Plan()).compare(result, None, METRICS)
    run = a_run([result], environment=ENVIRONMENT, comparisons=measured)
    for rows in (taken_over, Acceptor(Store(tmp_path), run).judged(result).comparisons):
        assert {row.metric: row.reason for row in rows} == said


def test_a_case_that_had_its_launches_had_them_also_where_baselines_of_today_would_ask_for_more(
    with_baselines: WithBaselines, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whoever accepted or reviewed it was told that its time was over, and to take a longer --budget."""
    store, doubtful = Store(tmp_path_factory.mktemp("earlier")), (1.4, 2.0, 2.4)
    store.write(a_portable({"size": 4.0}))
    # Hours that differ more than launches are not known better by more launches.
    store.write(some_times([a_block({"speedup": [2.0, 2.001, 2.002]}), a_block({"speedup": [2.6, 2.603, 2.599]})]))
    earlier, screen = WithBaselines(store, ENVIRONMENT, Plan()), a_result({"speedup": doubtful, "size": (4.0,)})
    assert (earlier.more(screen, METRICS), with_baselines.more(screen, METRICS)) == (5, 16)
    result = a_result({"speedup": (doubtful * 3)[:8], "size": (4.0,)}, confirm=5)
    run = a_run([result], environment=ENVIRONMENT, comparisons=earlier.compare(result, None, METRICS))
    judged = Acceptor(Store(tmp_path), run).judged(result)
    assert verdicts(judged.comparisons) == {"speedup": Verdict.INCONCLUSIVE, "size": Verdict.UNCHANGED}
    assert "time was over" not in f"{judged.refused} {[row.reason for row in (*run.comparisons, *judged.comparisons)]}"


def test_launches_are_counted_for_no_row_whose_words_do_not_hang_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were gone through for every row of every case, most of which are decided."""
    monkeypatch.setattr(amending, "_fresh", lambda _: pytest.fail("they were counted"))
    row = Comparison("digits", CASE, "speedup", Verdict.UNCHANGED, "speedup: told.", detectable=0.02)
    assert as_said(row, a_result({"speedup": (2.0,) * 8}, confirm=5), Plan(), 16) is row


@pytest.mark.parametrize(
    ("wanted", "most", "more"), [(16, 16, True), (11, 16, False), (11, 11, True), (0, 16, True), (12, 16, True)]
)
def test_more_launches_are_advised_where_the_plan_kept_them_back(wanted: int, most: int, more: bool) -> None:
    """Another run would have asked for as few."""
    said = "speedup 2.00x: told. This can't be decided."
    reason = f"{said} More launches settle it: pytest a --plan confirm=44"
    row = Comparison("toys", "a/reference/cpu", "speedup", Verdict.INCONCLUSIVE, reason)
    result = a_result({"speedup": (1.5,) * 14}, confirm=16 if wanted == 16 else 11)
    found = with_launches(row, result, Plan(confirm=most), wanted).reason
    assert ("--plan confirm=44" in found) is more
    if not more:
        assert found.startswith(f"{said} It had the 11 fresh launches that it asked for")


@pytest.mark.parametrize(
    ("most", "made", "verdict"),
    [
        (16, 1, Verdict.INCONCLUSIVE),
        (16, 4, Verdict.INCONCLUSIVE),
        (16, 5, Verdict.REGRESSED),
        (3, 2, Verdict.INCONCLUSIVE),
        (3, 3, Verdict.REGRESSED),
    ],
)
def test_fewer_fresh_launches_than_were_wanted_convict_nobody(
    with_baselines: WithBaselines, tmp_path: Path, most: int, made: int, verdict: Verdict
) -> None:
    """Its time was over amid them. A plan that wants fewer than five gets what it wants."""
    result = a_result({"speedup": (1.5,) * (3 + made), "size": (8.0,)}, confirm=made)
    judged = WithBaselines(Store(tmp_path), ENVIRONMENT, Plan(confirm=most))
    assert with_baselines.more(result, METRICS) == 0, "there are some, so that none would follow"
    rows = {row.metric: row for row in judged.compare(result, None, METRICS)}
    assert (rows["speedup"].verdict, rows["size"].verdict) == (verdict, Verdict.REGRESSED)
    cut = verdict is Verdict.INCONCLUSIVE
    assert (f"time was over after {made} of {min(5, most)} fresh launches" in rows["speedup"].reason) is cut
    # Who accepts, reviews or compares the run says what it said: what could not be decided is no baseline.
    run = a_run([result], environment=ENVIRONMENT, plan=Plan(confirm=most).record())
    before = a_result({"speedup": (2.0, 2.001, 2.002), "size": (4.0,)})
    acceptor = Acceptor(Store(tmp_path), run)
    accepted = acceptor.judged(result)
    for other in (accepted.comparisons, compare_runs(a_run([before], environment=ENVIRONMENT), run)):
        again = {row.metric: row for row in other}
        assert (again["speedup"].verdict, again["size"].verdict) == (verdict, Verdict.REGRESSED)
        assert ("time was over" in again["speedup"].reason) is cut
    assert ("speedup could not be decided, so it may hide a regression" in accepted.refused) is cut
    with pytest.raises(BaselineError, match="could not be decided") if cut else contextlib.nullcontext():
        assert acceptor.accept(result, "as it was asked")


@pytest.mark.parametrize(
    ("confirm", "made", "verdict"),
    [
        (16, 4, Verdict.INCONCLUSIVE),
        (16, 5, Verdict.REGRESSED),
        (64, 6, Verdict.REGRESSED),
        (8, 1, Verdict.INCONCLUSIVE),
        (8, 2, Verdict.REGRESSED),
        (3, 1, Verdict.REGRESSED),
    ],
)
def test_in_turns_it_is_the_first_lot_that_must_be_whole(confirm: int, made: int, verdict: Verdict) -> None:
    now = in_turns({"size": (4.0,)})
    launch = dataclasses.replace(now.launches[-1], against=2.0)
    now = dataclasses.replace(now, launches=(*now.launches[:3], *[launch] * made))
    judged = WithTree(Against("HEAD"), Tree(Path()), {}, ENVIRONMENT, Plan(confirm=confirm))
    row, *_ = judged.compare(now, now, METRICS)
    assert row.verdict is verdict
    assert ("a longer --budget" in row.reason) is (verdict is Verdict.INCONCLUSIVE)


def test_nobody_is_advised_to_accept_a_percentile_of_too_few_calls(with_baselines: WithBaselines) -> None:
    metrics = {**METRICS, "latency.p99": METRICS["latency.p99"].with_tolerance(0.1)}
    result = a_result({**SCREENS["unchanged"], "latency.p99": (0.02,) * 3})
    for calls, advised in ((26, False), (500, True)):
        launches = tuple(dataclasses.replace(launch, calls=calls) for launch in result.launches)
        rows = with_baselines.compare(dataclasses.replace(result, launches=launches), None, metrics)
        (row,) = (row for row in rows if row.metric == "latency.p99")
        assert row.verdict is Verdict.NEW
        assert ("harness accept" in row.reason) is advised
        assert ("a launch had 26 of the 500 calls" in row.reason) is not advised


@pytest.mark.parametrize("metric", ["fidelity.error", "fidelity.sqnr", "fidelity.cosine", "fidelity.identical"])
@pytest.mark.parametrize("why", ["not measured of outputs, since output 0 holds 3 elements", OF_OTHER_INPUTS, None])
def test_outputs_of_another_length_than_the_references_lose_no_fidelity(
    tmp_path: Path, why: str | None, metric: str
) -> None:
    """As many boxes as a detector finds may be others on another machine, and its case was red there."""
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0, metric: 0.01}))
    result = dataclasses.replace(a_result({"size": (4.0,)}), facts={"fidelity": why} if why else {})
    found, judged = WithBaselines(store, ENVIRONMENT, Plan()), resolve([METRICS[metric].with_tolerance(0.1)])
    (row,) = (row for row in found.compare(result, None, judged) if row.metric == metric)
    assert row.verdict is (Verdict.INCOMPARABLE if why else Verdict.MISSING)
    if why:
        assert row.reason.startswith(f"{metric}: {why}. ")
        assert f'metrics=[resolve()["{metric}"].with_tolerance()]' in row.reason
    for otherwise in ({"fidelity": "not measured of outputs, since there are 1, and 2 of the reference"}, {}):
        lost = dataclasses.replace(result, facts=otherwise)
        (row,) = (row for row in found.compare(lost, None, judged) if row.metric == metric)
        assert row.verdict is Verdict.MISSING, "an output that is gone is no other length"
    without = {**METRICS, metric: METRICS[metric].with_tolerance()}
    rows = WithBaselines(store, ENVIRONMENT, Plan()).compare(result, None, without)
    assert metric not in verdicts(rows), "the cure is one"


@pytest.mark.parametrize("metric", ["fidelity.error", "fidelity.agreement"])
def test_what_was_evaluated_on_other_data_than_its_reference_misses_its_fidelity(tmp_path: Path, metric: str) -> None:
    """Data may follow from answers that broke: accuracy and fidelity were both incomparable, and the run was green."""
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0, metric: 0.5}))
    found = WithBaselines(store, ENVIRONMENT, Plan())
    result = dataclasses.replace(a_result({"size": (4.0,)}), facts={"fidelity": OF_OTHER_DATA})
    (row,) = (row for row in found.compare(result, None, METRICS) if row.metric == metric)
    assert row.verdict is Verdict.MISSING
    assert row.reason.startswith(f"{metric}: the baseline has a value, and this run measured none; if that is right: ")
    assert "harness accept --case" in row.reason, "it is red until it is accepted"


def test_the_baselines_of_a_commit_are_no_place_to_accept_into(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0, "sparsity": 0.5}))
    result = a_result({"size": [4.0], "parameters": [10.0]})
    for fixed in (False, True):
        found = WithBaselines(store, ENVIRONMENT, Plan(), fixed=fixed)
        rows = {row.metric: row for row in found.compare(result, None, METRICS)}
        assert ("harness accept" in rows["parameters"].reason) is not fixed
        assert ("harness accept" in rows["sparsity"].reason) is not fixed
        assert (rows["parameters"].verdict, rows["sparsity"].verdict) == (Verdict.NEW, Verdict.MISSING)
    assert rows["parameters"].reason == "parameters: the baseline has no such value yet."
    assert rows["sparsity"].reason == "sparsity: the baseline has a value, and this run measured none."
    for advice in (
        " The baseline has 1 block; another one settles it: pytest a --baseline=update --reason 'another block'",
        " Accept this run to have one.",
    ):
        row = Comparison("toys", "a/reference/cpu", "latency.p50", Verdict.INCONCLUSIVE, f"latency.p50: told.{advice}")
        assert of_commit(row).reason == "latency.p50: told."


def test_an_accuracy_that_only_another_class_can_decide_says_what_helps_there_and_without_it(tmp_path: Path) -> None:
    """Every night was red for one example of 300, and no run that was accepted there changed that."""
    store = Store(tmp_path)
    store.write(a_portable({"accuracy": 291 / 300}, scores=scores([0] * 9 + [1] * 291)))
    away = dataclasses.replace(ENVIRONMENT, hardware={"cpu": ELSEWHERE})
    result = a_result({"accuracy": [290 / 300]}, scores=scores([0] * 10 + [1] * 290))
    cure = "delete this case's folder in baselines/ and accept a run of this class."
    (row,) = WithBaselines(store, away, Plan()).compare(result, None, METRICS)
    assert row.verdict is Verdict.INCONCLUSIVE
    home = machine_class(IDENTITY)
    assert f" On a machine of {home}: pytest '{NODEID}'; where that class is no longer in use" in row.reason
    assert row.reason.endswith(cure)
    (row,) = WithBaselines(store, ENVIRONMENT, Plan()).compare(result, None, METRICS)
    assert row.verdict is Verdict.REGRESSED, "there it is decided"
    assert cure not in row.reason
    assert "On a machine of" not in row.reason


@pytest.mark.parametrize(
    ("identity", "size", "waits"),
    [
        (ELSEWHERE, 4.0, True),
        (ELSEWHERE, 8.0, False),
        (IDENTITY, 4.0, False),
        ({**IDENTITY, "anchor": "2 numpy 2.5"}, 4.0, False),
    ],
    ids=["elsewhere", "elsewhere, where the size differs", "at home", "after an upgrade"],
)
def test_a_new_fidelity_says_which_class_it_waits_for(tmp_path: Path, identity: dict, size: float, waits: bool) -> None:
    """It advised to accept a run, which kept nothing of it: under `--baseline=strict` the case was red for ever. Then
    it sent to the other class also where accepting a run here takes all values anew.
    """
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0}))
    store.write(some_times([a_block({"speedup": [2.0, 2.001, 2.002]})]))
    here = dataclasses.replace(ENVIRONMENT, hardware={"cpu": identity})
    result = a_result({**SCREENS["unchanged"], "size": (size,), "fidelity.error": (0.01,)})
    rows = WithBaselines(store, here, Plan()).compare(result, None, METRICS)
    acceptor = Acceptor(store, a_run([result], environment=here))
    again = acceptor.judged(result).comparisons
    for found in (rows, again):
        (row,) = (row for row in found if row.metric == "fidelity.error")
        assert row.verdict is Verdict.NEW
        assert ("harness accept" in row.reason) is not waits
        assert (f"Accept a run of {machine_class(IDENTITY)}: pytest '{NODEID}'; where" in row.reason) is waits
    acceptor.accept(result, "as it is advised")
    kept = store.read("digits", CASE, identity).portable
    assert kept is not None
    assert ("fidelity.error" in kept.values) is not waits


def test_the_class_of_machine_is_worked_out_for_no_row_that_never_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the dozen rows of a case took a digest of the machine's identity, and was left as it was."""
    monkeypatch.setattr(amending, "machine_class", lambda _: pytest.fail("it was worked out"))
    result, baseline = a_result({"size": (4.0,)}), Baseline(a_portable({"size": 4.0}), None)
    kinds = (("size", Verdict.UNCHANGED), ("accuracy", Verdict.UNCHANGED), ("fidelity.error", Verdict.REGRESSED))
    for metric, verdict in kinds:
        row = Comparison("digits", CASE, metric, verdict, f"{metric}: told.")
        assert with_home(row, [row], result, baseline, METRICS, ELSEWHERE) is row


def test_what_ran_is_held_against_what_ran_when_the_baseline_was_accepted(tmp_path: Path) -> None:
    times = some_times([a_block({"speedup": [2.0, 2.001, 2.002]})])
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0}))
    store.write(dataclasses.replace(times, ran={"nodes": 19, "parameters": 10}))
    rows = []
    for nodes, said in ((19, None), (27, "nodes 19 -> 27")):
        found = WithBaselines(store, ENVIRONMENT, Plan())
        result = dataclasses.replace(a_result(SCREENS["unchanged"]), facts={"nodes": nodes, "parameters": 10})
        rows.append(found.compare(result, None, METRICS))
        assert found.origins[f"digits/{CASE}"].get("ran") == said
    assert rows[0] == rows[1], "it judges nothing"


@pytest.mark.parametrize(
    ("identity", "software", "differs"),
    [
        (ELSEWHERE, {"onnxruntime": "1.30.0", "openvino": "2026.4"}, "onnxruntime 1.30.0 -> 1.32.0"),
        (ELSEWHERE, {"onnxruntime": "1.32.0"}, ""),
        ({**ELSEWHERE, "cores": 4}, {"onnxruntime": "1.30.0"}, "onnxruntime 1.30.0 -> 1.32.0"),
        (ELSEWHERE, {"openvino": "2026.4"}, None),
    ],
    ids=["another version", "the same version", "of a third class", "nothing that both have"],
)
def test_a_class_without_times_is_told_what_software_the_portable_values_were_good_with(
    tmp_path: Path, identity: dict, software: dict, differs: str | None
) -> None:
    """Every hosted runner is such a class at first, and an upgrade was no suspect of what it lost there."""
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0}, made_on=machine_class(ELSEWHERE)))
    store.write(some_times([a_block({"speedup": [2.0, 2.1]})], identity=identity, software=software))
    found = WithBaselines(
        store, dataclasses.replace(ENVIRONMENT, software={"onnxruntime": "1.32.0", "numpy": "2.4"}), Plan()
    )
    found.compare(a_result(SCREENS["larger, which no launch settles"]), None, METRICS)
    origin = found.origins[f"digits/{CASE}"]
    assert origin.get("differs") == differs
    assert "times" not in origin


@pytest.mark.parametrize(
    ("before", "differs"),
    [({}, "nncf absent -> 3.4.0"), ({"sympy": "1.13.3"}, "nncf absent -> 3.4.0, sympy 1.13.3 -> 1.14.0")],
    ids=["not named", "named"],
)
def test_a_package_that_older_baselines_do_not_name_is_no_suspect(
    tmp_path: Path, before: dict[str, str], differs: str
) -> None:
    """torch had brought it all the same: each comparison with the committed baselines would have named it."""
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0}))
    store.write(some_times([a_block({"speedup": [2.0, 2.1]})], software={"torch": "2.13.0", **before}))
    here = {"torch": "2.13.0", "sympy": "1.14.0", "nncf": "3.4.0"}
    found = WithBaselines(store, dataclasses.replace(ENVIRONMENT, software=here), Plan())
    found.compare(a_result(SCREENS["unchanged"]), None, METRICS)
    assert found.origins[f"digits/{CASE}"]["differs"] == differs


def test_the_acceptance_that_is_told_is_the_one_that_last_changed_something(tmp_path: Path) -> None:
    """Times keep the reason of theirs where only the size was changed since, and the other way round."""
    old = some_times([a_block({"speedup": [2.0, 2.001, 2.002]})])
    portable = a_portable({"size": 4.0})
    later = dataclasses.replace(portable.accepted, when="2099-01-01T00:00:00+00:00", commit="b" * 40, reason="it grew")
    for times, other in (
        (old, dataclasses.replace(portable, accepted=later)),
        (dataclasses.replace(old, accepted=later), portable),
    ):
        found = WithBaselines(Store(tmp_path), ENVIRONMENT, Plan())
        found.note_origin("digits", CASE, Baseline(other, times))
        origin = found.origins[f"digits/{CASE}"]
        assert (origin["commit"], origin["when"], origin["reason"]) == (later.commit, later.when, "it grew")
        assert origin["times"] == times.accepted.commit, "against which a slow-down of all is to be measured"
