"""Making an artefact: apply the techniques, pack, load again, call, check the promises."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
from harness.deployment import Deployment
from harness.errors import EvidenceError, HarnessError, PreparationError
from harness.grid import Address, Case, find_case, suite_module
from harness.hardware.base import Hardware
from harness.model import Model, digest_arrays
from harness.records import Evidence, Scalar
from harness.runtimes.base import Session, check_available
from harness.runtimes.native import load_network, native_runtime
from harness.runtimes.predictor import seed_generators
from harness.specs import spec_of

from .artefact import ARTEFACT_SCHEMA, Manifest, digest_file, digest_files, save_batches, write_manifest
from .imported import imported
from .outputs import check_expected, check_repeats
from .protocol import Prepare, Prepared

try:
    from harness.model import check_order
except ImportError:  # this worker is the running harness's, and the tree may have an older one

    def check_order(model: Model, network: Any) -> None:
        """The tree has it elsewhere, and its networks are not looked at."""


__all__ = ["check_inputs", "evidence_of", "prepare", "recordable"]

INPUT_SEEDS = range(8)
"""One batch of inputs for each: calls go round, so that an answer that was kept from the call before is noticed."""


def prepare(request: Prepare) -> Prepared:
    """Make the artefact of a case in an empty folder.

    Raises `PreparationError`, `EvidenceError`, `SuiteError`, or `UnavailableError` where its runtime is not here.
    """
    case, _ = find_case(Address(request.root, request.file, request.function, request.case_id))
    folder = Path(request.folder)
    without_limits(case.hardware).enter()
    try:
        manifest = _make(case, folder)
    except HarnessError as error:
        error.args = (f"{case.id}: {error}", *error.args[1:])
        raise
    write_manifest(folder, manifest)
    suite = sys.modules[suite_module(request.file)]
    return Prepared(manifest.seconds, manifest.harness_file, str(suite.__file__), imported())


def without_limits(hardware: Hardware) -> Hardware:
    """The hardware without what it limits, where it limits something: what a device serves is made elsewhere."""
    unlimited = getattr(hardware, "unlimited", None)
    return unlimited() if unlimited else hardware


def _make(case: Case, folder: Path) -> Manifest:
    model, hardware = case.model, case.hardware
    scratch, packed = folder / "scratch", folder / "model"
    scratch.mkdir()
    packed.mkdir()
    seed_generators()
    start = time.perf_counter()
    # Held by nothing else, so that it is freed where a technique makes another one of it.
    deployment = case.technique.apply(Deployment(model, _network(model), native_runtime(model.form), hardware, scratch))
    check_available(deployment.runtime, hardware)
    if deployment.batch_size != 1 and not model.batchable:
        raise PreparationError(
            f"{case.technique.id} sets batch_size={deployment.batch_size}, and calls of {model.name} are no batches "
            "(batchable=False): nothing could count the items, by which its speed-up is multiplied; leave batch_size "
            'as it is, and declare the technique with needs="batchable"'
        )
    inputs = [dict(model.inputs(deployment.batch_size, seed)) for seed in INPUT_SEEDS]
    again = digest_arrays(model.inputs(deployment.batch_size, INPUT_SEEDS[-1]))
    deployment.runtime.pack(deployment.network, inputs[0], packed, hardware)
    seconds = time.perf_counter() - start
    shutil.rmtree(scratch)
    check_inputs(model.name, inputs, again)

    session = deployment.runtime.load(packed, hardware)
    staged = [session.stage(batch) for batch in inputs]
    # Copies: outputs may lie in the memory of inputs or of the network, which the next call changes.
    with _wide_inputs_named(inputs[0]):
        expected = [{name: array.copy() for name, array in session.fetch(session(batch)).items()} for batch in staged]
    check_expected(expected, model.batchable, deployment.batch_size)
    # As in turns, where the same staged inputs go round.
    check_repeats(session.fetch(session(staged[0])), expected[0])
    save_batches(folder / "inputs.npz", inputs)
    save_batches(folder / "expected.npz", expected)
    # Of an example that packing has not seen: what was compiled for one must not give its answers for all.
    read = _facts(session, inputs[-1], expected[-1], model)
    return Manifest(
        schema=ARTEFACT_SCHEMA,
        case_id=case.id,
        batch_size=deployment.batch_size,
        batchable=model.batchable,
        runtime=spec_of(deployment.runtime),
        facts=recordable({**deployment.notes, **read}),
        evidence=evidence_of(deployment, read),
        workload={
            "batch": str(deployment.batch_size),
            "inputs": digest_arrays({f"{i}/{name}": a for i, batch in enumerate(inputs) for name, a in batch.items()}),
        },
        size=sum(path.stat().st_size for path in packed.iterdir() if path.is_file()),
        weights=_digest_of(packed),
        files=digest_files(folder),
        seconds=seconds,
        harness_file=str(Path(harness.__file__)),
    )


def _network(model: Model) -> Any:
    network = load_network(model)
    check_order(model, network)
    return network


@contextlib.contextmanager
def _wide_inputs_named(inputs: Mapping[str, Any]) -> Iterator[None]:
    """Raise `PreparationError`, with the cure, where a torch network refuses inputs for being float64."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        wide = [name for name, array in inputs.items() if array.dtype == "float64"]
        if not wide or not re.search("double|float64", str(error), re.IGNORECASE):
            raise
        what = str(error).strip().partition("\n")[0]
        raise PreparationError(
            f"Model.inputs gives {', '.join(wide)} in float64, numpy's own choice, which the network does not take "
            f"({what}); give .astype(np.float32) in Model.inputs, evaluate and calibration alike"
        ) from error


