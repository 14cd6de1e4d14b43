"""Deterministic, realistic runs for the tests of the report."""

from __future__ import annotations

import math
import random

from harness.metrics import METRICS
from harness.plan import Plan
from harness.records import (
    RUN_SCHEMA,
    Comparison,
    Environment,
    Estimate,
    Evidence,
    Launch,
    Measurement,
    Outcome,
    Result,
    Run,
    Scores,
    Verdict,
)
from harness.units import percent, with_interval

_MODELS = {
    "digits": (2.1e-3, 0.986, 61e6, 231_000),
    "minilm": (11.2e-3, 0.784, 412e6, 22_700_000),
    "magika": (4.4e-3, 0.944, 96e6, 812_000),
    "silero": (0.9e-3, 0.957, 71e6, 309_000),
}
_TECHNIQUES = {
    "reference": (1.0, 0.0, 1.0, 1.0),
    "bf16": (1.6, -0.001, 0.78, 0.5),
    "fp16": (0.82, 0.0, 0.80, 0.5),
    "compiled": (1.31, 0.0, 1.12, 1.0),
    "onnxruntime": (2.2, 0.0, 0.41, 1.0),
    "onnxruntime+int8_dynamic": (0.36, -0.004, 0.36, 0.27),
    "onnxruntime+int8_static": (3.4, -0.003, 0.33, 0.26),
    "pruned_channels:0.5+onnxruntime": (3.9, -0.011, 0.30, 0.31),
    "distilled:student+onnxruntime": (6.8, -0.021, 0.27, 0.06),
    "batched:32+onnxruntime": (5.1, 0.0, 0.62, 1.0),
}
_ENDINGS = {
    ("minilm", "fp16"): (Outcome.FAILED, "fp16: the exported graph does not load: Type Error in node Cast_12"),
    ("magika", "bf16"): (Outcome.UNAVAILABLE, "bf16 needs a torch network, and magika exists only as ONNX"),
    ("magika", "compiled"): (Outcome.UNAVAILABLE, "compiled needs a torch network, and magika exists only as ONNX"),
    ("magika", "distilled:student+onnxruntime"): (Outcome.OOM, "the kernel ended the prepare child: out of memory"),
    ("silero", "bf16"): (Outcome.KILLED, "a serve child was killed by signal 9, not by the harness"),
    ("silero", "compiled"): (Outcome.CRASHED, "a serve child ended with a segmentation fault (signal 11)"),
    ("silero", "pruned_channels:0.5+onnxruntime"): (Outcome.TIMEOUT, "the prepare child gave no reply for 900 seconds"),
    ("silero", "distilled:student+onnxruntime"): (Outcome.PREMATURE_EXIT, "a serve child exited with 0 in a turn"),
    ("silero", "onnxruntime+int8_dynamic"): (Outcome.INVALID, "int8_dynamic promised nodes.quantized >= 1, found 0"),
    ("silero", "batched:32+onnxruntime"): (Outcome.INTERRUPTED, "the run was interrupted by the user"),
}
_SUITE = "test_{}"
_LOG = """[harness] loading artefact
2026-05-04 10:11:12.131 [W:onnxruntime:, graph.cc:4885] Removing initializer 'fc.bias'. It is not used by any node.
Traceback (most recent call last):
  File "harness/worker/serve.py", line 88, in load
    session = runtime.load(folder, hardware)
RuntimeError: Type Error: Type (tensor(float16)) of output arg of node (Cast_12) does not match
"""


