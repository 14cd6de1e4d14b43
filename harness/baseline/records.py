"""What a committed baseline holds, as plain values.

A case has one folder with `portable.json` (what may be compared on every machine) and one `times.<class>.json` for each
class of machine that has measured it, so that two classes never write the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.records import Scalar, Scores

__all__ = ["MACHINE", "Accepted", "Baseline", "Block", "Portable", "Times", "machine_class", "written"]

BASELINE_SCHEMA = 1
MACHINE = r"[A-Za-z0-9_.-]+"
"""What the word of a machine class must match: it is a part of a file's name, by which its times are found again."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What made this the baseline: the commit that was measured, when, and why; and the values before, by metric.

    It is that of the last change: another block, which agrees with what is there, has a time and a commit of its own.
    """

    commit: str
    when: str
    reason: str
    previous: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Block:
    """The launches of one run. Blocks made at different times show how much a machine's hours differ.

    `values` maps a metric to one value a launch in its own unit, `relative` to the same launches' ratio to the anchor
    for the metrics that are judged by it.
    """

    when: str
    commit: str
    values: Mapping[str, tuple[float, ...]]
    relative: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Portable:
    """`portable.json`. `made_on` is the class of the machine that measured it, by the name that it has since its last
    upgrade; `weights` is the digest of the weights it was measured with. `units` are those of the suite's own metrics,
    as far as they were kept: built-in ones have no others.
    """

    schema: int
    suite: str
    case_id: str
    nodeid: str
    workload: Mapping[str, str]
    made_on: str
    weights: str
    values: Mapping[str, float]
    scores: Scores | None
    accepted: Accepted
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Times:
    """`times.<class>.json`: times and memory on one class of machine.

    `ran` counts what the newest block's network consisted of there; empty where that was not kept. `units` are those of
    the suite's own metrics, as in `Portable`.
    """

    schema: int
    suite: str
    case_id: str
    workload: Mapping[str, str]
    identity: Mapping[str, Scalar]
    software: Mapping[str, str]
    blocks: tuple[Block, ...]
    accepted: Accepted
    ran: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known of one case. `others` are the identities of the other machine classes that have times.

    `software` is what there was at the newest times of the class that made the portable part, or where that has none,
    of the class whose times were accepted last; empty where there are no times.
    """

    portable: Portable | None
    times: Times | None
    others: tuple[Mapping[str, Scalar], ...] = ()
    software: Mapping[str, str] = field(default_factory=dict)


def written(record: Portable | Times) -> str:
    """When a record became what it is: times with their newest block, which may be younger than their last change."""
    blocks = record.blocks if isinstance(record, Times) else ()
    return max([record.accepted.when, *(block.when for block in blocks)])


def machine_class(identity: Mapping[str, Scalar]) -> str:
    """The word for a class of machines with this identity: its kind and 8 hexadecimal digits."""
    text = json.dumps(dict(identity), sort_keys=True)
    return f"{identity.get('kind', 'machine')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
