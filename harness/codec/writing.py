"""From frozen dataclasses to JSON text."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["dumps", "pieces"]

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


def pieces(record: object, known: Mapping[str, Iterable[str]] | None = None) -> Iterator[str]:
    """The text that `dumps` gives of a record, in parts: that of a run of thousands of cases is never whole in memory.

    `known` maps a field that holds a tuple to the texts of its items, one or more a text, where the caller has them
    already. Raises as `dumps`.
    """
    opening = "{"
    for name, value in _plain(record).items():
        yield f"{opening}{dumps(name)}:"
        opening = ","
        if isinstance(value, tuple):
            comma = "["
            for text in (known or {}).get(name) or _listed(value):
                yield f"{comma}{text}"
                comma = ","
            yield "]" if value else "[]"
        else:
            yield dumps(value)
    yield "}"


def _listed(values: Sequence[object]) -> Iterator[str]:
    """The texts of a sequence's items, some hundred a piece, with commas between them."""
    return (dumps(values[start : start + PIECE])[1:-1] for start in range(0, len(values), PIECE))


def _plain(value: object) -> Any:
    """What the encoder does not know, in words that it knows; its parts may be records again."""
    kind: type = type(value)
    taken_apart = _taken_apart(kind)
    if taken_apart:
        names, parts = taken_apart
        return dict(zip(names, parts(value), strict=True))
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} can't be recorded")


@functools.cache
def _taken_apart(cls: type) -> tuple[tuple[str, ...], Callable[[object], Iterable[Any]]] | None:
    """The fields of a record, and what gives their values in this order; None for what is no record.

    A record may have no fields, such as a message that says all by its name.
    """
    if not dataclasses.is_dataclass(cls):
        return None
    names = tuple(field.name for field in dataclasses.fields(cls))
    if len(names) > 1:
        return names, operator.attrgetter(*names)
    return names, lambda record: [getattr(record, name) for name in names]
