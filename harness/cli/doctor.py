"""`harness doctor`: what can be measured on this machine, what is missing for the rest, and how steady it is."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from harness.cli.noise import Noise, measure_noise
from harness.cli.output import say, show
from harness.cli.survey import Item, Survey, survey
from harness.codec import dumps
from harness.errors import MeasurementError
from harness.measure.environment import unsupported
from harness.runtimes.inductor import no_compiler

__all__ = ["add", "doctor"]


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "doctor",
        help="what is available here, what is missing and how to get it, how noisy this machine is",
        description="Say which hardware, runtimes and techniques are available here and, for each that is not, why and "
        "how to get it; then time a frozen workload for two seconds to see how noisy this machine is.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print the survey. Always 0: what is missing here is no fault."""
    found = survey()
    noise: Noise | None = None
    failure = unsupported()
    if not failure:
        try:
            noise = measure_noise()
        except MeasurementError as error:
            failure = str(error)
    if arguments.json:
        show(dumps({**_fields(found), "noise": noise, "noise_failure": failure}, indent=2))
    else:
        say(_text(found, noise, failure))
    return 0


def _fields(found: Survey) -> dict[str, Any]:
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}


def _text(found: Survey, noise: Noise | None, failure: str) -> Iterator[str]:
    yield f"harness {found.harness}, Python {found.python}, {found.platform}"
    yield from _section("hardware", found.hardware)
    for name, identity in found.identities.items():
        yield from _table(f"identity of {name}: times are compared where all of it is equal", identity.items())
        yield from _table(f"state of {name}", found.states[name].items())
    for name in dict.fromkeys(item.hardware for item in found.runtimes):
        yield from _section(f"runtimes on {name}", [item for item in found.runtimes if item.hardware == name])
        yield from _section(f"techniques on {name}", [item for item in found.techniques if item.hardware == name])
    yield from _section("energy", found.energy)
    yield from _table("software", found.software.items())
    yield from ("", "C++ compiler", f"  {found.compiler or f'none ({no_compiler()})'}")
    yield from ("", "noise")
    for line in noise.lines() if noise else [f"could not be measured: {failure}"]:
        yield f"  {line}"


def _section(title: str, items: Iterable[Item]) -> Iterator[str]:
    yield from ("", title)
    items = list(items)
    names = [f"{item.name} ({item.form})" if item.form else item.name for item in items]
    wide = max(map(len, names), default=0)
    for name, item in zip(names, items, strict=True):
        yield f"  {name:{wide}}  {'available' if item.available else f'not here: {item.reason}'}"


def _table(title: str, pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    rows = [(key, str(value)) for key, value in pairs]
    wide = max((len(key) for key, _ in rows), default=0)
    yield from ("", title)
    for key, value in rows:
        yield f"  {key:{wide}}  {value}"