def check_inputs(name: str, batches: Sequence[Mapping[str, Any]], again: str) -> None:
    """Raise `PreparationError` where all batches of a model hold the same values: no answer could be told from one that
    was kept from the call before. Where one has other names, types or shapes than the first: calls of other work would
    be timed as the same. And where the last one has another digest when it is made `again`: no run could be compared
    with another.
    """
    forms = [", ".join(f"{key} {a.dtype}{list(a.shape)}" for key, a in batch.items()) for batch in batches]
    for seed, form in zip(INPUT_SEEDS, forms, strict=True):
        if form != forms[0]:
            raise PreparationError(
                f"Model.inputs of {name} gives {forms[0]} for seed {INPUT_SEEDS[0]} and {form} for seed {seed}, so "
                "that calls of different work would be timed as the same; pad to one length, and give the same names "
                "and types for every seed"
            )
    digests = [digest_arrays(batch) for batch in batches]
    if len(set(digests)) == 1:
        raise PreparationError(
            f"Model.inputs of {name} gives the same values for every seed, so that an answer kept from an earlier call "
            "would look right; make the values from `seed`"
        )
    if again != digests[-1]:
        raise PreparationError(
            f"Model.inputs of {name} gives other values for the same seed, so that each artefact would be called with "
            "inputs of its own, and no run could be compared with another; make the values from `seed` alone, as "
            "numpy.random.default_rng(seed) does"
        )


def _digest_of(packed: Path) -> str:
    """One digest for the files that hold the model; folders beside them hold caches of compilers."""
    files = sorted(path for path in packed.iterdir() if path.is_file())
    return hashlib.sha256(b"".join(map(digest_file, files))).hexdigest()[:16]


def _facts(session: Session, inputs: Any, outputs: Any, model: Model) -> dict[str, Scalar]:
    facts = dict(session.facts(inputs))
    first = next(iter(outputs.values()))
    facts["batch"] = int(first.shape[0]) if model.batchable and first.ndim else 1
    return facts


def recordable(facts: dict[str, Scalar]) -> dict[str, Scalar]:
    """The facts as they are. Raises `PreparationError` for one that no record can hold."""
    for name, value in facts.items():
        if not isinstance(value, (bool, int, float, str)) or (isinstance(value, float) and not math.isfinite(value)):
            raise PreparationError(
                f"the fact {name} is {value!r}, which no record can hold; let the technique or the runtime give "
                "a bool, a finite number or a text of Python's own"
            )
    return facts


def evidence_of(deployment: Deployment, facts: dict[str, Scalar]) -> tuple[Evidence, ...]:
    """The promises held against the facts. Raises `EvidenceError` where one is broken, or there is none."""
    evidence = tuple(promise.check(technique, facts) for technique, promise in deployment.promises)
    if not evidence:
        raise EvidenceError("no technique promised anything, so nobody could tell what was measured")
    broken = [f"{item.technique} promised {item.promise}, found {item.found}" for item in evidence if not item.kept]
    if any(item.technique == "reference" and not item.kept for item in evidence):
        if any(item.technique != "reference" for item in evidence):
            raise EvidenceError(
                f"{'; '.join(broken)}: reference is the model as it is; leave it out of a pipeline that changes that"
            )
        narrow = any(float(facts.get(name, 0)) > 0.001 for name in ("weights.int8", "weights.uint8"))
        hint = "; buffers of 8-bit integers count as weights: make masks bool, and tables int64" if narrow else ""
        raise EvidenceError(
            f"{'; '.join(broken)}: the reference is what everything is compared with, and must be a float32 network "
            f"with at least one weight matrix; let `load` of {deployment.model.name} give that, and make what is to be "
            f"compared with it by a technique{hint}"
        )
    if broken:
        raise EvidenceError("; ".join(broken) + ": the technique did not do what its name says")
    return evidence
