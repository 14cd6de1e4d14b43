from __future__ import annotations

import dataclasses
import errno
import functools
import os
import random
import stat
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.codec import dumps, pieces
from harness.errors import RecordError
from harness.files import point_latest, sync_folder, write_atomic
from harness.records import Estimate, Run
from harness.report.journal import JOURNAL_NAME, Journal
from harness.report.overview import Overview
from harness.report.record import read_run, write_run
from harness.worker.protocol import Stop
from tests.report_hostile import hostile_run
from tests.report_samples import sample_run


@pytest.fixture(scope="module")
def run() -> Run:
    return sample_run(4, 4, samples=6)


@pytest.mark.parametrize("make", [lambda: sample_run(samples=6), hostile_run, lambda: sample_run(mode="quick")])
def test_what_was_written_is_read(tmp_path: Path, make) -> None:
    run = make()
    assert write_run(run, tmp_path / "reports" / "one") == tmp_path / "reports" / "one" / "run.json"
    assert read_run(tmp_path / "reports" / "one") == run
    assert read_run(str(tmp_path / "reports" / "one" / "run.json")) == run


def test_no_number_that_is_not_finite_is_written(tmp_path: Path, run: Run) -> None:
    write_run(run, tmp_path)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            write_run(dataclasses.replace(run, seconds=value), tmp_path)
    assert read_run(tmp_path) == run


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"schema":1', '"schema":2', "newer harness"),
        ('"schema":1', '"schema":"1"', "no record of a run"),
        ('"mode":"compare"', '"mode":"compere"', "none of compare, strict"),
        ('"mode":"compare"', '"mode":"compare","extra":1', "unknown field 'extra', .*upgrade with: pip install"),
        ('"verdict":"regressed"', '"verdict":"fine"', "none of unchanged"),
        ('"better":"lower"', '"better":"upper"', "neither lower nor higher|a metric needs"),
        ('"filtered":false', '"filtered":0', "expected bool"),
        ('"seconds":552.0', '"seconds":1e999', "too large"),
        ('"seconds":552.0', '"seconds":NaN', "NaN is not allowed"),
        ('"seconds":552.0', f'"seconds":{"9" * 400}', "too large"),
        ('"expected":16', '"expected":16,"expected":16', "stands twice"),
    ],
)
def test_nonsense_is_refused(run: Run, tmp_path: Path, old: str, new: str, what: str) -> None:
    path = write_run(run, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(RecordError, match=what):
        read_run(path)


def test_two_results_of_one_case_are_refused(run: Run, tmp_path: Path) -> None:
    path = write_run(dataclasses.replace(run, results=(*run.results, run.results[0])), tmp_path)
    with pytest.raises(RecordError, match="a second result of 'digits/reference/cpu' in suite 'test_digits'"):
        read_run(path)


def test_no_word_of_a_record_begins_a_line_of_an_error(run: Run, tmp_path: Path) -> None:
    """In the log of the job that reads it, a line break of a stranger's record was followed by a command to GitHub."""
    word = "x\n::error::y"
    strange = dataclasses.replace(run.results[0], suite=word, case_id=word)
    misfit = dataclasses.replace(run.results[0], workload={word: 1})
    for results in ((strange, strange), (misfit,)):
        path = write_run(dataclasses.replace(run, results=results), tmp_path)
        with pytest.raises(RecordError, match=r"x\\n::error::y") as caught:
            read_run(path)
        assert "\n" not in str(caught.value)


def test_every_cut_is_an_error(tmp_path: Path) -> None:
    data = write_run(sample_run(1, 2, samples=1), tmp_path).read_bytes().rstrip()
    path = tmp_path / "run.json"
    for length in random.Random(1).sample(range(len(data)), 150):
        path.write_bytes(data[:length])
        with pytest.raises(RecordError):
            read_run(path)


def test_no_flipped_byte_makes_a_failure_pass(tmp_path: Path) -> None:
    original = sample_run(1, 4, samples=1)
    data = write_run(original, tmp_path).read_bytes()
    path = tmp_path / "run.json"
    rng = random.Random(2)
    assert Overview(original).headline.state == "failed"
    for place in rng.sample(range(len(data)), 300):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            run = read_run(path)
        except RecordError:
            continue
        # What can still be read changed a name or a digit, and never a verdict.
        assert [c.verdict for c in run.comparisons] == [c.verdict for c in original.comparisons]
        assert Overview(run).headline.state == "failed"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"{" * 100, b"[" * 100_000, b"\x00" * 50])
