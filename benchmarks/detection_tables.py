"""The tables of docs/benchmarks.md on detection, in Markdown, of what `detection.py` has written, below its extent.

    python benchmarks/detection_tables.py [FILE]

A test holds the document to both of the committed file: paste these where it changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.detected import Kept, counted, hours

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "benchmarks" / "results" / "detection.json"
SIZES = (0.0, 2.5, 5.0, 12.0)
"""What other tools are shown for; 1 % is below the limits of all that have one."""

Row = dict[str, Any]


def extent(kept: Kept) -> str:
    """How many verdicts there are, and the hours in which they were made."""
    own = hours(one for one in kept.verdicts if one.tool == "harness")
    return f"{len(kept.verdicts)} verdicts, made in {hours(kept.verdicts):.1f} hours, {own:.1f} of them the harness's"


def tables(kept: Kept) -> list[list[str]]:
    """Each table's lines, of the last verdict's judge; one without rows is left out.

    On the idle machine, and at the end the harness's own of the busy one.
    """
    rows = list(kept.rows().values())[-1]
    others = [row for row in rows if row["tool"] != "harness" and row["load"] == "idle"]
    made = [*_harness(rows, "idle"), _others(others)]
    for tools, beside in kept.beside().items():
        made.append(_others([row for row in beside if row["load"] == "idle"], f"beside each other ({tools})"))
    made += _harness(rows, "busy", ", beside a neighbour")
    return [lines for lines in made if len(lines) > 2]


def _harness(rows: Sequence[Row], load: str, said: str = "") -> Iterator[list[str]]:
    own = [row for row in rows if row["tool"] == "harness" and row["load"] == load]
    in_turns = (row for row in own if row["mode"] == "against" and row["tolerance"] == 0.01)
    yield _table(f"machine{said}", list(_own(in_turns)))
    yield _table(f"blocks, machine{said}", list(_own(row for row in own if row["mode"] == "baseline")))


def _own(rows: Iterator[Row]) -> Iterator[str]:
    for row in rows:
        place = f"{row['blocks']}, {row['machine']}" if row["blocks"] else row["machine"]
        planted = f"{row['planted_percent']:g} %{' in the model' if row['where'] == 'model' else ''}"
        yield (
            f"| {place} | {planted}{', made apart' if row['apart'] else ''} | {counted(row)} | {_found(row)} | "
            f"{row['unchanged']} | {row['inconclusive']} | {row['seconds_per_case']:.1f} s | "
            f"{row['most_seconds']:.0f} s |"
        )


def _found(row: Row) -> str:
    low, high = (100 * end for end in row["alarms_bounds"])
    alarms, others = row["alarms"], counted(row) - row["alarms"]
    if not alarms:
        return f"0 (at most {high:.1f} %)"
    return f"{alarms} ({low:.0f} % or more)" if not others else f"{alarms} ({low:.0f} to {high:.0f} %)"


def _table(first: str, lines: list[str]) -> list[str]:
    return [
        f"| {first} | planted | verdicts | found | unchanged | inconclusive | sampling, mean | at most |",
        "|---|---|---|---|---|---|---|---|",
        *lines,
    ]


def _others(rows: Sequence[Row], title: str = "found by") -> list[str]:
    """Tools by size, all machines together; for what was made apart and what was not, the 0 % of both."""
    lines = [
        f"| {title} | limit | {' | '.join(f'{size:g} %' for size in SIZES)} | sampling, mean |",
        f"|---|---|{'---|' * len(SIZES)}---|",
    ]
    for tool in dict.fromkeys(row["tool"] for row in rows):
        own = [row for row in rows if row["tool"] == tool]
        limit = f"{own[0]['tolerance']:.0%}".replace("%", " %") if own[0]["tolerance"] else "none"
        cells = []
        for size in SIZES:
            here = [row for row in own if row["planted_percent"] == size]
            cells.append(f"{sum(row['alarms'] for row in here)} of {sum(counted(row) for row in here)}")
        timed = [(row["verdicts"] - row["error"], row["seconds_per_case"]) for row in own]
        seconds = sum(count * mean for count, mean in timed) / max(1, sum(count for count, _ in timed))
        lines.append(f"| {tool} | {limit} | {' | '.join(cells)} | {seconds:.1f} s |")
    return lines


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("file", type=Path, nargs="?", default=COMMITTED, help="the file (default: the committed one)")
    kept = Kept.read(parser.parse_args().file)
    print("\n\n".join([extent(kept), *("\n".join(lines) for lines in tables(kept))]))


if __name__ == "__main__":
    main()
