"""What is measured and what was decided, as plain values.

Everything here is a frozen dataclass of scalars, tuples and mappings, goes through `harness.codec`, and depends on the
standard library alone: a run is judged and drawn on a machine that has neither torch nor the hardware. A run of ten
thousand cases has a million of them, hence the slots.

Units: time in seconds, sizes in bytes, shares and accuracies in 0..1. Case ids are `model/technique/hardware`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

__all__ = [
    "Comparison",
    "Environment",
    "Estimate",
    "Evidence",
    "Launch",
    "Measurement",
    "Outcome",
    "Result",
    "Run",
    "Scalar",
    "Scores",
    "Verdict",
]

RUN_SCHEMA = 1

Scalar = bool | int | float | str


class Outcome(enum.StrEnum):
    """How measuring a case ended. Only `completed` carries numbers that may be judged."""

    COMPLETED = "completed"
    FAILED = "failed"
    OOM = "oom"
    KILLED = "killed"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    PREMATURE_EXIT = "premature_exit"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"
    ABSENT = "absent"
    INTERRUPTED = "interrupted"


class Verdict(enum.StrEnum):
    """What a comparison with the baseline came to, mildest first: the worst of a case is the case's."""

    UNCHANGED = "unchanged"
    IMPROVED = "improved"
    SKIPPED = "skipped"
    NEW = "new"
    INCOMPARABLE = "incomparable"
    INCONCLUSIVE = "inconclusive"
    REGRESSED = "regressed"
    MISSING = "missing"
    INVALID = "invalid"
    ERROR = "error"

    @property
    def severity(self) -> int:
        """Position in the order above; larger is worse."""
        return _SEVERITIES[self]

    def fails(self, *, strict: bool) -> bool:
        """Whether this verdict makes a test fail. `strict` also refuses what could not be decided."""
        mildest = Verdict.NEW if strict else Verdict.REGRESSED
        return self.severity >= mildest.severity


