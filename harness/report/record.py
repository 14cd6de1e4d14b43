"""`run.json`: the record of a run, written whole and read strictly."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.codec import MAX_BYTES, UPGRADE, decode, loads, pieces
from harness.errors import RecordError
from harness.files import write_atomic
from harness.metrics import Metric
from harness.names import TEST_FAILED
from harness.records import RUN_SCHEMA, Comparison, Run, Verdict
from harness.report.journal import JOURNAL_NAME, Journal

__all__ = ["MODES", "RUN_NAME", "failed_tests", "metrics_of", "read_data", "read_run", "run_of", "write_run"]

RUN_NAME = "run.json"
MODES = ("compare", "strict", "update", "off", "quick")


def write_run(run: Run, folder: Path, journal: Journal | None = None) -> Path:
    """Write `folder/run.json` in one step. Raises `OSError` where the disk refuses; an older file is left as it was.

    `journal` is the one that the run was written to, where it is still at hand.
    """
    # A file name that is not UTF-8 reaches us as lone surrogates; written as \\udcXX they come back the same.
    text = itertools.chain(pieces(run, journal.texts(run) if journal else None), ["\n"])
    return write_atomic(folder / RUN_NAME, (part.encode("utf-8", "backslashreplace") for part in text))


def read_run(path: Path | str) -> Run:
    """Read a run from its folder, its `run.json` or its `journal.jsonl`.

    A folder whose `run.json` is absent holds a run that was cut short: its journal is read, and the run says
    `complete=False`. Raises `RecordError` for a path that holds no run and for every kind of damage.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in (RUN_NAME, JOURNAL_NAME) if (path / name).exists()), path / RUN_NAME)
    if path.suffix == ".jsonl":
        return checked(Journal.load(path.parent), str(path))
    return run_of(read_data(path), str(path))


def read_data(path: Path) -> Any:
    """What the JSON of a `run.json` holds, for `run_of`. Raises `RecordError` for what can't be read or is damaged."""
    return loads(_read(path), str(path))


def run_of(data: Any, source: str) -> Run:
    """The run that parsed JSON holds; `source` names it in errors. Raises `RecordError`."""
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != RUN_SCHEMA:
        raise RecordError(_wrong_schema(source, schema))
    run: Run = decode(Run, data, source)
    return checked(run, source)


def metrics_of(run: Run, suite: str) -> dict[str, Metric]:
    """The metrics of a suite by name, rebuilt from a run's record, so that no code of the suite is needed.

    Raises `RecordError` for a record that is none of a metric.
    """
    metrics: dict[str, Metric] = {}
    for record in run.metrics:
        fields = dict(record)
        derived = fields.pop("derived", False)
        if fields.pop("suite", "") in (None, "", suite):
            metric: Metric = decode(Metric, fields, f"run {run.id}: metrics")
            metrics[metric.name] = dataclasses.replace(metric, derive=_not_kept) if derived else metric
    return metrics


def _not_kept(values: Mapping[str, float]) -> float:
    """In the place of the function by which a metric was derived: the suite's code alone has it."""
    raise NotImplementedError


def failed_tests(run: Run) -> dict[tuple[str, str], Comparison]:
    """What the run says of each case whose own test failed, such as by a promise in its body, by suite and case id.

    Only running the test again can take that back. What a run says of a baseline is judged anew by whoever reads it.
    """
    return {
        (one.suite, one.case_id): one
        for one in run.comparisons
        if (one.metric, one.verdict) == ("case", Verdict.ERROR)
        and one.reason.startswith(f"{one.case_id}: {TEST_FAILED}")
    }


def checked(run: Run, source: str) -> Run:
    """`run` itself, if its parts fit together. Raises `RecordError` where types alone would let nonsense through."""
    if run.schema != RUN_SCHEMA:
        raise RecordError(_wrong_schema(source, run.schema))
    if run.mode not in MODES:
        raise RecordError(f"{source}.mode: {run.mode!r} is none of {', '.join(MODES)}")
    seen: set[tuple[str, str]] = set()
    for i, result in enumerate(run.results):
        key = (result.suite, result.case_id)
        if key in seen:
            where = f"{source}.results[{i}]"
            raise RecordError(f"{where}: a second result of {result.case_id!r} in suite {result.suite!r}")
        seen.add(key)
    for i, comparison in enumerate(run.comparisons):
        if comparison.better not in ("lower", "higher"):
            raise RecordError(f"{source}.comparisons[{i}].better: {comparison.better!r} is neither lower nor higher")
    for i, metric in enumerate(run.metrics):
        if not all(isinstance(metric.get(field), str) for field in ("name", "unit", "better")):
            raise RecordError(f"{source}.metrics[{i}]: a metric needs the words name, unit and better")
    return run


def _wrong_schema(source: str, schema: Any) -> str:
    if isinstance(schema, int) and schema > RUN_SCHEMA:
        return (
            f"{source}: written in schema {schema} by a newer harness, and this one reads schema {RUN_SCHEMA}; "
            f"{UPGRADE}"
        )
    return f"{source}: no record of a run (its field 'schema' is {schema!r}, not {RUN_SCHEMA})"


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecordError(f"{path}: larger than {MAX_BYTES} bytes, which no run of ours is")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecordError(f"{path}: there is no run here; make one with: pytest suites/") from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: can't be read: {error}") from None
