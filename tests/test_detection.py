"""The benchmark of detection: its records, order and arithmetic, and that planted work changes nothing but time."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.stats import t

from benchmarks import detecting, detection, planting, rivals
from benchmarks.detected import Kept, Observed, bounds, counted, hours, rows_of, table
from benchmarks.detecting import CHAINS, ERRORS, PARTS, WANTED, Bench, Schedule, Task
from benchmarks.detection_tables import COMMITTED, extent, tables
from benchmarks.extra_work import Work, least_width, plant
from benchmarks.planting import CASES, Planter, _choose, _fit
from benchmarks.rivals import Heard, PluginChain, asv_says, pyperf_says
from benchmarks.verdicts import BLOCKS, Seen
from harness.errors import MeasurementError
from harness.hardware import cpu
from harness.measure.sampling import LONGEST
from harness.plan import Plan
from harness.records import Verdict
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.specs import spec_of
from harness.worker.artefact import digest_files, load_batches, read_manifest, save_batches, write_manifest
from harness.worker.outputs import check_outputs
from tests.artefacts import make_artefact

ONE = Observed(
    when=1_000_000,
    part=0,
    judge="a",
    tool="harness",
    mode="against",
    load="idle",
    case=CASES[0].id,
    planted_percent=0.0,
    where="",
    tolerance=0.01,
    verdict="unchanged",
    change=0.001,
    sampling=3.0,
    wall=5.0,
    pressure=0.01,
    blocks=0,
)


def seen(**changes: object) -> Observed:
    return dataclasses.replace(ONE, **changes)  # type: ignore[arg-type]


def test_bounds_are_exact() -> None:
    low, high = bounds(0, 600)
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 600))
    assert bounds(600, 600) == pytest.approx((0.025 ** (1 / 600), 1.0))
    assert bounds(0, 0) == (0.0, 1.0)
    assert bounds(5, 10) == pytest.approx((0.18709, 0.81291), abs=1e-5)


def test_rows_count_what_belongs_together() -> None:
    verdicts = [seen(), seen(verdict="regressed", sampling=9.0), seen(verdict="inconclusive", when=1_007_200)]
    verdicts += [seen(planted_percent=2.5, where="technique", verdict="regressed"), seen(tool="asv", tolerance=0.0)]
    verdicts += [seen(mode="baseline", blocks=blocks) for blocks in (3, 8, 8)]
    clean, planted, *stored, asv = rows_of(verdicts)
    assert (clean["verdicts"], clean["alarms"], clean["unchanged"], clean["inconclusive"]) == (3, 1, 1, 1)
    assert (clean["seconds_per_case"], clean["median_seconds"], clean["hours"]) == (5.0, 3.0, 2.0)
    assert (planted["planted_percent"], planted["alarms"]) == (2.5, 1)
    assert (asv["tool"], asv["verdicts"]) == ("asv", 1)
    assert [(row["blocks"], row["verdicts"]) for row in (clean, *stored)] == [(0, 3), (3, 1), (8, 2)]
    (failed,) = rows_of([seen(), seen(verdict="error", sampling=0.0, wall=0.0)])
    assert (failed["verdicts"], failed["error"], failed["alarms_bounds"][1]) == (2, 1, round(bounds(0, 1)[1], 5))
    assert (failed["seconds_per_case"], failed["median_seconds"], failed["wall_seconds_per_case"]) == (3.0, 3.0, 5.0)
    assert "0 of    1" in table([failed])
    (nothing,) = rows_of([seen(verdict="error", sampling=0.0, wall=0.0)])
    assert (nothing["verdicts"], nothing["error"], nothing["seconds_per_case"]) == (1, 1, 0.0)
    lines = table([clean, planted, *stored, asv]).splitlines()
    assert len(lines) == 6
    assert "1 of    3" in lines[1]
    assert " against    " in lines[1]
    assert " baseline 8 " in lines[4]


def test_the_file_goes_on_and_judges_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "results" / "rows.json"
    kept = Kept(verdicts=[seen(verdict="regressed"), seen(judge="b"), seen(judge="b", verdict="improved")])
    kept.parts.append({"cpu": "some"})
    kept.blocks_of("b", "cpu-1")["case"] = [{"when": 1}]
    kept.write(path)
    again = Kept.read(path)
    assert again == kept
    again.verdicts.append(seen(judge="b"))
    again.write(path)
    data = json.loads(path.read_text())
    (row,), (earlier,) = data["rows"], data["rows_of_earlier_judges"]
    assert (row["judge"], row["verdicts"], row["alarms"], row["improved"]) == ("b", 3, 0, 1)
    assert (earlier["judge"], earlier["verdicts"], earlier["alarms"]) == ("a", 1, 1)
    assert {"tool", "mode", "load", "planted_percent", "verdicts", "alarms", "inconclusive", "seconds_per_case"} <= set(
        row
    )
    assert [one.name for one in path.parent.iterdir()] == ["rows.json"]
    path.write_text('{"schema": 0}')
    with pytest.raises(ValueError, match="--append"):
        Kept.read(path)


def test_rows_of_two_machines_stand_apart_and_other_tools_have_their_limits() -> None:
    parts = [{"cpu": "AMD EPYC"}, {"cpu": "Intel(R) Xeon(R) Processor", "machine": "cpu-1"}]
    others = ("asv", "pyperf", "pytest-benchmark mean:5%", "pytest-benchmark min:5%")
    verdicts = [seen(), seen(part=1), seen(part=1, apart=True), *(seen(tool=tool, tolerance=0.0) for tool in others)]
    rows = rows_of(verdicts, parts)
    machines = ["AMD EPYC", *["Intel(R) Xeon(R) Processor (cpu-1)"] * 2]
    assert [(row["machine"], row["apart"], row["verdicts"]) for row in rows[:3]] == [
        (machine, apart, 1) for machine, apart in zip(machines, (False, False, True), strict=True)
    ]
    assert {row["tool"]: row["tolerance"] for row in rows[3:]} == dict(
        zip(others, (0.1, None, 0.05, 0.05), strict=True)
    )
    lines = table(rows).splitlines()
    assert [line.split("waiting", 1)[-1].endswith(machine) for line, machine in zip(lines[1:4], machines, strict=True)]
    assert lines[0].endswith("  machine")
    assert "0 % apart" in lines[3]
    assert [line.split("idle", 1)[1].split()[0] for line in lines[4:]] == ["10%", "-", "5%", "5%"]


def test_a_file_from_before_the_last_columns_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    Kept(parts=[{"cpu": "some"}], verdicts=[seen(apart=True, chain=7, measured_percent=0.0)]).write(path)
    data = json.loads(path.read_text())
    data["columns"], data["verdicts"] = data["columns"][:16], [row[:16] for row in data["verdicts"]]
    path.write_text(json.dumps(data))
    again = Kept.read(path)
    assert again.verdicts == [seen()]
    assert (again.verdicts[0].chain, again.verdicts[0].apart, again.verdicts[0].measured_percent) == (0, False, None)
    again.verdicts.append(seen(apart=True, measured_percent=0.0))
    again.write(path)
    assert Kept.read(path) == again
    for columns in (data["columns"][:15], [*data["columns"], "other"]):
        path.write_text(json.dumps({**data, "columns": columns}))
        with pytest.raises(ValueError, match="--append"):
            Kept.read(path)


def test_only_what_shared_a_chain_is_set_beside() -> None:
    planted = {"planted_percent": 5.0, "where": "technique", "verdict": "regressed"}
    verdicts = [seen(), seen(chain=1, **planted), seen(tool="asv", chain=1, **planted)]
    verdicts += [seen(tool="pyperf", chain=1, **planted), seen(tool="pyperf", chain=1)]  # the last without the harness
    verdicts += [seen(chain=2, measured_percent=0.0), seen(tool="pytest-benchmark min:5%", chain=2), seen(tool="asv")]
    kept = Kept(parts=[{}], verdicts=verdicts)
    beside = kept.beside()
    assert list(beside) == ["asv, pyperf", "pytest-benchmark min:5%"]
    rows = beside["asv, pyperf"]
    assert [(row["tool"], row["planted_percent"], row["verdicts"]) for row in rows] == [
        ("harness", 5, 1),
        ("asv", 5, 1),
        ("pyperf", 5, 1),
    ]
    assert [row["measured_percent"] for row in beside["pytest-benchmark min:5%"]] == [[0.0, 0.0], None]


def test_the_document_has_the_tables_of_the_committed_verdicts() -> None:
    document = (detection.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    made = tables(Kept.read(COMMITTED))
    assert len(made) >= 3
    for lines in made:
        assert "\n".join(lines) in document, "paste what `python benchmarks/detection_tables.py` prints"


def test_the_document_has_the_extent_and_the_drift_of_the_committed_verdicts() -> None:
    document = " ".join((detection.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split())
    kept = Kept.read(COMMITTED)
    assert extent(kept) in document
    silero = next(case.id for case in CASES if case.id.startswith("silero/"))
    made = [blocks[silero] for blocks in kept.blocks[kept.verdicts[-1].judge].values() if silero in blocks]
    blocks = next(blocks for blocks in made if len(blocks) == BLOCKS)
    times = [1e3 * statistics.median(block["values"]["latency.p50"]) for block in blocks]
    least, most = min(times), max(times)
    told = f"from {least:.2f} to {most:.2f} ms in the median of a block, so up to {most / least - 1:.0%} longer"
    assert told.replace("%", " %") in document


def test_the_document_says_how_many_were_made_beside_a_neighbour() -> None:
    document = " ".join((detection.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split())
    rows = list(Kept.read(COMMITTED).rows().values())[-1]
    busy = [row for row in rows if (row["tool"], row["load"]) == ("harness", "busy")]
    identical = {
        mode: [row for row in busy if row["mode"] == mode and not row["planted_percent"]]
        for mode in ("against", "baseline")
    }
    assert not any(row["alarms"] for rows in identical.values() for row in rows), "say which"
    in_turns = sum(map(counted, identical["against"]))
    planted = sum(counted(row) for row in busy if row["mode"] == "against" and row["planted_percent"])
    stored = sum(counted(row) for row in busy if row["mode"] == "baseline")
    assert f"slow-downs in turns, {planted} of the 40 of 2.5 and 5 %, and " in document
    assert f"verdicts against baselines, {stored} of 60." in document
    assert f"**No alarm in the {in_turns} identical ones that were aimed at" in document
    assert f"No alarm in {sum(map(counted, identical['baseline']))} identical ones (" in document


def test_the_readme_says_what_the_long_run_found_in_turns() -> None:
    document = " ".join((detection.ROOT / "README.md").read_text(encoding="utf-8").split())
    rows = [row for row in list(Kept.read(COMMITTED).rows().values())[-1] if row["tool"] == "harness"]
    rows = [row for row in rows if (row["mode"], row["tolerance"]) == ("against", 0.01)]
    identical = [row for row in rows if not row["planted_percent"]]
    assert sum(row["alarms"] for row in identical) == 0
    busy = sum(counted(row) for row in identical if row["load"] == "busy")
    assert f"In {sum(map(counted, identical))} comparisons of identical code in turns, {busy} of them" in document
    slower = [row for row in rows if (row["planted_percent"], row["load"]) == (2.5, "idle")]
    found, made = sum(row["alarms"] for row in slower), sum(map(counted, slower))
    assert f"of {made} slow-downs of 2.5 % on the idle machine it found {found}" in document


def test_the_document_says_where_the_seconds_that_were_aimed_at_are_missed() -> None:
    document = " ".join((detection.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split())
    rows = list(Kept.read(COMMITTED).rows().values())[-1]
    kind = ("harness", "against", "idle", 0.01)
    own = [row for row in rows if (row["tool"], row["mode"], row["load"], row["tolerance"]) == kind]
    aims = {2.5: 20.0, 5.0: 10.0}
    means = {size: [row["seconds_per_case"] for row in own if row["planted_percent"] == size] for size in aims}
    told = ", and ".join(" and ".join(f"{mean:.1f}" for mean in found) + " s" for found in means.values())
    assert f"In the order of the table it took {told}: **not the 10 s on either machine**" in document
    missed = {size: [mean > aims[size] for mean in found] for size, found in means.items()}
    assert missed == {2.5: [False, False], 5.0: [True, True]}, "say anew which machine misses which"
    plan = Plan()
    first, fresh = plan.screen * plan.seconds, plan.lots[0] * LONGEST * plan.seconds
    assert (plan.screen, plan.seconds, plan.lots[0]) == (3, 0.8, 5)
    longest = LONGEST * plan.seconds
    assert (
        f"five fresh ones of up to {longest:.1f} s where turns scatter: up to {first + fresh:.1f} s, and "
        f"{first + fresh + plan.repeats * longest:.1f} s where two that were disturbed are made again"
    ) in document
    assert plan.repeats == 2


def test_bounds_of_verdicts_that_share_a_baseline_are_said_to_be_no_more_than_that() -> None:
    document = (detection.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    kept = Kept.read(COMMITTED)
    assert any(one.mode == "baseline" for one in kept.verdicts)
    stored = next("\n".join(lines) for lines in tables(kept) if lines[0].startswith("| blocks, machine |"))
    below = " ".join(document.partition(stored)[2].split())
    assert below.startswith(
        "Bounds are of these baselines: the verdicts of one case share its blocks, and for other blocks "
    )
    assert "exact 95 %" not in " ".join(document.split())


def test_hours_count_nothing_twice() -> None:
    hour = 1_003_600
    chain = [seen(tool=tool, when=hour + 60 * number, wall=100.0) for number in range(3) for tool in ("asv", "pyperf")]
    own = seen(when=hour + 3600, wall=860.0)
    assert hours([own]) == pytest.approx(860 / 3600)
    assert hours([own, *chain]) == pytest.approx((100 + 60 + 60 + 860) / 3600)
    assert hours([]) == 0
    assert extent(Kept(verdicts=[own, *chain])) == "7 verdicts, made in 0.3 hours, 0.2 of them the harness's"


def test_tables_for_the_document_take_machines_of_other_tools_together() -> None:
    parts = [{"cpu": "one"}, {"cpu": "two", "machine": "cpu-2"}]
    planted = {"planted_percent": 12.0, "where": "technique", "verdict": "regressed"}
    verdicts = [seen(), seen(part=1, apart=True, sampling=9.0), seen(part=1, mode="baseline", blocks=8, **planted)]
    verdicts += [seen(part=part, tool="asv", chain=1, **planted) for part in (0, 1)]
    turns, stored, others = tables(Kept(parts=parts, verdicts=verdicts))
    assert turns[2:] == [
        "| one | 0 % | 1 | 0 (at most 97.5 %) | 1 | 0 | 3.0 s | 3 s |",
        "| two (cpu-2) | 0 %, made apart | 1 | 0 (at most 97.5 %) | 1 | 0 | 9.0 s | 9 s |",
    ]
    assert stored[2:] == ["| 8, two (cpu-2) | 12 % | 1 | 1 (2 % or more) | 0 | 0 | 3.0 s | 3 s |"]
    assert others[2:] == ["| asv | 10 % | 0 of 0 | 0 of 0 | 0 of 0 | 2 of 2 | 3.0 s |"]
    verdicts.append(seen(chain=1, **planted))
    *_, beside = tables(Kept(parts=parts, verdicts=verdicts))
    assert beside[0].startswith("| beside each other (asv) |")
    assert [line.split(" | ")[0] for line in beside[2:]] == ["| harness", "| asv"]


def test_in_tables_what_failed_is_no_identical_comparison_and_took_no_time() -> None:
    planted = {"planted_percent": 12.0, "where": "technique"}
    broken = {"verdict": "error", "sampling": 0.0, "wall": 0.0}
    verdicts = [seen(tool="asv"), seen(tool="asv", **broken), seen(tool="asv", **planted, **broken)]
    verdicts += [seen(), seen(**broken), seen(tool="pyperf", **broken)]
    turns, others = tables(Kept(parts=[{"cpu": "one"}], verdicts=verdicts))
    assert turns[2:] == ["| one | 0 % | 1 | 0 (at most 97.5 %) | 1 | 0 | 3.0 s | 3 s |"]
    assert others[2:] == [
        "| asv | 10 % | 0 of 1 | 0 of 0 | 0 of 0 | 0 of 1 | 3.0 s |",
        "| pyperf | none | 0 of 0 | 0 of 0 | 0 of 0 | 0 of 0 | 0.0 s |",
    ]


class FakePlanter:
    """Artefacts that are no more than names; `missed` are the sizes that a case has not."""

    def __init__(self, missed: frozenset[tuple[str, float]] = frozenset()) -> None:
        self.missed = missed

    def clean(self, case_id: str) -> Path:
        return Path(case_id, "clean")

    def apart(self, case_id: str) -> Path:
        return Path(case_id, "apart")

    def planted(self, case_id: str, percent: float) -> Path:
        return Path(case_id, f"{percent:g}") if percent else self.clean(case_id)

    def met(self, case_id: str, percent: float) -> bool:
        return (case_id, percent) not in self.missed

    def measured(self, case_id: str, percent: float) -> float:
        return 1.01 * percent


class FakeJudge:
    """Tells what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, ...]] = []

    def against(self, candidate: Path, previous: Path, tolerance: float, seed: str) -> Seen:
        self.given.append((candidate.name, previous.name))
        return Seen(Verdict.UNCHANGED, 0.0, 3, 2.0, 3.0, 0.0)

    def baseline(self, case: Any, candidate: Path, reference: Path, kept: Any, seed: str) -> Seen:
        self.given.append((candidate.name, reference.name))
        return Seen(Verdict.UNCHANGED, 0.0, 3, 2.0, 3.0, 0.0)


