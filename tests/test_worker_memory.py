"""What counts as memory of a process that runs a model."""

from __future__ import annotations

import mmap
from pathlib import Path

from harness.worker.memory import mapped

PAGES = 512


def test_the_models_mapped_files_count_and_no_others(tmp_path: Path) -> None:
    model, other = tmp_path / "artefact" / "model.bin", tmp_path / "artefacts.bin"
    model.parent.mkdir()
    for path in (model, other):
        path.write_bytes(b"x" * mmap.PAGESIZE * PAGES)
    with model.open("rb") as mine, other.open("rb") as others:
        own = mmap.mmap(mine.fileno(), 0, access=mmap.ACCESS_COPY)
        foreign = mmap.mmap(others.fileno(), 0, access=mmap.ACCESS_READ)
    assert sum(own[:: mmap.PAGESIZE]) == sum(foreign[:: mmap.PAGESIZE])
    assert mapped(model.parent) == PAGES * mmap.PAGESIZE
    own[0] = own[mmap.PAGESIZE] = 0
    assert sum(own[:: mmap.PAGESIZE])  # where all was one huge page, the kernel has taken it apart and forgotten it
    assert mapped(model.parent) == (PAGES - 2) * mmap.PAGESIZE, "pages that were written to are in the process's own"
    own.close()
    assert mapped(model.parent) == 0
    foreign.close()
