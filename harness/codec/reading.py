"""From JSON text back to frozen dataclasses, strictly."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import RecordError

__all__ = ["MAX_BYTES", "UPGRADE", "decode", "loads"]

MAX_BYTES = 512 * 2**20
MAX_DEPTH = 32
UPGRADE = "upgrade with: pip install --upgrade inference-harness"
"""What helps where a newer harness wrote a file."""
_PLAIN = frozenset({bool, int, float, str, type(None)})
"""Types that JSON has itself."""


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
    try:
        return _decoder(cls)(data)
    except _Misfit as misfit:
        raise RecordError(f"{source}{''.join(reversed(misfit.path))}: {misfit}") from None


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


class _Misfit(Exception):
    """What does not fit; its path is put together, from the inside out, only when something does not."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str] = []


@functools.cache
def _decoder(cls: Any) -> Callable[[Any], Any]:
    """What rebuilds values of a type. A run has a million of them, so each type is taken apart once."""
    origin, arguments = typing.get_origin(cls), typing.get_args(cls)
    if cls is Any:
        return lambda data: data
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return _tuple(arguments[0])
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1])
    if dataclasses.is_dataclass(cls):
        return _record(typing.cast(type, cls))
    if isinstance(cls, type) and issubclass(cls, enum.Enum):
        return _choice(cls)
    return _scalar(cls)


def _scalar(cls: type) -> Callable[[Any], Any]:
    def decoded(data: Any) -> Any:
        if type(data) is cls:
            return data
        if cls is float and type(data) is int:
            return float(data)
        raise _unlike(cls, data)

    return decoded


def _choice(cls: type[enum.Enum]) -> Callable[[Any], Any]:
    members = {member.value: member for member in cls}

    def decoded(data: Any) -> Any:
        if isinstance(data, str) and data in members:
            return members[data]
        raise _Misfit(f"{data!r} is none of {', '.join(str(value) for value in members)}")

    return decoded


def _union(options: tuple[Any, ...]) -> Callable[[Any], Any]:
    plain = {option for option in options if option in _PLAIN}
    decoders = [_decoder(option) for option in options if option is not type(None)]

    def decoded(data: Any) -> Any:
        if type(data) in plain:
            return data
        for decoder in decoders[:-1]:
            try:
                return decoder(data)
            except _Misfit:
                continue
        return decoders[-1](data)

    return decoded


def _plain_types(item: Any) -> frozenset[type]:
    """The types whose values are what a field of type `item` holds just as JSON gives them."""
    options = typing.get_args(item) if typing.get_origin(item) in (typing.Union, types.UnionType) else (item,)
    return frozenset(option for option in options if option in _PLAIN)


def _tuple(item: Any) -> Callable[[Any], Any]:
    decoder, plain = _decoder(item), _plain_types(item)

    def decoded(data: Any) -> Any:
        if type(data) is not list:
            raise _unlike(list, data)
        if set(map(type, data)) <= plain:  # numbers by the thousand
            return tuple(data)
        found = []
        try:
            for entry in data:
                found.append(decoder(entry))
        except _Misfit as misfit:
            misfit.path.append(f"[{len(found)}]")
            raise
        return tuple(found)

    return decoded


def _mapping(item: Any) -> Callable[[Any], Any]:
    decoder, plain = _decoder(item), _plain_types(item)

    def decoded(data: Any) -> Any:
        if type(data) is not dict:
            raise _unlike(dict, data)
        if set(map(type, data.values())) <= plain:
            return dict(data)
        return _entries(data, dict.fromkeys(data, decoder))

    return decoded


def _record(cls: type) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(cls)
    fields = {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(cls)}
    required = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def decoded(data: Any) -> Any:
        if type(data) is not dict:
            raise _unlike(dict, data)
        unknown = data.keys() - fields.keys()
        if unknown:
            raise _Misfit(f"unknown field {min(unknown)!r}, as a newer harness may write; {UPGRADE}")
        for name in required:
            if name not in data:
                raise _Misfit(f"field {name!r} is missing")
        values = _entries(data, fields)
        try:
            return cls(**values)
        except ValueError as error:
            raise _Misfit(str(error)) from None

    return decoded


def _entries(data: dict[str, Any], decoders: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    name = ""
    try:
        for name, entry in data.items():
            found[name] = decoders[name](entry)
    except _Misfit as misfit:
        # A key may be a stranger's, whose line breaks would begin lines of the log that the error is printed in.
        misfit.path.append(f".{name if name.isprintable() else repr(name)}")
        raise
    return found


def _unlike(cls: Any, data: Any) -> _Misfit:
    return _Misfit(f"expected {getattr(cls, '__name__', cls)}, found {type(data).__name__}")