class FakeChain:
    """Two tools that hear nothing of a clean block; `breaks` is the artefact at which they end."""

    tools = ("one", "other")
    blocks: ClassVar[list[tuple[str, bool]]]
    breaks = ""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.blocks.clear()

    def add(self, artefact: Path, *, clean: bool) -> Iterator[Heard]:
        if artefact.name == self.breaks:
            raise MeasurementError("ended")
        if not clean:
            yield from (Heard(tool, "unchanged", 0.0, 1.0, 2.0, 0.0) for tool in self.tools)
        self.blocks.append((artefact.name, clean))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose artefacts, judge and chain are fakes."""
    chain = type("Chain", (FakeChain,), {"blocks": []})
    monkeypatch.setitem(detecting.CHAINS, "pytest-benchmark", chain)
    kept = Kept(parts=[{"cpu": "some"}])
    blocks = [{"when": 1, "values": {}, "relative": {}}] * BLOCKS
    kept.blocks_of("a", "cpu-1").update({case.id: blocks for case in CASES})
    made = Bench(kept, "a", "cpu-1", tmp_path, tmp_path / "rows.json", lambda: None, lambda: None)
    with made as entered:
        entered._planter, entered._judging = FakePlanter(), FakeJudge()  # type: ignore[assignment]
        yield entered


CHAIN = next(task for task in WANTED if task.kind == "pytest-benchmark" and task.load == "idle")


def test_the_harness_judges_what_a_chain_of_other_tools_has_judged(bench: Bench) -> None:
    assert bench.do(CHAIN, time.monotonic() + 60)
    blocks = CHAINS["pytest-benchmark"].blocks  # type: ignore[union-attr]
    compared = ["apart", "1", "2.5", "5", "12"]
    assert blocks == [block for name in compared for block in (("clean", True), (name, False))], "seconds lie between"
    sizes = [0.0, 1.0, 2.5, 5.0, 12.0]
    seen_by = {tool: [one for one in bench.kept.verdicts if one.tool == tool] for tool in ("one", "other", "harness")}
    assert all([one.planted_percent for one in seen] == sizes for seen in seen_by.values())
    assert {one.chain for one in bench.kept.verdicts} != {0}
    assert len({one.chain for one in bench.kept.verdicts}) == 1
    own = seen_by["harness"]
    assert {(one.mode, one.load, one.tolerance) for one in own} == {("against", "idle", 0.01)}
    assert [one.where for one in own] == ["", *["technique"] * 4]
    assert bench._judging.given == [  # type: ignore[attr-defined]
        ("apart", "clean"), ("1", "clean"), ("2.5", "clean"), ("5", "clean"), ("12", "clean"),
    ]  # fmt: skip
    assert [one.apart for one in own] == [True, *[False] * 4]
    assert [one.apart for one in seen_by["one"]] == [True, *[False] * 4]
    assert [one.measured_percent for one in own] == pytest.approx([1.01 * size for size in sizes])
    assert {row["verdicts"] for row in bench.kept.beside()["one, other"]} == {1}
    kept = Kept.read(bench.json)
    assert kept.verdicts == bench.kept.verdicts
    task = next(task for task in WANTED if (task.kind, task.load, task.planted) == ("against", "idle", 2.5))
    schedule = Schedule(kept, "a", "cpu-1", ("idle",))
    assert schedule._share(task) == pytest.approx(1 / task.wanted)  # they are verdicts as any others


def test_a_chain_that_breaks_is_an_error_of_the_size_at_which_it_broke(bench: Bench) -> None:
    CHAINS["pytest-benchmark"].breaks = "5"  # type: ignore[union-attr]
    assert bench.do(CHAIN, time.monotonic() + 60)
    errors = [(one.tool, one.planted_percent, one.where) for one in bench.kept.verdicts if one.verdict == "error"]
    assert errors == [("one", 5.0, "technique"), ("other", 5.0, "technique")]
    assert not [one for one in bench.kept.verdicts if one.tool == "harness"]


def test_a_chain_waits_for_an_idle_machine_before_two_blocks_and_not_between_them(bench: Bench) -> None:
    blocks = CHAINS["pytest-benchmark"].blocks  # type: ignore[union-attr]
    waits: list[int] = []
    bench.wait_until_idle = lambda: waits.append(len(blocks))
    assert bench.do(CHAIN, time.monotonic() + 60)
    assert waits[:5] == [0, 2, 4, 6, 8]


def test_other_tools_get_the_time_of_verdicts_and_not_of_failures(bench: Bench) -> None:
    bench.kept.verdicts += [seen(sampling=8.0), seen(sampling=0.0, verdict="error"), seen(sampling=4.0)]
    assert bench._seconds("idle") == 6.0


def test_a_block_of_a_baseline_that_fails_is_no_verdict(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*_: object) -> None:
        raise MeasurementError("ended")

    bench._judging.block = fails  # type: ignore[method-assign, assignment]
    bench._blocks[CASES[1].id] = []
    block = Task("block", "idle", 0, "", 0.0, 1)
    for _ in range(ERRORS - 1):
        assert bench.do(block, 0.0)
    with pytest.raises(MeasurementError, match="ended"):
        bench.do(block, 0.0)
    assert bench.kept.verdicts == []
    assert f"block {CASES[1].id}: ended" in capsys.readouterr().err


def test_without_a_change_two_artefacts_are_compared_that_were_made_apart(bench: Bench) -> None:
    for kind, tolerance in (("against", 0.01), ("baseline", 0.05)):
        assert bench.do(Task(kind, "idle", 0, "", tolerance, 1), 0.0)
    assert bench.do(Task("against", "idle", 5, "technique", 0.01, 1), 0.0)
    assert bench._judging.given == [("apart", "clean"), ("apart", "clean"), ("5", "clean")]  # type: ignore[attr-defined]
    assert [one.apart for one in bench.kept.verdicts] == [True, True, False]


def test_a_case_that_misses_a_size_is_not_judged_under_its_name(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = CASES[:2]
    bench._planter.missed = frozenset({(first.id, 1.0)})  # type: ignore[attr-defined]
    task = Task("against", "idle", 1, "technique", 0.01, 40)
    assert bench.do(task, 0.0)
    assert [one.case for one in bench.kept.verdicts] == [second.id]
    assert bench.do(CHAIN, time.monotonic() + 60)
    assert {one.planted_percent for one in bench.kept.verdicts if one.case == first.id} == {0.0, 2.5, 5.0, 12.0}
    bench._planter.missed = frozenset({(case.id, 1.0) for case in CASES})  # type: ignore[attr-defined]
    before = len(bench.kept.verdicts)
    assert not bench.do(task, 0.0)
    assert len(bench.kept.verdicts) == before
    assert "no case was measured to be slower by 1 %" in capsys.readouterr().err
    schedule = Schedule(Kept(), "a", "cpu-1", ("idle",), ("against",))
    while found := schedule.next("idle"):
        schedule.leave(found)
    assert schedule.load() is None
    # Where the model is slowed, the reference has to be slower by as much.
    bench._planter.missed = frozenset({(CASES[0].reference, 25.0)})  # type: ignore[attr-defined]
    assert bench.do(Task("baseline", "idle", 25, "model", 0.10, 60), 0.0)
    assert bench.kept.verdicts[-1].case == next(case.id for case in CASES if case.reference != CASES[0].reference)


class HalfPlanter(Planter):
    """Prepares and plants empty artefacts, and measures what the work costs by its price."""

    def _place(self, case_id: str) -> Path:
        return self.folder / "case-digest"

    def _prepare(self, case_id: str, folder: Path) -> None:
        make_artefact(folder)

    def _measure(self, case_id: str, clean: Path, work: Work, launches: int) -> list[tuple[Work, float]]:
        self._with(clean, work)
        return [(work, 0.5 + work.pairs * (0.1 + 0.001 * work.width))] * launches


def test_a_second_clean_artefact_stays_where_works_are_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planting, "least_width", lambda _: 10)
    monkeypatch.setattr(planting, "plant", lambda _, folder, __: make_artefact(folder))
    case, planter = CASES[0], HalfPlanter(tmp_path, {}, lambda _: None)
    assert planter.measured(case.id, 5.0) is None
    assert planter.measured(case.id, 0.0) == 0
    apart = planter.apart(case.id)
    assert apart != planter.clean(case.id)
    (apart.parent / "9x9").mkdir()
    made = (apart / "manifest.json").stat().st_mtime_ns
    assert planter.met(case.id, 5.0)
    assert planter.measured(case.id, 5.0) == pytest.approx(5, abs=0.15)
    left = {folder.name for folder in apart.parent.iterdir()}
    assert {"clean", "apart"} < left
    assert "9x9" not in left
    assert planter.apart(case.id) == apart
    assert (apart / "manifest.json").stat().st_mtime_ns == made
    planter.known[case.id]["sizes"]["1"]["percent"][0] = 2.795
    assert not planter.met(case.id, 1.0)
    assert planter.met(case.id, 12.0)


def test_what_is_furthest_behind_comes_next() -> None:
    kept = Kept()
    schedule = Schedule(kept, "a", "cpu-1", ("idle", "busy"), ("against",))
    first = schedule.next("idle")
    assert first is not None
    kept.verdicts += [seen(judge="other")] * 9  # another judge's count for nothing
    assert schedule.next("idle") == first
    kept.verdicts.append(seen())
    second = schedule.next("idle")
    assert second is not None
    assert second != first
    assert schedule.load() == "busy"
    whole = [task for task in WANTED if task.part == "against"]
    for task in whole:
        same = seen(load=task.load, planted_percent=task.planted, where=task.where, tolerance=task.tolerance)
        kept.verdicts += [same] * int(task.wanted)
    assert schedule.next("idle") is schedule.load() is None
    assert {task.kind for task in WANTED} == {"against", "baseline", *CHAINS}


def test_verdicts_against_a_baseline_wait_for_all_blocks_that_lie_apart() -> None:
    kept = Kept()
    schedule = Schedule(kept, "a", "cpu-1", ("idle",), ("baseline",))
    now = int(time.time())
    blocks = kept.blocks_of("a", "cpu-1")
    task = schedule.next("idle")
    assert task is not None
    assert task.kind == "block"
    for case in CASES:
        blocks[case.id] = [{"when": now - 3000}, {"when": now - 300}]
    assert schedule.next("idle") is None
    assert schedule.seconds_to_next_block() == pytest.approx(300, abs=5)
    for case in CASES:
        blocks[case.id] = [{"when": now - 600 * (i + 1)} for i in reversed(range(BLOCKS))]
    task = schedule.next("idle")
    assert task is not None
    assert task.kind == "baseline"
    assert schedule.seconds_to_next_block() is None
    elsewhere = Schedule(kept, "a", "cpu-2", ("idle",), ("baseline",)).next("idle")
    assert elsewhere is not None
    assert elsewhere.kind == "block"  # the blocks of another machine say nothing of this one
    few = seen(mode="baseline", planted_percent=task.planted, where=task.where, tolerance=task.tolerance, blocks=3)
    kept.verdicts += [few] * 9  # what fewer blocks could tell is another row
    assert schedule.next("idle") == task


def options(folder: Path, **changes: object) -> argparse.Namespace:
    """What a run of the command is asked for."""
    fields: dict[str, object] = {"minutes": 1.0, "dirty": False, "load": "both", "only": PARTS, "scale": 1.0}
    return argparse.Namespace(**fields | changes, json=folder / "rows.json", folder=folder)


def test_beside_a_neighbour_verdicts_have_the_blocks_that_were_made_idle(bench: Bench) -> None:
    """False alarms against a baseline beside another load were never measured."""
    kept = Kept()
    schedule = Schedule(kept, "a", "cpu-1", ("busy",), ("baseline",))
    assert schedule.next("busy") is schedule.load() is None, "no block is made under load"
    assert schedule.lacks_blocks()
    assert not Schedule(kept, "a", "cpu-1", ("idle", "busy"), ("baseline",)).lacks_blocks()
    assert not Schedule(kept, "a", "cpu-1", ("busy",), ("against",)).lacks_blocks()
    kept.blocks_of("a", "cpu-1").update({case.id: [{"when": 1}] * BLOCKS for case in CASES})
    assert not schedule.lacks_blocks()
    planted: list[float] = []
    while task := schedule.next("busy"):
        assert (task.kind, task.load) == ("baseline", "busy")
        planted.append(task.planted)
        assert bench.do(task, 0.0)
        schedule.leave(task)
    assert sorted(planted) == [0, 12]
    seen_busy = [(one.mode, one.load, one.blocks, one.planted_percent) for one in bench.kept.verdicts]
    assert seen_busy == [("baseline", "busy", BLOCKS, size) for size in planted]
    schedule = Schedule(bench.kept, "a", "cpu-1", ("busy",), ("baseline",))
    counted = {(task.load, task.planted): schedule._share(task) for task in WANTED if task.kind == "baseline"}
    assert counted == pytest.approx(
        {("idle", 0): 0, ("idle", 12): 0, ("idle", 25): 0, ("busy", 0): 1 / 40, ("busy", 12): 1 / 20}
    )


def test_before_another_load_begins_the_clean_references_are_made(bench: Bench) -> None:
    made: list[str] = []

    def clean(case_id: str) -> Path:
        made.append(case_id)
        return Path(case_id)

    bench._planter.clean = clean  # type: ignore[method-assign]
    bench.calibrate()
    assert {case.reference for case in CASES} <= set(made)


def test_without_blocks_a_run_beside_a_neighbour_says_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended at once, without a row, a message or a code."""
    monkeypatch.setattr(detection, "judge_now", lambda *, dirty: "a")
    monkeypatch.setattr(detection, "commit_now", lambda: "a")
    monkeypatch.setattr(detection, "machine", lambda: {"machine": "cpu-1", "software": {}})
    with pytest.raises(SystemExit, match="made on the idle machine, so go on with --append and --load both"):
        detection.run(options(tmp_path, load="busy", only=("baseline",)), Kept())


