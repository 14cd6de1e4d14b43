"""Frozen dataclasses to JSON and back, strictly.

One codec serves `run.json`, the journal, the baselines and the messages between processes, so that a field is declared
once, as a typed attribute. Reading refuses what writing would not give: unknown or missing fields, wrong types, NaN,
duplicate keys, excessive depth or size. Nothing here knows what the records mean.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import RecordError

__all__ = ["decode", "dumps", "loads", "pieces"]

MAX_BYTES = 512 * 2**20
MAX_DEPTH = 32
PIECE = 200


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON text of `value` in declaration order; numbers keep all their digits.

    Raises `ValueError` for NaN and infinity, and `TypeError` for what is no record, enum, mapping, sequence or scalar.
    """
    separators = (",", ":") if indent is None else None
    try:
        # A record becomes a mapping only when the encoder comes to it: a run has millions of numbers, and a copy of
        # them all would double its memory.
        return json.dumps(
            value, default=_plain, indent=indent, allow_nan=False, ensure_ascii=False, separators=separators
        )
    except ValueError as error:
        reason = "a number that is not finite has no place in a record: it is an outcome, not a value"
        raise ValueError(f"{reason} ({error})") from None


def pieces(record: object) -> Iterator[str]:
    """The text that `dumps` gives of a record, in parts: that of a run of thousands of cases is never whole in memory.

    Raises as `dumps`.
    """
    kind: type = type(record)
    opening = "{"
    for name in _names(kind):
        value = getattr(record, name)
        yield f"{opening}{dumps(name)}:"
        opening = ","
        if isinstance(value, tuple):
            for start in range(0, len(value), PIECE):
                yield f"{',' if start else '['}{dumps(value[start : start + PIECE])[1:-1]}"
            yield "]" if value else "[]"
        else:
            yield dumps(value)
    yield "}"


def _plain(value: object) -> Any:
    """What the encoder does not know, in words that it knows; its parts may be records again."""
    kind: type = type(value)
    if dataclasses.is_dataclass(kind):  # also one without fields, such as a message that says all by its name
        return {name: getattr(value, name) for name in _names(kind)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} can't be recorded")


def loads(text: str, source: str) -> Any:
    """Parse JSON text strictly; `source` names it in errors. Raises `RecordError`."""
    if len(text) > MAX_BYTES:
        raise RecordError(f"{source}: larger than {MAX_BYTES} bytes")
    if text.lstrip().startswith("<<<<<<<") or "\n<<<<<<< " in text:
        raise RecordError(f"{source}: holds git conflict markers; resolve the merge by taking one side whole")
    try:
        data = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer
        )
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{source}: not valid JSON: {error}") from None
    _check_depth(data, source)
    return data


def decode(cls: Any, data: Any, source: str) -> Any:
    """Rebuild a value of type `cls` from parsed JSON. Raises `RecordError` naming the path of what does not fit."""
    return _decode(cls, data, source)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"key {twice[0]!r} stands twice")
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not allowed")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large for a number")
    return value


def _integer(digits: str) -> int:
    """Fields of type float may be written without a fraction, so an integer must fit into a float too."""
    _finite(digits)
    return int(digits)


def _check_depth(data: Any, source: str) -> None:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise RecordError(f"{source}: nested deeper than {MAX_DEPTH}")


@functools.cache
def _names(cls: type) -> tuple[str, ...]:
    """The fields of a record; none for what is no record."""
    return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()


@functools.cache
def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(cls)
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    }


def _decode(cls: Any, data: Any, where: str) -> Any:
    if type(data) is cls:
        return data
    origin = typing.get_origin(cls)
    if cls is Any:
        return data
    if origin in (typing.Union, types.UnionType):
        return _decode_union(typing.get_args(cls), data, where)
    if origin is tuple:
        item = typing.get_args(cls)[0]
        entries = _expect(list, data, where)
        if set(map(type, entries)) == {item}:  # numbers by the thousand
            return tuple(entries)
        return tuple(_decode(item, entry, f"{where}[{i}]") for i, entry in enumerate(entries))
    if origin is not None and issubclass(origin, Mapping):
        item = typing.get_args(cls)[1]
        pairs = _expect(dict, data, where).items()
        return {key: _decode(item, entry, f"{where}.{key}") for key, entry in pairs}
    if dataclasses.is_dataclass(cls):
        return _decode_dataclass(typing.cast(type, cls), data, where)
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        try:
            return cls(data)
        except ValueError:
            raise RecordError(f"{where}: {data!r} is none of {', '.join(str(m.value) for m in cls)}") from None
    if cls is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if cls is type(None) and data is None:
        return None
    return _expect(cls, data, where)


def _decode_union(options: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in options:
        return None
    for option in options:
        if isinstance(option, type) and type(data) is option:
            return data
    errors = []
    for option in options:
        try:
            return _decode(option, data, where)
        except RecordError as error:
            errors.append(error)
    raise errors[-1]


def _decode_dataclass(cls: type, data: Any, where: str) -> Any:
    fields = _fields(cls)
    entries = _expect(dict, data, where)
    unknown = entries.keys() - fields.keys()
    if unknown:
        raise RecordError(f"{where}: unknown field {sorted(unknown)[0]!r}")
    missing = [name for name, (_, required) in fields.items() if required and name not in entries]
    if missing:
        raise RecordError(f"{where}: field {missing[0]!r} is missing")
    values = {name: _decode(fields[name][0], entry, f"{where}.{name}") for name, entry in entries.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise RecordError(f"{where}: {error}") from None


def _expect(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, cls) or (isinstance(data, bool) and cls is not bool):
        raise RecordError(f"{where}: expected {getattr(cls, '__name__', cls)}, found {type(data).__name__}")
    return data