def sample_run(models: int = 4, techniques: int = 10, *, samples: int = 60, mode: str = "compare") -> Run:
    """A run of `models` x `techniques` cases; the same values every time."""
    results: list[Result] = []
    comparisons: list[Comparison] = []
    for m in range(models):
        base = list(_MODELS)[m % 4]
        model = base if m < 4 else f"{base}_{m}"
        for technique in list(_TECHNIQUES)[:techniques]:
            # One generator a case, so that no value depends on how large the grid is.
            rng = random.Random(f"{model}/{technique}")
            ending = _ENDINGS.get((model, technique))
            result = _ended(model, technique, *ending) if ending else _completed(rng, base, model, technique, samples)
            results.append(result)
            if mode in ("compare", "strict"):
                comparisons += _compare(random.Random(f"{model}/{technique}/baseline"), result)
    if mode in ("compare", "strict"):
        comparisons.append(_missing())
    baselines = {
        f"{r.suite}/{r.case_id}": {
            "commit": "9f2c41d07be1" if r.model != "silero" else "17aa90cd3312",
            "when": "2026-04-27T09:14:03+00:00" if r.model != "silero" else "2026-03-30T16:40:51+00:00",
            "reason": "first baselines" if r.model != "silero" else "silero 6.2.3: the new graph is 4 % faster",
            "differs": "onnxruntime 1.30.0 -> 1.32.0",
        }
        for r in results
        if r.outcome is Outcome.COMPLETED
    }
    return Run(
        schema=RUN_SCHEMA,
        id="2026-05-04T10-08-30.4f1c",
        started="2026-05-04T10:08:30+00:00",
        finished="2026-05-04T10:17:42+00:00",
        complete=True,
        filtered=False,
        mode=mode,
        command="pytest suites/ --baseline=compare",
        plan=Plan().record(),
        environment=_environment(),
        metrics=tuple(metric.record() for metric in METRICS),
        results=tuple(results),
        comparisons=tuple(comparisons),
        expected=len(results),
        baselines=baselines,
        seconds=552.0,
    )


def _environment() -> Environment:
    return Environment(
        hardware={
            "cpu": {
                "kind": "cpu",
                "model": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
                "cores": 2,
                "threads": 1,
                "instruction_sets": "avx avx2 fma avx512f avx512_vnni amx_int8",
                "hypervisor": "yes",
                "protocol": 1,
                "anchor": 1,
            }
        },
        software={"python": "3.11.9", "torch": "2.13.0", "onnxruntime": "1.32.0", "onnx": "1.23.0", "numpy": "2.4.6"},
        state={"load_1min": 0.42, "pressure": 0.03, "kernel": "6.12.0"},
        commit="c06f05e485c2f31d58dfde5f82494762cf0d4ef6",
        dirty=True,
    )


def _head(model: str, technique: str) -> dict[str, str]:
    suite = _SUITE.format(model)
    case_id = f"{model}/{technique}/cpu"
    return {
        "suite": suite,
        "case_id": case_id,
        "nodeid": f"suites/{suite}.py::test_inference[{case_id}]",
        "model": model,
        "technique": technique,
        "hardware": "cpu",
    }


def _ended(model: str, technique: str, outcome: Outcome, reason: str) -> Result:
    evidence = (Evidence("int8_dynamic", "nodes.quantized >= 1", "0", False),) if outcome is Outcome.INVALID else ()
    return Result(**_head(model, technique), outcome=outcome, reason=reason, evidence=evidence, log=_LOG)