def test_a_judge_that_is_in_no_commit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"status": " M harness/judge/times.py", "log": "0123456789abcdef"}
    monkeypatch.setattr(detection, "_git", lambda *arguments: answers[arguments[0]])
    with pytest.raises(SystemExit, match=r"harness/judge/times\.py"):
        detection.judge_now(dirty=False)
    assert detection.judge_now(dirty=True) == "0123456789ab-dirty"
    answers["status"] = ""
    assert detection.judge_now(dirty=False) == "0123456789ab"


def test_a_part_names_its_commit_where_that_counts_as_another_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing told which verdicts were of which commit."""
    answers = {"status": "", "log": "0123456789abcdef"}
    monkeypatch.setattr(detection, "_git", lambda *arguments: answers[arguments[0]])
    monkeypatch.setattr(detection, "machine", lambda: {"machine": "cpu-1", "software": {}})
    kept = Kept()
    detection.run(options(tmp_path, minutes=0.0), kept)
    monkeypatch.setattr(detection, "SAME", {"0123456789ab": "ba9876543210"})
    detection.run(options(tmp_path, minutes=0.0), kept)
    parts = Kept.read(tmp_path / "rows.json").parts
    assert [(part["judge"], part["commit"]) for part in parts] == [
        ("0123456789ab", "0123456789ab"),
        ("ba9876543210", "0123456789ab"),
    ]


def test_another_version_of_what_computes_does_not_go_on_with_a_file(tmp_path: Path) -> None:
    """After an upgrade a true change became false alarms, against blocks of the version before."""
    path, versions = tmp_path / "rows.json", {"numpy": "2.4.6", "torch": "2.13.0", "onnxruntime": "1.32.0"}
    old = {"machine": "cpu-1", "software": versions}
    now = {"machine": "cpu-1", "software": {**versions, "pytest-benchmark": "5.2.3", "pyperf": "2.10.0"}}
    newer = {"machine": "cpu-1", "software": {**now["software"], "onnxruntime": "1.33.0"}}
    for parts in ([], [{"cpu": "from before classes"}], [old], [newer, old], [old, {**newer, "machine": "cpu-2"}]):
        detection.check_software(parts, now, path)
    with pytest.raises(SystemExit, match=r"\(onnxruntime 1\.32\.0, now 1\.33\.0\).* another --json"):
        detection.check_software([newer, now], newer, path)
    with pytest.raises(SystemExit, match=r"\(torch 2\.13\.0, now missing\)"):
        detection.check_software([old], {**old, "software": {"numpy": "2.4.6", "onnxruntime": "1.32.0"}}, path)


def test_a_part_names_the_versions_of_the_tools_that_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"numpy": "2.4.6", "pytest-benchmark": "5.2.3", "pyperf": "2.10.0"}
    monkeypatch.setattr(detection, "library_versions", lambda: {**named, "pillow": "12.0.0"})
    assert detection.machine()["software"] == {"python": detection.platform.python_version(), **named}


def test_another_file_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.json"
    path.write_text("{}")
    for arguments in ([], ["--append"]):
        with pytest.raises(SystemExit):
            detection.main(["--json", str(path), *arguments])
    assert "--append" in capsys.readouterr().err
    assert path.read_text() == "{}"


def test_the_price_of_work_is_found_and_met() -> None:
    random = np.random.default_rng(1)
    works = [Work(1, 10), Work(8, 10), Work(8, 256), Work(2, 140), Work(21, 248), Work(44, 244)]
    found = [(w, 0.5 + w.pairs * (0.36 + 0.0009 * w.width) + random.normal(0, 0.4)) for w in works for _ in range(6)]
    prices, interval = _fit(found)
    assert prices == pytest.approx((0.5, 0.36, 0.0009), rel=0.3)
    for size in (1.0, 2.5, 5.0, 12.0, 25.0):
        work = _choose(size, prices, 10, 256)
        assert 10 <= work.width <= 256
        point, low, high = interval(work)
        assert low < point < high
        assert point == pytest.approx(size, abs=0.02)
        assert high - low < 0.1 * size + 0.6


def test_works_of_one_width_are_priced_together() -> None:
    random = np.random.default_rng(3)
    works = [Work(1, 214), Work(32, 214), Work(32, 428), Work(48, 420), Work(101, 426), Work(61, 428), Work(135, 426)]
    for _ in range(20):
        found = [(w, 0.2 + 0.1 * w.pairs + random.normal(0, 0.6)) for w in works for _ in range(4)]
        prices, _ = _fit(found)
        for size in (5.0, 12.0):
            work = _choose(size, prices, 214, 428)
            assert 0.2 + 0.1 * work.pairs == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize(
    ("works", "freedom"),
    [([Work(8, 100)] * 4, 3), ([Work(8, 100)] * 4 + [Work(16, 100)] * 4, 6)],
    ids=["one work", "one width"],
)
def test_an_interval_has_the_freedom_that_the_works_leave(works: list[Work], freedom: int) -> None:
    """Four launches of one work had that of one launch, and an interval seven times as wide."""
    found = [(work, work.pairs + (1.0 if number % 4 < 2 else -1.0)) for number, work in enumerate(works)]
    _, interval = _fit(found)
    point, low, high = interval(works[0])
    assert point == pytest.approx(8)
    error = np.sqrt(len(works) / freedom / 4)  # each launch lies 1 off, and four are of this work
    assert (high - point, point - low) == pytest.approx([t.ppf(0.975, freedom) * error] * 2)


def test_planted_work_gives_the_same_answers(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    clean = make_artefact(tmp_path / "clean")
    (clean / "model" / "network").unlink()
    node = onnx.helper.make_node("Add", ["x", "x"], ["output"], name="twice")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3]) for name in ("x", "output"))
    graph = onnx.helper.make_graph([node], "double", [x], [y])
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), str(clean / "model" / "model.onnx"))
    runtime = OnnxRuntime()
    made = dataclasses.replace(read_manifest(clean), runtime=spec_of(runtime), files=digest_files(clean))
    write_manifest(clean, made)
    batches = load_batches(clean / "inputs.npz")
    save_batches(clean / "expected.npz", [{"output": 2 * batch["x"]} for batch in batches])
    assert least_width(clean) == 3
    plant(clean, tmp_path / "planted", Work(2, 5))
    planted = read_manifest(tmp_path / "planted")
    assert planted.files == digest_files(tmp_path / "planted") != made.files
    network = onnx.load(str(tmp_path / "planted" / "model" / "model.onnx"))
    assert [one.op_type for one in network.graph.node] == ["Add"] + 4 * ["MatMul"]
    session = runtime.load(tmp_path / "planted" / "model", cpu)
    for batch, wanted in zip(batches, load_batches(clean / "expected.npz"), strict=True):
        check_outputs(session.fetch(session(session.stage(batch))), wanted, "planted")


@pytest.mark.parametrize(("factor", "asv", "pyperf"), [(1.0, "unchanged", None), (1.05, "unchanged", "regressed")])
def test_what_other_tools_say_by_their_rules(factor: float, asv: str, pyperf: str | None) -> None:
    random = np.random.default_rng(2)
    before, after = ([1e-3 * scale * random.normal(1, 0.02, 400) for _ in range(10)] for scale in (1.0, factor))
    word, change = asv_says(before, after)
    assert (word, change) == (asv, pytest.approx(factor - 1, abs=0.005))
    word, change = pyperf_says(before, after)
    assert change == pytest.approx(factor - 1, abs=0.005)
    assert pyperf is None or word == pyperf


def test_asv_calls_what_takes_more_than_a_tenth_longer_slower_and_the_reverse_faster() -> None:
    random = np.random.default_rng(3)
    before, after = ([1e-3 * scale * random.normal(1, 0.02, 400) for _ in range(10)] for scale in (1.0, 1.12))
    assert asv_says(before, after)[0] == "regressed"
    assert asv_says(after, before)[0] == "improved"
    assert pyperf_says(after, before)[0] == "improved"


def test_the_command_explains_itself() -> None:
    root = Path(detection.__file__).parent.parent
    command = [detection.sys.executable, "benchmarks/detection.py", "--help"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--append" in done.stdout


def test_long_runs_have_more_orders_than_a_float_counts() -> None:
    times = np.random.default_rng(1).normal(0.011, 0.0001, 1500)
    assert asv_says([times], [times * 1.2])[0] == "regressed"
    assert asv_says([times], [times[::-1].copy()])[0] == "unchanged"


def script_pytest_benchmark(
    folder: Path, monkeypatch: pytest.MonkeyPatch, total: Callable[[list[str]], float]
) -> list[list[str]]:
    """The commands that it is called with. `total` gives the seconds it samples; its mean is 1 ms, then 2 and so on."""
    commands: list[list[str]] = []

    def run(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
        commands.append(command)
        stats = {"total": total(command), "mean": 1e-3 * len(commands), "min": 1e-3}
        saved = folder / "pytest-benchmark" / f"000{len(commands)}_block.json"
        saved.write_text(json.dumps({"benchmarks": [{"stats": stats}]}), encoding="utf-8")
        return 0, ""

    monkeypatch.setattr(rivals, "_run", run)
    return commands


def test_pytest_benchmark_is_asked_for_what_gives_it_the_wanted_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    shares = iter((0.7, 0.7, 0.1, 2.0, 1.0))

    def total(command: list[str]) -> float:
        asked.append(next(float(word.partition("=")[2]) for word in command if "--benchmark-max-time" in word))
        return next(shares) * asked[-1]

    script_pytest_benchmark(tmp_path, monkeypatch, total)
    chain = PluginChain(tmp_path, 6.0)
    heard = [list(chain.add(tmp_path, clean=not number)) for number in range(5)]
    # The second block is longer by what the first one lacked, and keeps its length; never below once or above thrice.
    assert asked == pytest.approx([6.0, 6 / 0.7, 6 / 0.7, 18.0, 6.0])
    assert [one.sampling for one in heard[1]] == pytest.approx([0.7 * 6 + 6] * 2)


def test_a_clean_block_is_compared_with_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = script_pytest_benchmark(tmp_path, monkeypatch, lambda _: 6.0)
    chain = PluginChain(tmp_path, 6.0)
    heard = [list(chain.add(tmp_path, clean=clean)) for clean in (True, False, True, False)]
    compared = [[word for word in command if word.startswith("--benchmark-compare=")] for command in commands]
    assert compared == [[], ["--benchmark-compare=0001"], [], ["--benchmark-compare=0003"]]
    assert [len(one) for one in heard] == [0, 2, 0, 2]
    assert [one[0].change for one in heard if one] == pytest.approx([1.0, 1 / 3])


def test_a_process_that_never_ends_is_a_measurement_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 300.0)

    monkeypatch.setattr(rivals.subprocess, "run", run)
    with pytest.raises(MeasurementError, match="no answer after 300 s"):
        rivals._run(["python"], {})