_SEVERITIES = {verdict: position for position, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % confidence interval over launches; of a baseline with several blocks over these, of
    accuracy over examples. `low == high == point` says: exact, not sampled.
    """

    point: float
    low: float
    high: float
    launches: int = 1
    samples: int = 1

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """The estimate of a quantity that is counted, not sampled."""
        return cls(value, value, value)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric of one case.

    `values` holds one value a launch, in the metric's unit. `relative` holds, for a time that is judged against a
    baseline, the same launches' ratio to the anchor workload (no unit); empty where the value is judged as it is.
    """

    metric: str
    estimate: Estimate
    values: tuple[float, ...]
    relative: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """One set of fresh processes, arms taking turns, and what it showed.

    `phase` is `screen`, `confirm`, or `repeated` for a disturbed launch that was made again and counts for nothing.
    `samples` maps an arm (`candidate`, `reference`, `anchor`, `previous`) to the seconds of its timed calls in time
    order, evenly thinned to a few hundred. `speedup`, `anchored` and `against` are medians of paired ratios over the
    rounds: reference time / candidate time per item, candidate time / anchor time, and candidate time / time of the
    same case in another tree; None where that arm was not there. `pressure` is the share of the launch's wall time in
    which some task on the machine waited for a CPU (None where the kernel does not tell).
    `latency` holds the candidate's `p50 p90 p95 p99 mean` over all its timed calls, in seconds, and `calls` is their
    number. `state` is what the hardware said of itself while the last turns were still warm: clocks, throttling,
    foreign processes.

    `seconds` is the time in which turns were taken. `within` maps `anchored`, `speedup` and `against` to the standard
    error that the logarithm of that ratio has from its rounds alone. `steal` is the share of processor time that the
    hypervisor gave to others, `disturbed` the share of rounds in which an arm was kept from the processor and which
    could not be made again; `unsettled` names the arms whose calls never came to a steady time.
    """

    phase: str
    rounds: int
    anchored: float | None
    speedup: float | None
    samples: Mapping[str, tuple[float, ...]]
    cpu_share: float
    load_seconds: float
    wall_seconds: float
    pressure: float | None = None
    started_first: str = ""
    latency: Mapping[str, float] = field(default_factory=dict)
    state: Mapping[str, Scalar] = field(default_factory=dict)
    against: float | None = None
    calls: int = 0
    seconds: float = 0.0
    within: Mapping[str, float] = field(default_factory=dict)
    steal: float | None = None
    disturbed: float = 0.0
    unsettled: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether it is evidence: a disturbed launch that was made again is none."""
        return self.phase != "repeated"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One promise of one technique, and what was found in the artefact that runs."""

    technique: str
    promise: str
    found: str
    kept: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """The credit that each evaluated example earned, compactly.

    `bits` is one character an example for credits that are all 0 or 1 (`"0"`, `"1"`), packed as hexadecimal, most
    significant bit first, padded with zeros to whole bytes. Empty where credits are fractions: then only the value is
    compared. `answers` is a digest of the decisions themselves.
    """

    label: str
    value: float
    examples: int
    bits: str = ""
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run was made. `hardware` maps a hardware name to its identity, the comparability key of times.

    `identity` values that differ make times incomparable; `software` values that differ are suspected causes of a
    change and never incomparability; `state` (load, pressure, governor) is for the reader.
    """

    hardware: Mapping[str, Mapping[str, Scalar]]
    software: Mapping[str, str]
    state: Mapping[str, Scalar]
    commit: str = ""
    dirty: bool = False

    def saying(self, more: Mapping[str, Scalar]) -> Environment:
        """The same with more of its state."""
        return replace(self, state={**self.state, **more})


@dataclass(frozen=True, slots=True)
class Result:
    """What measuring one case gave.

    `facts` is what the runtime says of the artefact that ran (types, nodes, sparsity); `evidence` the promises checked
    against them. `workload` maps parts of the case's definition (inputs, batch, evaluation data, metric) to digests:
    results whose workloads differ do not answer the same question. `seconds` maps stages to wall time spent.
    `cut_short` says that more launches were wanted when the time for this case was over.
    """

    suite: str
    case_id: str
    nodeid: str
    model: str
    technique: str
    hardware: str
    outcome: Outcome
    reason: str = ""
    measurements: tuple[Measurement, ...] = ()
    launches: tuple[Launch, ...] = ()
    scores: Scores | None = None
    evidence: tuple[Evidence, ...] = ()
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    workload: Mapping[str, str] = field(default_factory=dict)
    weights: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    log: str = ""
    cut_short: bool = False

    def measurement(self, metric: str) -> Measurement | None:
        """The measurement of `metric`, None where this case has none."""
        for measurement in self.measurements:
            if measurement.metric == metric:
                return measurement
        return None

    def asked_as(self, other: Result) -> bool:
        """Whether both were evaluated on the same data: else the one's accuracy says nothing beside the other's."""
        return self.workload.get("evaluation") == other.workload.get("evaluation")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one case against its baseline, decided. `reason` is a sentence that stands alone.

    `change` is relative (0.05 is five percent more) with the interval that judged; `limit` is the tolerated relative
    change. `metric` is `"case"` for what concerns the case as a whole: missing, error, invalid, skipped.
    """

    suite: str
    case_id: str
    metric: str
    verdict: Verdict
    reason: str
    baseline: Estimate | None = None
    candidate: Estimate | None = None
    change: Estimate | None = None
    limit: float | None = None
    unit: str = ""
    better: str = "lower"
    detectable: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of suites: the only input of reports. Written to `run.json`; see docs/run-json.md.

    `mode` is `compare`, `strict`, `update`, `off` or `quick`; `complete` is False while it goes on and when it was
    interrupted; `filtered` is True where only a part of the suites was selected. `baselines` says by `suite/case_id`
    where a baseline came from (`commit`, `when`, `reason`), which software `differs`, and which counts of what `ran`. A
    metric that a suite changed or added carries its name as `suite`. `reserved` are cases, as `suite/case_id`, that the
    suites have and that were left to the full selection.
    """

    schema: int
    id: str
    started: str
    finished: str
    complete: bool
    filtered: bool
    mode: str
    command: str
    plan: Mapping[str, Scalar]
    environment: Environment
    metrics: tuple[Mapping[str, Scalar | None], ...]
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    expected: int = 0
    baselines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seconds: float = 0.0
    reserved: tuple[str, ...] = ()

    @property
    def xfailed(self) -> frozenset[str]:
        """The cases, as `suite/case_id`, that failed as the marks of their tests expect, so that the run does not."""
        return frozenset(str(self.environment.state.get("xfailed", "")).splitlines())