def _completed(rng: random.Random, base: str, model: str, technique: str, samples: int) -> Result:
    latency, accuracy, memory, parameters = _MODELS[base]
    speed, cost, less, smaller = _TECHNIQUES[technique]
    speed *= math.exp(rng.gauss(0, 0.12))
    if base == "minilm" and "int8_dynamic" in technique:
        speed = 2.7
    items = 32 if "batched" in technique else 1
    per_launch = [items * latency / speed * math.exp(rng.gauss(0, 0.006)) for _ in range(3)]
    point, low, high = _interval(per_launch)
    reference = technique == "reference"
    speedups = [] if reference else [speed * math.exp(rng.gauss(0, 0.004)) for _ in range(3)]
    anchored = tuple(value / 3.1e-3 for value in per_launch)

    def single(name: str, value: float) -> Measurement:
        return Measurement(name, Estimate.exact(value), (value,))

    measurements = [
        Measurement("latency.p50", Estimate(point, low, high, 3, 900), tuple(per_launch), anchored),
        *(
            Measurement(name, Estimate(point * f, low * f, high * f, 3, 900), tuple(v * f for v in per_launch))
            for name, f in (("latency.p90", 1.06), ("latency.p95", 1.1), ("latency.p99", 1.35), ("latency.mean", 1.02))
        ),
        Measurement(
            "throughput",
            Estimate(items / point, items / high, items / low, 3, 900),
            tuple(items / v for v in per_launch),
        ),
        *([Measurement("speedup", Estimate(*_interval(speedups), 3, 900), tuple(speedups))] if speedups else []),
        single("memory.inference", memory * less * 0.3),
        single("memory.peak", memory * less),
        single("utilization.cpu", 0.99),
        single("size", float(round(parameters * smaller * 4))),
        single("parameters", float(round(parameters * (smaller if technique[0] in "pd" else 1)))),
        single("quantized", 0.97 if "int8" in technique else 0.0),
        single("accuracy", accuracy + cost),
        *(
            [
                single("fidelity.error", 0.0031),
                single("fidelity.sqnr", 50.2),
                single("fidelity.cosine", 0.9999952),
                single("fidelity.identical", 0.012),
                single("fidelity.agreement", 0.996),
            ]
            if not reference
            else []
        ),
        single("time.load", 0.21),
        single("time.prepare", 14.0 if "pruned" in technique else 2.0),
    ]
    launches = tuple(_launch(rng, i, value, latency, speedups, samples) for i, value in enumerate(per_launch))
    return Result(
        **_head(model, technique),
        outcome=Outcome.COMPLETED,
        measurements=tuple(measurements),
        launches=launches,
        scores=Scores("share right", accuracy + cost, 1000, bits="ff" * 125, answers="5be1"),
        evidence=tuple(Evidence(step, "nodes.total >= 1", "42", True) for step in technique.split("+")),
        facts={
            "runtime": "onnxruntime 1.32.0",
            "provider": "CPUExecutionProvider",
            "nodes.total": 42,
            "batch": items,
            "weights.float32": 0.97,
        },
        workload={"inputs": "a1b2c3", "evaluation": "d4e5f6"},
        weights="77aa01",
        seconds={"prepare": 2.0, "measure": 9.1, "evaluate": 1.4, "memory": 0.8},
        warnings=("launch 2: other processes waited for a CPU in 31 % of the time",) if technique == "compiled" else (),
        log="[harness] ready\n",
    )


def _launch(rng: random.Random, i: int, value: float, reference: float, speedups: list[float], samples: int) -> Launch:
    def arm(median: float) -> tuple[float, ...]:
        warm = [1.4, 1.15, 1.05]
        return tuple(
            median
            * (warm[k] if k < len(warm) else 1.0)
            * math.exp(abs(rng.gauss(0, 0.03)) + (rng.random() > 0.97) * 0.4)
            for k in range(samples)
        )

    arms = {"candidate": arm(value), "anchor": arm(3.1e-3)}
    if speedups:
        arms["reference"] = arm(reference)
    return Launch(
        phase="screen",
        rounds=40,
        anchored=value / 3.1e-3,
        speedup=speedups[i] if speedups else None,
        samples=arms,
        cpu_share=0.99,
        load_seconds=0.21,
        wall_seconds=1.9,
        pressure=0.02 + 0.08 * i * rng.random(),
        started_first="candidate",
    )


def _interval(values: list[float]) -> tuple[float, float, float]:
    logs = [math.log(v) for v in values]
    mean = sum(logs) / len(logs)
    half = 4.3 * (sum((x - mean) ** 2 for x in logs) / (len(logs) - 1) / len(logs)) ** 0.5
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


