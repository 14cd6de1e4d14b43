"""The benchmarks run as their documents say; their figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
