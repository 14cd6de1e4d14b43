"""A run of many cases with a few of each fault among them: every case is told for what it is, and none for another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

import harness.session
from harness.baseline.store import Store, folder_of
from harness.grid import Address, Case
from harness.hardware import cpu
from harness.plan import Plan
from harness.records import Outcome, Result, Verdict
from harness.report.record import read_run
from harness.session import Session
from harness.settings import Settings
from harness.techniques import reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model
from tests.judge_samples import a_portable, a_result

CASES = 500
KNOWN = {"size": 4.0, "parameters": 7.0}
FILE = "suites/test_it.py"

ENDED = {
    Outcome.FAILED: Verdict.ERROR,
    Outcome.OOM: Verdict.ERROR,
    Outcome.KILLED: Verdict.ERROR,
    Outcome.CRASHED: Verdict.ERROR,
    Outcome.TIMEOUT: Verdict.ERROR,
    Outcome.PREMATURE_EXIT: Verdict.ERROR,
    Outcome.INTERRUPTED: Verdict.ERROR,
    Outcome.INVALID: Verdict.INVALID,
    Outcome.UNAVAILABLE: Verdict.MISSING,
}
"""How measuring ends without a number, and what that comes to where there is a baseline."""
SIZES = {
    "larger": Verdict.REGRESSED,
    "smaller": Verdict.IMPROVED,
    "nothing": Verdict.INVALID,
    "lost": Verdict.MISSING,
}
"""Numbers that are not the baseline's."""
BASELINES = {"no baseline": Verdict.NEW, "damaged": Verdict.ERROR}
FAULTS = {**ENDED, **SIZES, **BASELINES}


def test_each_of_many_faults_is_told_of_its_own_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.session, "publish", lambda *_: "")
    model, pipeline = tiny_onnx_model(tmp_path), as_pipeline(reference)
    cases = [Case(dataclasses.replace(model, name=f"m{number}"), pipeline, cpu) for number in range(CASES)]
    # Three of each, far apart: the first and the last case of the run are among them.
    at = [round(place * (CASES - 1) / (3 * len(FAULTS) - 1)) for place in range(3 * len(FAULTS))]
    faults = {cases[place].id: [*FAULTS][count % len(FAULTS)] for count, place in enumerate(at)}
    assert len(faults) == 3 * len(FAULTS)
    assert {cases[0].id, cases[-1].id} <= faults.keys()

    baselines = tmp_path / "baselines"
    store = Store(baselines)
    for case in cases:
        if faults.get(case.id) != "no baseline":
            store.write(a_portable(KNOWN, suite="it", case_id=case.id, nodeid=f"{FILE}::test_it[{case.id}]"))
        if faults.get(case.id) == "damaged":
            (baselines / folder_of("it", case.id) / "portable.json").write_text("{}")
    gone = "gone/reference/cpu"
    store.write(a_portable(KNOWN, suite="it", case_id=gone, nodeid=f"{FILE}::test_it[{gone}]"))

    class Faulty:
        def measure(
            self, case: Case, _address: Address, suite: str, nodeid: str, _metrics: Mapping[str, object]
        ) -> tuple[Result, None]:
            fault = faults.get(case.id, "")
            if isinstance(fault, Outcome):
                return Result(suite, case.id, nodeid, *case.words, fault, f"it was {fault}"), None
            numbers = {"size": [{"larger": 5.0, "smaller": 3.0, "nothing": 0.0}.get(fault, 4.0)], "parameters": [7.0]}
            if fault == "lost":
                del numbers["size"]
            model, technique, hardware = case.words
            names = {"model": model, "technique": technique, "hardware": hardware}
            return a_result(numbers, suite=suite, case_id=case.id, nodeid=nodeid, **names), None

    folders = (baselines, tmp_path / "reports", tmp_path / ".harness")
    settings = Settings(tmp_path, *folders, Plan(), history="off")
    own = {"it": ()}
    session = Session(settings, [cpu], CASES, own, lambda _: None, cases=cases, measuring=lambda _: Faulty())
    lost = session.missing({"suites"}, {("it", case.id) for case in cases})
    for row, portable in lost:
        session.add_missing(row, portable)
    fails = set()
    for case in cases:
        nodeid = f"{FILE}::test_it[{case.id}]"
        if session.measure(case, Address(str(tmp_path), FILE, "test_it", case.id), "it", nodeid).fails:
            fails.add(case.id)
    run, _ = session.finish(complete=True)

    assert {result.case_id: result.outcome for result in run.results} == {
        case.id: fault if isinstance(fault := faults.get(case.id), Outcome) else Outcome.COMPLETED for case in cases
    }
    worst = dict[str, Verdict]()
    for row in run.comparisons:
        worst[row.case_id] = max(row.verdict, worst.get(row.case_id, row.verdict), key=lambda one: one.severity)
        fault = faults.get(row.case_id)
        assert not isinstance(fault, Outcome) or f"it was {fault}" in row.reason
    expected = {case.id: FAULTS.get(faults.get(case.id, ""), Verdict.UNCHANGED) for case in cases}
    assert worst == expected | {gone: Verdict.MISSING}
    assert fails == {case for case, verdict in expected.items() if verdict.fails(strict=False)}
    kept = read_run(session.folder)
    assert (kept.results, set(kept.comparisons)) == (run.results, set(run.comparisons))
