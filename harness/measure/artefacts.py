"""The cache of artefacts: content-addressed folders, made by prepare children, never stale."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, MeasurementError, PreparationError, RecordError
from harness.files import owned, sweep
from harness.grid import Address, Case
from harness.measure.child import Child
from harness.measure.crew import Starter, lacked_memory
from harness.measure.data import data_of
from harness.measure.ending import longer
from harness.measure.sources import (
    changed,
    check_temporary,
    code_of,
    contents,
    digest_of,
    inherited,
    relevant_environment,
    timings,
)
from harness.measure.tree import Tree, git
from harness.plan import Plan
from harness.runtimes.inductor import compiler_version
from harness.worker.artefact import ARTEFACT_SCHEMA, Manifest, digest_files, read_manifest
from harness.worker.protocol import PROTOCOL, Prepare, Prepared

__all__ = ["Artefact", "ArtefactCache"]

KEPT_BYTES = 4 * 2**30
BUILDING = ".building"
_CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), ": make room there"),
    errno.EROFS: ": mount its disk for writing",
    **dict.fromkeys(
        # Others' files keep a folder from being emptied, and some file may stand where a folder should.
        (errno.EACCES, errno.EPERM, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR),
        ": make it yours (chown), or remove it",
    ),
}
"""What helps where a folder can't be written, by the system's error."""


@dataclass(frozen=True)
class Artefact:
    """A prepared case on disk. `fresh` says that it was made in this session, so that its making was measured."""

    tree: Tree
    folder: Path
    manifest: Manifest
    fresh: bool


class ArtefactCache:
    """Artefacts of one project, shared between its cases and kept between sessions.

    tree      the project's sources
    folder    where artefacts are kept
    versions  the tree's Python and every library of it with its version (`harness.measure.environment.versions_of`)
    cold      take nothing that an earlier session made
    log       file for what a child prints that makes one, in the folder of a case: two trees' want two names

    Raises `SuiteError` where temporary files lie among the project's sources, or one of these can't be read.
    """

    def __init__(
        self, tree: Tree, folder: Path, versions: Mapping[str, str], plan: Plan, *, cold: bool, log: str = "prepare.log"
    ) -> None:
        check_temporary(tree.root)
        self.tree = tree
        self._folder = folder
        self._plan = plan
        self._cold = cold
        self._log = log
        self._timings = timings(folder, versions, cold=cold)
        # Nothing of the working tree is imported by the children of another commit.
        self._origin = tree.origin if tree.checkout else None
        self._paths = (*tree.paths, *inherited(tree.root, self._origin))
        self._sources = contents(tree.root, self._paths, without=self._origin)
        self._edited = False
        self._fixed = {
            "schema": ARTEFACT_SCHEMA,
            "protocol": PROTOCOL,
            "sources": _digest(self._sources),
            "versions": dict(versions),
            "environment": relevant_environment(),
            "interpreter": tree.python,
            # What an artefact of another commit's tree was made with is looked at when it is made, and then alone.
            "checked": tree.checkout is not None,
            "compiler": compiler_version(),
        }
        self._ready: dict[str, Artefact] = {}
        self._failed: dict[str, HarnessError] = {}
        sweep(folder, BUILDING)  # what processes that are gone were making when they ended

    @property
    def sources(self) -> str:
        """Digest of all that this session measures with: sources, libraries, flags."""
        return digest_of(self._fixed)

    def get(self, case: Case, address: Address, logs: Path, start: Starter = Child) -> Artefact:
        """The artefact of a case, made if it is not there, or no more. Raises `PreparationError` or `MeasurementError`.

        `start` starts the child that makes it. Several threads may ask at a time, each for another artefact, and each
        with a `start` of its own: what memory did not reach for then is made again for who asks alone.
        """
        key = self._key(case, address)
        if key in self._failed:
            raise self._failed[key]
        known = self._ready.get(key)
        if known and (known.folder / "manifest.json").is_file():  # another session that ended may have removed it
            _mark(known.folder)
            return known
        try:
            self._ready[key] = self._kept(key, address) or self._make(key, case, address, logs, start)
        except HarnessError as error:
            # A reference that hangs must not cost its deadline in every case of its model.
            if start is Child or not lacked_memory(error):
                self._failed[key] = error
            raise
        return self._ready[key]

    def look_again(self) -> None:
        """Begin with the sources as they are now, where nothing was made yet and their code is the same: ordinary
        tests, which come before the first case, may have written data beside it. Raises `SuiteError`.
        """
        now = contents(self.tree.root, self._paths, without=self._origin)
        if not self._ready and code_of(now) == code_of(self._sources):
            self._sources, self._fixed["sources"] = now, _digest(now)

    def check_unedited(self, case_id: str, *, data: bool = False) -> None:
        """Raise `PreparationError` where what is imported from the tree is no longer what this session began with:
        children that were started since have other code. `data` beside it concerns what artefacts are made of.
        """
        known = self._sources if data else code_of(self._sources)
        edit = changed(known, contents(self.tree.root, self._paths, without=self._origin, code=not data))
        self._edited = bool(edit)
        if edit:
            raise PreparationError(
                f"{case_id}: sources were edited while the run went on ({edit}); start it again. What a suite writes "
                "itself belongs below reports, in a hidden folder or out of the project; what pytest prints, where tee "
                "keeps it, into a .log file"
            )

    def check_going_on(self, case_id: str) -> None:
        """Raise it before a case is measured as well, once an edit was seen: what came of it would be no result."""
        if self._edited:
            self.check_unedited(case_id)

    def trim(self, limit: int = KEPT_BYTES) -> None:
        """Remove the artefacts that were not used for longest until the others take at most `limit` bytes."""
        if not self._folder.is_dir():
            return
        used = {artefact.folder for artefact in self._ready.values()}
        for folder in used:
            _mark(folder)
        with contextlib.suppress(OSError):  # another session that ends now removes some too, or a user has private ones
            total = 0
            for folder in sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True):
                total += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                if total > limit and folder not in used and not folder.name.startswith("."):
                    shutil.rmtree(folder, ignore_errors=True)

    @functools.cached_property
    def _commit(self) -> str:
        """Git's digest of all files of the commit that the tree is a checkout of; "" for the working tree."""
        return git(self.tree.checkout, "rev-parse", "HEAD^{tree}") if self.tree.checkout else ""

    def _key(self, case: Case, address: Address) -> str:
        data = data_of(case)
        return digest_of(
            {
                **self._fixed,
                "case": [address.file, address.case_id],
                "data": data,
                # Nothing beside the project's folder counts as a source, and `data` is what the working tree's models
                # say: another commit may have other files there.
                "commit": self._commit if data or self.tree.root != self.tree.checkout else "",
                # As children inherit it now: a fixture may have set some of it, and what was imported meanwhile.
                "environment": relevant_environment(),
                "hardware": dict(case.hardware.describe()),
                "variables": dict(case.hardware.environment()),
            }
        )

    def _kept(self, key: str, address: Address) -> Artefact | None:
        if self._cold:
            return None
        folder = self._folder / key
        with contextlib.suppress(RecordError, OSError):
            manifest = read_manifest(folder)
            if digest_files(folder) == manifest.files:
                _mark(folder)
                return Artefact(self.tree.for_suite(address.file), folder, manifest, fresh=False)
        return None

    def _make(self, key: str, case: Case, address: Address, logs: Path, start: Starter) -> Artefact:
        tree, target = self.tree.for_suite(address.file), self._folder / key
        with _writing(case.id, target):
            if target.exists() and not os.access(target, os.W_OK):  # told before a preparation that may take hours
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with _building(case.id, self._folder) as folder:
            request = Prepare(address.root, address.file, address.function, address.case_id, str(folder))
            logs.mkdir(parents=True, exist_ok=True)
            variables = {**case.hardware.environment(), **self._timings(case.hardware)}
            with start(f"preparing {case.id}", logs / self._log, variables, tree) as child:
                child.ask(request)
                try:
                    with longer("prepare_deadline", self._plan.prepare_deadline):
                        prepared = child.reply(Prepared, self._plan.prepare_deadline)
                    tree.check(prepared.harness_file, prepared.suite_file, prepared.modules)
                    child.stop(self._plan.deadline)
                except MeasurementError as error:
                    error.log = error.log or child.tail()
                    raise
            self.check_unedited(case.id, data=True)
            manifest = read_manifest(folder)
            if digest_files(folder) != manifest.files:
                raise PreparationError(f"{case.id}: the artefact's files are not those that the worker wrote")
            with _writing(case.id, target):
                try:
                    folder.rename(target)
                except OSError:
                    # What another session made meanwhile, it may be serving already.
                    if kept := self._kept(key, address):
                        return kept
                    shutil.rmtree(target, ignore_errors=True)
                    folder.rename(target)
        return Artefact(tree, target, manifest, fresh=True)


def _digest(found: Mapping[str, bytes]) -> str:
    return digest_of({name: content.hex() for name, content in found.items()})


def _mark(folder: Path) -> None:
    """Say that an artefact is used now: a session that ends meanwhile would take it for one that nobody uses.

    One of another user's, or on a disk that is for reading alone, serves without that.
    """
    with contextlib.suppress(OSError):
        os.utime(folder)


@contextlib.contextmanager
def _writing(case_id: str, folder: Path) -> Iterator[None]:
    """Raise `PreparationError` where the folder can't be written, as that of another user, or on a full disk."""
    try:
        yield
    except OSError as error:
        cure = _CURES.get(error.errno or 0, "")
        raise PreparationError(f"{case_id}: {folder} can't be written ({error.strerror}){cure}") from error


@contextlib.contextmanager
def _building(case_id: str, parent: Path) -> Iterator[Path]:
    """A folder beside the kept ones, removed unless it was renamed to become one of them."""
    folder = parent / f"{owned(BUILDING)}{uuid.uuid4().hex}"
    with _writing(case_id, parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()  # with the umask's mode: a temporary folder's is closed to others, who may share the cache
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