# (model, technique, metric) -> change, limit, verdict
_CHANGES = {
    ("digits", "compiled", "latency.p50"): (0.152, 0.10, Verdict.REGRESSED),
    ("digits", "compiled", "speedup"): (-0.131, 0.05, Verdict.REGRESSED),
    ("minilm", "onnxruntime+int8_dynamic", "accuracy"): (-0.0076, 0.0026, Verdict.REGRESSED),
    ("magika", "onnxruntime+int8_static", "memory.peak"): (1.62, 0.02, Verdict.REGRESSED),
    ("digits", "batched:32+onnxruntime", "latency.p50"): (0.094, 0.10, Verdict.INCONCLUSIVE),
    ("minilm", "compiled", "speedup"): (0.034, 0.05, Verdict.INCONCLUSIVE),
    ("digits", "onnxruntime", "latency.p50"): (-0.21, 0.10, Verdict.IMPROVED),
    ("minilm", "distilled:student+onnxruntime", "latency.p50"): (0.01, 0.10, Verdict.NEW),
    ("magika", "onnxruntime", "latency.p50"): (0.01, 0.10, Verdict.INCOMPARABLE),
}


def _compare(rng: random.Random, result: Result) -> list[Comparison]:
    key = (result.suite, result.case_id)
    verdicts = {Outcome.UNAVAILABLE: Verdict.SKIPPED, Outcome.INVALID: Verdict.INVALID}
    if result.outcome is not Outcome.COMPLETED:
        verdict = verdicts.get(result.outcome, Verdict.ERROR)
        return [Comparison(*key, "case", verdict, f"{result.case_id} could not be measured: {result.reason}.")]
    found = []
    for metric in ("latency.p50", "speedup", "memory.peak", "size", "accuracy"):
        measurement = result.measurement(metric)
        if measurement is None:
            continue
        declared = next(m for m in METRICS if m.name == metric)
        candidate = measurement.estimate
        change, limit, verdict = _CHANGES.get((result.model, result.technique, metric), (0.0, None, Verdict.UNCHANGED))
        if verdict in (Verdict.NEW, Verdict.INCOMPARABLE):
            why = {
                Verdict.NEW: "there is no baseline yet; accept it with harness accept",
                Verdict.INCOMPARABLE: "the baseline was made on another class of machine (model differs)",
            }[verdict]
            found.append(Comparison(*key, metric, verdict, f"{metric}: {why}.", candidate=candidate))
            continue
        sampled = candidate.low != candidate.high
        change = change or (rng.gauss(0, 0.006) if sampled else 0.0)
        half = (0.06 if verdict is Verdict.INCONCLUSIVE else 0.018) if sampled else 0.0
        limit = limit or max(declared.tolerance or 0.0, (declared.slack or 0.0) / abs(candidate.point))
        low, high = change - half, change + half
        old = Estimate(*(v / (1 + change) for v in (candidate.point, candidate.low, candidate.high)), 9, 900)
        reason = (
            f"{metric} {_text(candidate, declared.unit)} against {_text(old, declared.unit)}: {percent(change)}; "
            f"limit {percent(limit if declared.better == 'lower' else -limit)}; {candidate.launches} launches."
        )
        found.append(
            Comparison(
                *key,
                metric,
                verdict,
                reason,
                baseline=old,
                candidate=candidate,
                change=Estimate(change, low, high, 3, 900),
                limit=limit,
                unit=declared.unit,
                better=declared.better,
                detectable=0.031 if sampled else None,
            )
        )
    return found


def _text(estimate: Estimate, unit: str) -> str:
    return with_interval(estimate.point, estimate.low, estimate.high, unit)


def _missing() -> Comparison:
    return Comparison(
        _SUITE.format("digits"),
        "digits/pruned_weights:0.8/cpu",
        "case",
        Verdict.MISSING,
        "digits/pruned_weights:0.8/cpu has a baseline and was not measured: it was deleted, renamed or never selected.",
    )
