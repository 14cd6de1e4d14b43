"""The verdicts that `detection.py` has seen: one line each, the rows that they add up to, and the file of both."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from scipy.stats import beta

from benchmarks.rivals import TOLERANCES

__all__ = ["Kept", "Observed", "Row", "bounds", "counted", "hours", "rows_of", "table"]

SCHEMA = 2


@dataclass(frozen=True)
class Row:
    """What is counted together.

    where      what the extra work was planted in, "" for none
    tolerance  limit of the tool, 0 where it has none
    blocks     how many the baseline held, 0 where nothing was judged against one
    machine    processor, and the class of machine where it was kept
    apart      of verdicts on nothing planted: whether the two artefacts were made apart, or are one folder
    """

    tool: str
    mode: str
    load: str
    planted_percent: float
    where: str
    tolerance: float
    blocks: int
    machine: str
    apart: bool


@dataclass(frozen=True)
class Observed:
    """One verdict.

    when      seconds since 1970
    part      number of the part of the run that it belongs to, which knows the machine
    judge     commit of what sampled and judged
    change    relative change that was estimated (for a baseline, of the metric whose verdict was the worse one)
    sampling  seconds of calls, of both blocks where two are compared; `wall` is all that it took
    pressure  share of the sampling in which some task waited for a processor
    blocks    how many the baseline held, 0 without one
    chain     when the chain began that it is one of, in seconds since 1970; 0 for none
    apart     whether the two artefacts that were compared were made apart, by a process each
    measured_percent  what was planted as it was measured by then; None where that was not kept

    A column with a default is younger than the file: verdicts from before it have the default.
    """

    when: int
    part: int
    judge: str
    tool: str
    mode: str
    load: str
    case: str
    planted_percent: float
    where: str
    tolerance: float
    verdict: str
    change: float
    sampling: float
    wall: float
    pressure: float
    blocks: int
    chain: int = 0
    apart: bool = False
    measured_percent: float | None = None

    def row(self, machine: str) -> Row:
        """What it is counted with, given the machine of its part."""
        tolerance = TOLERANCES.get(self.tool, self.tolerance)
        apart = self.apart and not self.planted_percent
        return Row(
            self.tool, self.mode, self.load, self.planted_percent, self.where, tolerance, self.blocks, machine, apart
        )  # fmt: skip


@dataclass
class Kept:
    """The file: parts with their machines, what was planted, blocks of baselines, verdicts.

    planted  class of machine -> case id -> its calibration: what work costs is each machine's own
    blocks   judge -> class of machine -> case id -> blocks; those of another machine say nothing of this one
    """

    parts: list[dict[str, Any]] = field(default_factory=list)
    planted: dict[str, dict[str, Any]] = field(default_factory=dict)
    blocks: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = field(default_factory=dict)
    verdicts: list[Observed] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Read what `write` wrote, also before the last columns were added. Raises `ValueError` for another file."""
        data = json.loads(path.read_text(encoding="utf-8"))
        names = [one.name for one in fields(Observed)]
        oldest = sum(one.default is MISSING for one in fields(Observed))
        columns = data.get("columns") if isinstance(data, dict) and data.get("schema") == SCHEMA else None
        if columns not in [names[:count] for count in range(oldest, len(names) + 1)]:
            raise ValueError(f"{path} holds no verdicts of this benchmark; give another file, or leave out --append")
        verdicts = [Observed(*row) for row in data["verdicts"]]
        return cls(data["parts"], data["planted"], data["blocks"], verdicts)

    def write(self, path: Path) -> None:
        """Write everything, and the rows anew; an interrupt leaves the old file or the new one, never half of one."""
        *earlier, rows = self.rows().values() or [[]]
        whole = {
            "schema": SCHEMA,
            "rows": rows,
            "rows_of_earlier_judges": [row for rows in earlier for row in rows],
            "beside": [{"chains": tools, **row} for tools, rows in self.beside().items() for row in rows],
            "parts": self.parts,
            "planted": self.planted,
            "blocks": self.blocks,
            "columns": [one.name for one in fields(Observed)],
        }
        lines = ",\n".join(json.dumps(astuple(one)) for one in self.verdicts)
        text = f'{json.dumps(whole, indent=1)[:-2]},\n "verdicts": [\n{lines}\n ]\n}}\n'
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)

    def blocks_of(self, judge: str, machine: str) -> dict[str, list[dict[str, Any]]]:
        """Case id -> the blocks that a judge has made on a class of machine, to be added to."""
        return self.blocks.setdefault(judge, {}).setdefault(machine, {})

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows by judge, that of the last verdict last: those of one never count for another."""
        judges = list(dict.fromkeys(one.judge for one in reversed(self.verdicts)))[::-1]
        return {judge: rows_of((one for one in self.verdicts if one.judge == judge), self.parts) for judge in judges}

    def beside(self) -> dict[str, list[dict[str, Any]]]:
        """The other tools of a kind of chain -> rows of these and of the harness, of the last verdict's judge.

        Only verdicts count that a tool and the harness both gave in one chain, on the same artefact in the same
        minutes.
        """
        steps: dict[tuple[int, str, float], list[Observed]] = defaultdict(list)
        for one in self.verdicts:
            if one.chain and one.judge == self.verdicts[-1].judge and one.verdict != "error":
                steps[one.chain, one.case, one.planted_percent].append(one)
        kinds: dict[str, list[Observed]] = defaultdict(list)
        for step in steps.values():
            others = sorted({one.tool for one in step} - {"harness"})
            if others and any(one.tool == "harness" for one in step):
                kinds[", ".join(others)] += step
        return {tools: rows_of(seen, self.parts) for tools, seen in kinds.items()}


def rows_of(verdicts: Iterable[Observed], parts: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """The rows that these verdicts of one judge add up to, idle before busy, tool by tool, from no change upwards.

    `parts` are those of the file, which know the machines.
    """
    groups: dict[Row, list[Observed]] = defaultdict(list)
    for one in verdicts:
        groups[one.row(_machine(parts[one.part]) if parts else "unknown")].append(one)
    order = sorted(groups, key=lambda row: (row.load != "idle", row.tool != "harness", *astuple(row)[:2], *_rest(row)))
    return [_row(row, groups[row]) for row in order]


def counted(row: Mapping[str, Any]) -> int:
    """The verdicts of a row that its alarms are a share of. What failed has missed what was planted; among those on
    unchanged work it would make alarms look rarer.
    """
    return int(row["verdicts"] if row["planted_percent"] else row["verdicts"] - row["error"])


def hours(verdicts: Iterable[Observed]) -> float:
    """Hours in which these verdicts were made, none of them counted twice: two tools judge one pair of blocks, and the
    verdicts of a chain once shared a clean block.
    """
    total, until = 0.0, 0.0
    for begun, ended in sorted((one.when - one.wall, one.when) for one in verdicts):
        total += max(0.0, ended - max(begun, until))
        until = max(until, ended)
    return total / 3600


def bounds(hits: int, of: int) -> tuple[float, float]:
    """The exact 95 % interval of a rate (Clopper and Pearson 1934), of verdicts that are independent.

    Those of mode `baseline` are not: those of a case share its blocks, and the interval is of these alone.
    """
    if not of:
        return 0.0, 1.0
    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0
    return low, high


def _machine(part: Mapping[str, Any]) -> str:
    """A part's machine for people. The first parts were written without its class."""
    known = f" ({part['machine']})" if "machine" in part else ""
    return f"{part.get('cpu', 'unknown')}{known}"


