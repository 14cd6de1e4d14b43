"""A baseline as text: short diffs for reviewers, and a digest that no damage and no blended merge survives.

Fields stand in declared order and mappings in alphabetical order, a list of numbers on one line; numbers have six
significant digits, whole ones all of theirs. `digest` is taken over the parsed contents, so that line ends may change.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from harness.baseline.records import BASELINE_SCHEMA, Portable, Times
from harness.codec import UPGRADE, decode, loads
from harness.errors import BaselineError, RecordError

__all__ = ["dump", "parse", "rounded"]

UNROUNDED = "identity"
"""The field whose numbers are names of a machine rather than measurements: its class is their digest."""

CURE = "restore it from git, or delete its folder and accept the case anew"

Record = TypeVar("Record", Portable, Times)


def dump(record: Portable | Times) -> str:
    """The text of a baseline file. Raises `BaselineError` for a number that is not finite."""
    try:
        data = _plain(record)
    except ValueError as error:
        raise BaselineError(f"{record.case_id}: can't be a baseline: {error}") from None
    if not record.units:
        del data["units"]  # most suites have no metrics of their own
    data["digest"] = _digest(data)
    return f"{_format(data, '')}\n"


def parse(cls: type[Record], payload: bytes, source: str) -> Record:
    """Read a baseline file back; `source` names it. Raises `BaselineError` for whatever `dump` did not write."""
    try:
        data = loads(payload.decode("utf-8"), source)
        if not isinstance(data, dict):
            raise RecordError(f"{source}: no object")
        schema = data.get("schema")
        if isinstance(schema, int) and schema > BASELINE_SCHEMA:
            raise BaselineError(
                f"{source}: written in schema {schema} by a newer harness, and this one reads schema "
                f"{BASELINE_SCHEMA}; {UPGRADE}"
            )
        if schema != BASELINE_SCHEMA:
            raise RecordError(f"{source}: schema {schema!r}, this harness reads {BASELINE_SCHEMA}")
        if data.pop("digest", None) != _digest(data):
            raise RecordError(f"{source}: its contents do not match its digest: it is damaged, or was edited by hand")
    except UnicodeDecodeError as error:
        raise BaselineError(f"{source}: not UTF-8 text: {error.reason}; {CURE}") from None
    except BaselineError:
        raise
    except RecordError as error:
        raise BaselineError(f"{error}; {CURE}") from None
    try:
        record: Record = decode(cls, data, source)
    except RecordError as error:
        # The digest fits, so nothing is damaged: a newer harness knows more of such files.
        told = str(error)
        raise BaselineError(told if UPGRADE in told else f"{told}; {UPGRADE}") from None
    return record


def rounded(values: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    """Numbers as they come back from a file."""
    from harness.judge.exact import as_kept  # with it comes scipy, which reading a baseline can do without

    return {name: tuple(as_kept(value) for value in numbers) for name, numbers in values.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: dict(sorted(item.items())) if name == UNROUNDED else _plain(item) for name, item in fields}
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number")
        from harness.judge.exact import as_kept  # with it comes scipy

        kept = as_kept(value)
        return int(kept) if abs(kept) < 2**53 and kept == int(kept) else kept
    return value


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _format(value: Any, indent: str) -> str:
    inner = f"{indent}  "
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(key)}: {_format(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "[\n" + ",\n".join(f"{inner}{_format(item, inner)}" for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
