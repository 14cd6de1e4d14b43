"""The cache of artefacts: content-addressed folders, made by prepare children, never stale."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MeasurementError, PreparationError, RecordError
from harness.grid import Address, Case
from harness.measure.child import Child
from harness.measure.sources import digest_of, digest_sources, relevant_environment
from harness.plan import Plan
from harness.worker.artefact import ARTEFACT_SCHEMA, Manifest, digest_files, read_manifest
from harness.worker.protocol import PROTOCOL, Prepare, Prepared

__all__ = ["Artefact", "ArtefactCache"]

KEPT_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Artefact:
    """A prepared case on disk. `fresh` says that it was made in this session, so that its making was measured."""

    folder: Path
    manifest: Manifest
    fresh: bool


class ArtefactCache:
    """Artefacts of one project, shared between its cases and kept between sessions.

    root      the project's folder
    folder    where artefacts are kept
    versions  every installed library with its version
    cold      take nothing that an earlier session made
    """

    def __init__(self, root: Path, folder: Path, versions: Mapping[str, str], plan: Plan, *, cold: bool) -> None:
        self._root = root
        self._folder = folder
        self._plan = plan
        self._cold = cold
        self._fixed = {
            "schema": ARTEFACT_SCHEMA,
            "protocol": PROTOCOL,
            "sources": digest_sources(root),
            "versions": dict(versions),
            "environment": relevant_environment(),
        }
        self._ready: dict[str, Artefact] = {}

    @property
    def sources(self) -> str:
        """Digest of the sources that this session measures."""
        return str(self._fixed["sources"])

    def get(self, case: Case, address: Address, logs: Path) -> Artefact:
        """The artefact of a case, made if it is not there. Raises `PreparationError` or `MeasurementError`."""
        key = self._key(case, address)
        if key not in self._ready:
            kept = None if self._cold else self._kept(key)
            self._ready[key] = kept or self._make(key, case, address, logs)
        return self._ready[key]

    def trim(self, limit: int = KEPT_BYTES) -> None:
        """Remove the artefacts that were not used for longest until the others take at most `limit` bytes."""
        used = {artefact.folder for artefact in self._ready.values()}
        for folder in used:
            os.utime(folder)
        total = 0
        for folder in sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True):
            total += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if total > limit and folder not in used and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)

    def _key(self, case: Case, address: Address) -> str:
        model = case.model
        return digest_of(
            {
                **self._fixed,
                "case": [address.file, address.function, address.case_id],
                "data": dict(model.data()) if model.data else {},
                "hardware": dict(case.hardware.describe()),
                "variables": dict(case.hardware.environment()),
            }
        )

    def _kept(self, key: str) -> Artefact | None:
        folder = self._folder / key
        with contextlib.suppress(RecordError, OSError):
            manifest = read_manifest(folder)
            if digest_files(folder) == manifest.files:
                return Artefact(folder, manifest, fresh=False)
        return None

    def _make(self, key: str, case: Case, address: Address, logs: Path) -> Artefact:
        target = self._folder / key
        with _building(self._folder) as folder:
            request = Prepare(address.root, address.file, address.function, address.case_id, str(folder))
            log = logs / "prepare.log"
            with Child(f"preparing {case.id}", log, case.hardware.environment(), self._root) as child:
                child.ask(request)
                try:
                    child.reply(Prepared, self._plan.prepare_deadline)
                    child.stop(self._plan.deadline)
                except MeasurementError as error:
                    error.log = error.log or child.tail()
                    raise
            manifest = read_manifest(folder)
            if digest_files(folder) != manifest.files:
                raise PreparationError(f"{case.id}: the artefact's files are not those that the worker wrote")
            shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
        return Artefact(target, manifest, fresh=True)


@contextlib.contextmanager
def _building(parent: Path) -> Iterator[Path]:
    """A folder beside the kept ones, removed unless it was renamed to become one of them."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".building-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