def test_what_is_no_run_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"run\.json"):
        read_run(tmp_path)


def test_a_path_without_a_run_names_the_cure(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "run.json"):
        with pytest.raises(RecordError, match=r"make one with: pytest suites/"):
            read_run(path)
    with pytest.raises(RecordError, match="can't be read"):
        read_run("a\x00b")


def test_a_full_disk_leaves_the_older_file_whole(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(run, tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_run(dataclasses.replace(run, id="newer"), tmp_path)
    assert read_run(tmp_path) == run
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_filesystem_that_syncs_no_folders_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    assert write_atomic(tmp_path / "page.html", b"x").read_bytes() == b"x"


def test_where_no_folder_can_be_opened_a_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a report was a traceback."""
    opened = os.open

    def files_only(path: str | Path, *arguments: int, **options: int) -> int:
        if os.path.isdir(path):  # noqa: PTH112 (no path is made for another system)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *arguments, **options)

    with monkeypatch.context() as windows:
        windows.setattr(os, "open", files_only)
        windows.setattr(os, "name", "nt")
        sync_folder(tmp_path)


def test_a_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert write_atomic(tmp_path / "page.html", b"x").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def write_journal(folder: Path, run: Run, *, end: bool) -> Path:
    journal = Journal(folder)
    journal.start(run)
    for result in run.results:
        said = [c for c in run.comparisons if (c.suite, c.case_id) == (result.suite, result.case_id)]
        journal.append(result, said)
    present = {(r.suite, r.case_id) for r in run.results}
    journal.append(None, [c for c in run.comparisons if (c.suite, c.case_id) not in present])
    if end:
        journal.end(finished=run.finished, seconds=run.seconds, complete=run.complete)
    return folder / JOURNAL_NAME


def test_a_journal_gives_the_run_back(tmp_path: Path, run: Run) -> None:
    write_journal(tmp_path, run, end=True)
    assert Journal.load(tmp_path) == run
    assert read_run(tmp_path) == run


def test_a_journal_without_an_end_is_an_unfinished_run(tmp_path: Path, run: Run) -> None:
    path = write_journal(tmp_path, run, end=False)
    found = read_run(tmp_path)
    assert not found.complete
    assert found == dataclasses.replace(run, complete=False)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert [r.case_id for r in read_run(path).results] == [r.case_id for r in run.results[:2]]
    assert Overview(read_run(path)).headline.state == "incomplete"


def test_what_is_said_anew_of_a_run_stands_for_what_its_journal_began_with(tmp_path: Path, run: Run) -> None:
    journal = Journal(tmp_path)
    journal.start(dataclasses.replace(run, filtered=True))
    journal.append(run.results[0], ())
    for _ in range(2):
        journal.amend(dataclasses.replace(run, complete=True))
    journal.append(run.results[1], ())
    assert Journal.load(tmp_path) == dataclasses.replace(run, results=run.results[:2], comparisons=(), complete=False)
    assert len(journal.path.read_bytes().splitlines()) == 4, "what has not changed is said once"


def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path, run: Run) -> None:
    path = write_journal(tmp_path, run, end=False)
    data = path.read_bytes()
    for cut in (1, 7, 60):
        path.write_bytes(data[:-cut])
        with pytest.warns(RuntimeWarning, match="cut off while it was written"):
            found = read_run(tmp_path)
        assert not found.complete
        assert found.results == run.results


def test_damage_before_the_last_line_is_an_error(tmp_path: Path, run: Run) -> None:
    path = write_journal(tmp_path, run, end=True)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = {
        ":2": [lines[0], lines[1][:-9] + b"\n", *lines[2:]],
        ":1": [b"{}\n", *lines[1:]],
        ":3": [*lines[:2], b'{"result":null}\n', *lines[2:]],
        f":{len(lines)}": [*lines[:-1], lines[-1], lines[1]],
        "UTF-8": [lines[0], b"\xff\xfe\n"],
    }
    for where, content in damaged.items():
        path.write_bytes(b"".join(content))
        with pytest.raises(RecordError, match=where):
            read_run(tmp_path)


def test_every_cut_of_a_journal_is_an_error_or_an_unfinished_run(tmp_path: Path) -> None:
    run = sample_run(1, 4, samples=1)
    path = write_journal(tmp_path, run, end=True)
    data = path.read_bytes()
    for length in random.Random(3).sample(range(len(data)), 120):
        path.write_bytes(data[:length])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found = read_run(tmp_path)
        except RecordError:
            continue
        assert not found.complete
        assert Overview(found).headline.state in ("incomplete", "failed")


def test_a_journal_that_was_ended_tells_its_run_without_the_cases(tmp_path: Path, run: Run) -> None:
    path = write_journal(tmp_path, run, end=True)
    assert Journal.outline(tmp_path) == dataclasses.replace(run, results=(), comparisons=())
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for content in (b"", lines[0], b"".join(lines[:-1]), data[:-9], b"{}\n" + data, b"\xff" + data, data + lines[1]):
        path.write_bytes(content)
        assert Journal.outline(tmp_path) is None
    path.unlink()
    assert Journal.outline(tmp_path) is None


def test_a_second_run_does_not_write_into_the_folder_of_the_first(tmp_path: Path, run: Run) -> None:
    write_journal(tmp_path, run, end=True)
    with pytest.raises(RecordError, match="a folder of its own"):
        Journal(tmp_path).start(run)


def test_a_failed_append_leaves_no_half_line(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_journal(tmp_path, dataclasses.replace(run, results=run.results[:2]), end=False)
    before = path.read_bytes()
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 200:
            raise OSError(errno.ENOSPC, "no space left")
        return real(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="no space left"):
        Journal(tmp_path).append(run.results[2], ())
    monkeypatch.undo()
    assert path.read_bytes() == before
    Journal(tmp_path).append(run.results[2], ())
    assert read_run(tmp_path).results == run.results[:3]


def test_a_line_of_the_journal_reaches_the_disk_unless_another_just_did(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a power cut would take all cases of a run along."""
    now = [100.0]
    synced: list[int] = []
    monkeypatch.setattr("harness.report.journal.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(journal.path.stat().st_size))
    journal = Journal(tmp_path / "run")
    journal.start(dataclasses.replace(run, results=(), comparisons=()))
    synced.clear()
    for seconds, count in ((200.0, 1), (200.1, 1), (200.6, 2), (200.7, 2)):
        now[0] = seconds
        journal.append(run.results[0], ())
        assert len(synced) == count, seconds
    journal.end(finished=run.finished, seconds=run.seconds, complete=True)
    assert len(synced) == 3, "the end is there whenever the line before it came"
    lines = [len(line) for line in journal.path.read_bytes().splitlines(keepends=True)]
    assert synced == [sum(lines[:written]) for written in (2, 4, 6)], "each was written before"


def test_run_json_counts_more_than_the_journal(tmp_path: Path, run: Run) -> None:
    write_journal(tmp_path, run, end=False)
    write_run(run, tmp_path)
    assert read_run(tmp_path).complete


def test_run_json_is_the_same_with_the_journal_at_hand(tmp_path: Path, run: Run) -> None:
    """Also of what changed after it was written there, of rows in another order, and of what never was there."""
    journal = Journal(tmp_path / "journal")
    journal.start(run)
    odd = dataclasses.replace(run.results[0], log="surrogate\udcff, \u2028 and µ")
    results = (odd, *run.results[1:6])
    rows = {result.case_id: [c for c in run.comparisons if c.case_id == result.case_id] for result in results}
    for result in results[:5]:
        journal.append(result, rows[result.case_id])
    journal.append(None, run.comparisons[-1:])
    changed = dataclasses.replace(results[1], reason="another")
    comparisons = [c for result in (*results[3:], *results[:3]) for c in rows[result.case_id]]
    comparisons[1:2] = [dataclasses.replace(comparisons[1], reason="another"), *run.comparisons[-1:]]
    ended = dataclasses.replace(run, results=(odd, changed, *results[2:]), comparisons=tuple(comparisons))
    for found in (ended, dataclasses.replace(ended, results=(), comparisons=())):
        paths = [write_run(found, tmp_path / "with", journal), write_run(found, tmp_path / "without")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
        assert read_run(paths[0]) == found


def test_latest_points_to_the_newest_run(tmp_path: Path, run: Run) -> None:
    for name in ("first", "second"):
        folder = tmp_path / "reports" / name
        write_run(dataclasses.replace(run, id=name), folder)
        link = point_latest(folder)
        assert link.is_symlink()
        assert str(link.readlink()) == name
        assert read_run(link).id == name
    (tmp_path / "moved").mkdir()
    (tmp_path / "reports").rename(tmp_path / "moved" / "reports")
    assert read_run(tmp_path / "moved" / "reports" / "latest").id == "second"


def test_latest_never_replaces_what_is_no_link(tmp_path: Path, run: Run) -> None:
    write_run(run, tmp_path / "one")
    (tmp_path / "latest").mkdir()
    with pytest.raises(RecordError, match="left alone"):
        point_latest(tmp_path / "one")
    assert (tmp_path / "latest").is_dir()


def test_where_no_link_can_be_made_the_cure_is_named(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some disks that are mounted from elsewhere: every run was refused with the system's words alone."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    write_run(run, tmp_path / "one")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(RecordError) as caught:
        point_latest(tmp_path / "one")
    said = "no link can be made there: Operation not permitted; name a folder on another disk with --reports"
    assert str(caught.value) == f"{tmp_path / 'latest'}: {said}"


def test_a_dangling_latest_is_replaced(tmp_path: Path, run: Run) -> None:
    (tmp_path / "latest").symlink_to("gone")
    write_run(run, tmp_path / "one")
    assert read_run(point_latest(tmp_path / "one")) == run


def test_a_record_is_compact(run: Run, tmp_path: Path) -> None:
    path = write_run(sample_run(samples=300), tmp_path)
    assert path.stat().st_size < 4_000_000
    assert Overview(read_run(path)).failures


def test_a_record_in_pieces_is_the_record() -> None:
    for run in (sample_run(), dataclasses.replace(sample_run(), results=(), comparisons=())):
        assert "".join(pieces(run)) == dumps(run)


def test_a_record_is_written_without_what_it_remembers() -> None:
    @dataclasses.dataclass(frozen=True)
    class Remembering:
        number: int

        @functools.cached_property
        def double(self) -> int:
            return 2 * self.number

    record = Remembering(4)
    assert record.double == 8
    assert dumps(record) == '{"number":4}'


def test_a_number_that_is_none_has_no_place_in_a_record() -> None:
    with pytest.raises(ValueError, match="not finite has no place in a record"):
        dumps(Estimate(1.0, float("nan"), float("inf")))
    with pytest.raises(TypeError, match="object can't be recorded"):
        dumps({"thing": object()})


def test_a_record_without_fields_is_an_empty_object() -> None:
    """Such as the message that ends a child, which says all by its name."""
    assert dumps(Stop()) == "{}"