def _rest(row: Row) -> tuple[str, int, float, float, str, bool]:
    return row.machine, row.blocks, row.tolerance, row.planted_percent, row.where, row.apart


def _row(row: Row, seen: Sequence[Observed]) -> dict[str, Any]:
    words = ("inconclusive", "unchanged", "improved", "error")
    counts = {word: sum(one.verdict == word for one in seen) for word in words}
    alarms = sum(one.verdict == "regressed" for one in seen)
    low, high = bounds(alarms, counted({"verdicts": len(seen), "planted_percent": row.planted_percent, **counts}))
    # What failed took no time that is known; a row of nothing else has the zeros that are kept of it.
    timed = [one for one in seen if one.verdict != "error"] or seen
    seconds = [one.sampling for one in timed]
    measured = [one.measured_percent for one in seen if one.measured_percent is not None]
    return {
        "tool": row.tool,
        "mode": row.mode,
        "load": row.load,
        "planted_percent": row.planted_percent,
        "measured_percent": [min(measured), max(measured)] if measured else None,
        "where": row.where,
        "apart": row.apart,
        "tolerance": row.tolerance or None,
        "blocks": row.blocks,
        "machine": row.machine,
        "judge": seen[0].judge,
        "verdicts": len(seen),
        "alarms": alarms,
        "alarms_bounds": [round(low, 5), round(high, 5)],
        **counts,
        "seconds_per_case": round(statistics.fmean(seconds), 3),
        "median_seconds": round(statistics.median(seconds), 3),
        "most_seconds": round(max(seconds), 3),
        "wall_seconds_per_case": round(statistics.fmean(one.wall for one in timed), 3),
        "median_pressure": round(statistics.median(one.pressure for one in timed), 3),
        "hours": round((max(one.when for one in seen) - min(one.when for one in seen)) / 3600, 2),
    }


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Rows for people."""
    lines = [
        f"{'tool':25} {'mode':11} {'load':5} {'limit':>5} {'planted':>15}  {'alarms':>28} {'unchanged':>9} "
        f"{'improved':>8} {'undecided':>9} {'errors':>6} {'s, mean':>8} {'median':>7} {'wall':>6} "
        f"{'waiting':>7}  machine"
    ]
    for row in rows:
        count = counted(row)
        low, high = row["alarms_bounds"]
        rate = f"{row['alarms']:4d} of {count:4d} [{low:6.2%}, {high:7.2%}]"
        planted = f"{row['planted_percent']:g} % {'apart' if row['apart'] else row['where']}".strip()
        limit = f"{row['tolerance']:.0%}" if row["tolerance"] else "-"
        mode = f"{row['mode']} {row['blocks'] or ''}".strip()
        lines.append(
            f"{row['tool']:25} {mode:11} {row['load']:5} {limit:>5} {planted:>15}  {rate:>28} "
            f"{row['unchanged']:9d} {row['improved']:8d} {row['inconclusive']:9d} {row['error']:6d} "
            f"{row['seconds_per_case']:8.1f} {row['median_seconds']:7.1f} {row['wall_seconds_per_case']:6.1f} "
            f"{row['median_pressure']:7.0%}  {row['machine']}"
        )
    return "\n".join(lines)
