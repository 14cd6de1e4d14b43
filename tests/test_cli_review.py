"""`harness review` asks about each change, writes what is accepted, and keeps what was decided."""

from __future__ import annotations

import dataclasses
import errno
import http.client
import os
import pty
import queue
import re
import select
import shutil
import subprocess
import sys
import termios
import time
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.baseline.store import Store
from harness.cli.main import main
from harness.cli.review import _Walk
from harness.errors import RecordError
from harness.files import point_latest
from harness.records import Outcome
from harness.report.record import read_run
from harness.review import Acceptor, Decisions, Pending, Review, decisions
from harness.review.page import key_of
from harness.review.server import Server
from tests.cli_runs import a_case, of_test, on_disk, without_numbers
from tests.judge_samples import portables


class Place:
    """A baseline of `a` to `d`, and a run in which `a` is slower, `b` larger, `c` as it was, and `e` new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.baselines = folder / "baselines"
        for block in range(3):
            cases = [a_case(name, latency=0.010 * (1 + block / 1000)) for name in "abcd"]
            self.accept(on_disk(folder, f"block{block}", cases), "--reason", "first figures")
        self.run = on_disk(
            folder, "now", [a_case("a", latency=0.02), a_case("b", size=2e6), a_case("c"), a_case("e")], complete=True
        )

    def accept(self, run: str, *options: str) -> None:
        assert main(["accept", "--from", run, "--baselines", str(self.baselines), *options]) == 0

    def options(self, run: str = "") -> list[str]:
        return ["review", "--from", run or self.run, "--baselines", str(self.baselines)]

    def review(self) -> Review:
        return Review(read_run(self.run), Path(self.run), Store(self.baselines))

    def reasons(self) -> dict[str, str]:
        return {one.case_id[0]: one.accepted.reason for one in portables(Store(self.baselines))}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class Terminal:
    """A real terminal in which the command runs."""

    def __init__(self, arguments: list[str]) -> None:
        self._leader, follower = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli.main", *arguments],
            stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        self.seen = ""

    def until(self, expected: str) -> None:
        """Read until this was printed after what was awaited before."""
        before, end = len(self.seen), time.monotonic() + 60
        while expected not in self.seen[before:]:
            assert time.monotonic() < end, f"{expected!r} was not printed:\n{self.seen}"
            if not self._read():
                raise AssertionError(f"{expected!r} was not printed before the end:\n{self.seen}")

    def type(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def key(self, key: str) -> None:
        """Type a key that a line's end is not waited for after: before the terminal is told so, Ctrl-D is another."""
        end = time.monotonic() + 60
        while termios.tcgetattr(self._leader)[3] & termios.ICANON:
            assert time.monotonic() < end, f"no key is waited for:\n{self.seen}"
            time.sleep(0.01)
        self.type(key)

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._leader)
        return self._process.wait(60)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._leader], [], [], 60)
        if not ready:
            return False
        try:
            data = os.read(self._leader, 65536)
        except OSError:
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


def test_keys_accept_reject_skip_and_show_the_diff(place: Place) -> None:
    terminal = Terminal(place.options())
    terminal.until("[q]uit ")
    assert "1 of 3" in terminal.seen
    assert re.search(r"latency.p50 +regressed +10.0 ms .* -> 20.0 ms .*limit \+10.0 %", terminal.seen)
    terminal.type("d")
    terminal.until("[q]uit ")
    assert "+++ " in terminal.seen
    terminal.type("a")
    terminal.until("why is this right? ")
    terminal.type("\n")
    terminal.until("[q]uit ")
    assert "it needs a reason" in terminal.seen
    terminal.type("a")
    terminal.until("why is this right? ")
    terminal.type("a better kernel is worth it\n")
    terminal.until("[q]uit ")
    terminal.type("r")
    terminal.until("[q]uit ")
    terminal.type("s")
    assert terminal.end() == 1
    assert place.reasons() == {
        "a": "first figures", "b": "first figures", "c": "first figures", "d": "first figures",
    }  # fmt: skip
    times = (
        Store(place.baselines).read("toys", "a/reference/cpu", read_run(place.run).environment.hardware["cpu"]).times
    )
    assert times is not None
    assert times.accepted.reason == "a better kernel is worth it"
    decided = [(one.case_id[0], one.kind, one.reason) for one in place.review().decisions()]
    assert decided == [("a", "accepted", "a better kernel is worth it"), ("b", "rejected", "")]
    assert [one.name for one in place.review().pending()] == ["toys/e/reference/cpu"]


def test_the_last_reason_is_offered_again_and_quitting_leaves_the_rest(place: Place) -> None:
    terminal = Terminal(place.options())
    for reason in ("one reason for both\n", "\n"):
        terminal.until("[q]uit ")
        terminal.type("a")
        terminal.until("why is this right? ")
        terminal.type(reason)
    terminal.until("[q]uit ")
    terminal.type("q")
    assert terminal.end() == 1
    assert f"1 left; go on with: harness {' '.join(place.options())}" in terminal.seen
    assert {one.reason for one in place.review().decisions()} == {"one reason for both"}
    assert place.reasons()["b"] == "one reason for both"


def test_an_interrupt_keeps_what_was_decided(place: Place) -> None:
    terminal = Terminal(place.options())
    terminal.until("[q]uit ")
    terminal.type("r")
    terminal.until("[q]uit ")
    terminal.key("\x04")
    assert terminal.end() == 1
    assert [one.kind for one in place.review().decisions()] == ["rejected"]


def test_what_is_rejected_fails_on_only_where_it_failed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    better = on_disk(place.folder, "mixed", [a_case("a", size=2e6), a_case("b", size=5e5), a_case("e")])
    review = Review(read_run(better), Path(better), Store(place.baselines))
    pending = list(review.pending())
    assert [one.verdict.value for one in pending] == ["regressed", "new", "improved"]
    _Walk(review, "harness review", lambda: "r", lambda last: last).over(pending)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  rejected: ")]
    kept = "  rejected: the baseline stays as it is"
    assert said == [f"{kept}, and the case fails until it is mended", kept, kept]


def test_a_decision_that_can_not_be_kept_is_said_and_asked_for_again(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, data: bytes) -> Path:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(decisions, "write_atomic", refused)
    review = place.review()
    keys = iter("rsaq")
    capsys.readouterr()
    _Walk(review, "harness review", lambda: next(keys), lambda last: "worth it").over(list(review.pending()))
    rejected, accepted = capsys.readouterr().err.splitlines()
    assert f"{os.strerror(errno.EACCES)}; review a copy of the run's folder" in rejected
    assert "The baseline was written all the same: " in accepted
    assert list(keys) == []
    assert [one.name for one in review.pending()] == ["toys/a/reference/cpu", "toys/e/reference/cpu"]


@pytest.mark.parametrize(
    ("key", "asked"),
    [("a", "key"), ("r", "key"), ("a", "reason")],
    ids=["accepting", "rejecting", "before the reason is given"],
)
def test_what_another_reviewer_decides_meanwhile_is_neither_asked_about_nor_replaced(
    place: Place, capsys: pytest.CaptureFixture[str], key: str, asked: str
) -> None:
    mine, other = place.review(), place.review()
    slower, larger, new = mine.pending()
    keys = iter([key, "q"])
    capsys.readouterr()

    def decide() -> None:
        other.accept(slower, "worth it")
        other.reject(larger, "too large")

    def answer() -> str:
        pressed = next(keys)
        if pressed == key and asked == "key":
            decide()
        return pressed

    def reason(last: str) -> str:
        assert asked == "reason", "or it asks for one in vain"
        decide()
        return "mine"

    _Walk(mine, "harness review", answer, reason).over([slower, larger, new])
    printed = capsys.readouterr().out
    assert re.findall("  (.*) was decided meanwhile", printed) == [slower.name, larger.name]
    assert f"  {larger.name}\n" not in printed
    assert "1 left; go on with: harness review" in printed
    kept = [("a", "accepted", "worth it"), ("b", "rejected", "too large")]
    assert [(one.case_id[0], one.kind, one.reason) for one in place.review().decisions()] == kept
    assert place.reasons()["b"] == "first figures"


def test_where_a_terminal_gives_no_keys_the_other_ways_are_told(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where each command was a traceback."""
    monkeypatch.setitem(sys.modules, "termios", None)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert main(place.options()) == 2
    assert "harness: harness review asks for keys, and on this system" in (said := capsys.readouterr().err)
    assert "use --html to review in the browser, or --list" in said


def test_an_interrupt_ends_the_browser_s_review_with_what_is_left(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Server, idle: float = 0.0) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve", interrupted)
    assert main([*place.options(), "--html", "--no-open"]) == 1
    assert capsys.readouterr().out.endswith("\n3 pending\n")


def test_a_browser_that_stays_in_the_foreground_is_answered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a text browser does: the command waited for its end, and it for its page."""
    answers = queue.SimpleQueue[int]()

    def browse(address: str) -> bool:
        parts = urlsplit(address)
        for method, path in (("GET", parts.path), ("POST", f"{parts.path}done")):
            connection = http.client.HTTPConnection(parts.netloc, timeout=30)
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            answers.put(answer.status)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    assert main([*place.options(), "--html"]) == 1
    assert [answers.get(timeout=30) for _ in range(2)] == [200, 200]


def test_a_run_that_starts_meanwhile_gets_none_of_the_decisions(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Path(on_disk(place.folder, "other", [a_case("a", latency=0.02)]))
    latest = point_latest(Path(place.run))

    def meanwhile(self: Server, idle: float = 0.0) -> None:
        point_latest(other)
        site = self._server.site
        first = site.review.pending()[0]
        assert site.decide({"case": key_of(first), "decision": "reject"}).startswith("Rejected toys/a/reference/cpu")

    monkeypatch.setattr(Server, "serve", meanwhile)
    assert main([*place.options(str(latest)), "--html", "--no-open"]) == 1
    assert [one.case_id for one in place.review().decisions()] == ["a/reference/cpu"]
    assert not (other / "review.json").exists()


def test_a_run_that_is_not_there_is_named_as_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latest = point_latest(tmp_path / "gone")
    assert main(["review", "--list", "--from", str(latest)]) == 2
    assert f"{latest}: there is no run here" in capsys.readouterr().err


def test_list_prints_and_asks_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*place.options(), "--list"]) == 1
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if "  toys/" in line] == [
        "▼ regressed  toys/a/reference/cpu", "▼ regressed  toys/b/reference/cpu", "+ new  toys/e/reference/cpu",
    ]  # fmt: skip
    assert re.search(r"new  toys/e/.*\n  case .*\n  latency.p50 +10.0 ms", printed), "a new case shows what it gave"
    assert "] relative to the anchor  limit +10.0 %\n" in printed, "seconds may tell otherwise than the change"
    assert printed.splitlines()[-1] == "3 pending"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--list", "--html"], "argument --html: not allowed with argument --list"),
        (["--no-open"], "--no-open can only be used with --html"),
        (["--list", "--no-open"], "--no-open can only be used with --html"),
    ],
)
def test_a_wrong_mix_is_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["review", *words])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_what_was_accepted_otherwise_is_not_asked_about(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.accept(place.run, "--reason", "all of it")
    capsys.readouterr()
    assert main([*place.options(), "--list"]) == 0
    assert "nothing is pending" in capsys.readouterr().out


def test_what_was_accepted_and_taken_back_is_asked_about_again(place: Place) -> None:
    review = place.review()
    slower, larger, new = review.pending()
    for one in (slower, new):
        review.accept(one, "worth it")
    review.reject(larger, "no")
    assert place.review().pending() == ()
    shutil.rmtree(place.baselines / "toys")
    again = place.review()
    assert [one.name for one in again.pending()] == [slower.name, "toys/c/reference/cpu", new.name]
    again.accept(again.pending()[0], "it is worth it")
    assert slower.name not in [one.name for one in place.review().pending()]


@pytest.mark.parametrize(("when", "asked"), [("2999-01-01T00:00:00Z", False), ("2000-01-01T00:00:00Z", True)])
def test_what_a_newer_run_was_accepted_over_is_not_asked_about_again(place: Place, when: str, asked: bool) -> None:
    """Its numbers would replace the newer ones; with older ones in place the acceptance was taken back."""
    review, store = place.review(), Store(place.baselines)
    slower = review.pending()[0]
    review.accept(slower, "worth it")
    assert slower.name not in [one.name for one in place.review().pending()]
    identity = review.run.environment.hardware[slower.result.hardware]
    baseline = store.read(slower.result.suite, slower.result.case_id, identity)
    assert baseline.times
    assert baseline.portable
    blocks = [
        dataclasses.replace(
            block,
            when=when,
            values={name: [2 * value for value in found] for name, found in block.values.items()},
            relative={name: [2 * value for value in found] for name, found in block.relative.items()},
        )
        for block in baseline.times.blocks
    ]
    accepted = dataclasses.replace(baseline.times.accepted, when=when)
    store.write(dataclasses.replace(baseline.times, blocks=tuple(blocks), accepted=accepted))
    store.write(dataclasses.replace(baseline.portable, accepted=accepted))
    assert (slower.name in [one.name for one in place.review().pending()]) is asked


def test_another_block_is_newer_than_the_change_whose_reason_it_leaves(place: Place) -> None:
    run, store = read_run(place.run), Store(place.baselines)
    identity = run.environment.hardware["cpu"]
    times = store.read("toys", "c/reference/cpu", identity).times
    assert times
    later = dataclasses.replace(times.blocks[-1], when="2999-01-01T00:00:00Z")
    store.write(dataclasses.replace(times, blocks=(*times.blocks[:-1], later)))
    (result,) = (one for one in run.results if one.case_id == "c/reference/cpu")
    assert Acceptor(store, run).newer(result, "2998-01-01T00:00:00Z")
    assert not Acceptor(store, run).newer(result, "2999-01-01T00:00:00Z")


def test_without_a_terminal_it_says_what_to_use(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(place.options()) == 2
    said, run = capsys.readouterr().err, " ".join(place.options()[1:])
    assert f"with: harness review --list {run}, and" in said
    assert f"with: harness accept --case GLOB --reason … {run}\n" in said
    assert place.review().decisions() == ()


def test_a_damaged_baseline_is_named_and_the_other_cases_are_reviewed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (times,) = (path for path in place.baselines.rglob("times.*.json") if "/c-" in path.as_posix())
    times.write_text("<<<<<<< ours\n" + times.read_text())
    assert main([*place.options(), "--list"]) == 1
    text = capsys.readouterr().out
    assert "! toys/c/reference/cpu can't be accepted" in text
    assert times.name in text
    assert "regressed  toys/a/reference/cpu" in text
    assert "3 pending, and 1 that can't be accepted" in text


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"complete": False}, "its run did not finish"), ({"mode": "quick"}, "a quick run measures too little")],
)
def test_runs_that_are_not_whole_are_shown_as_refused(
    place: Place, capsys: pytest.CaptureFixture[str], changes: dict[str, object], why: str
) -> None:
    run = on_disk(place.folder, "part", [a_case("a", latency=0.02)], **changes)
    assert main([*place.options(run), "--list"]) == 1
    printed = capsys.readouterr().out
    assert f"a/reference/cpu can't be accepted: {why}" in printed
    assert "0 pending, and 1 that can't be accepted" in printed


def test_cases_without_numbers_are_none_of_a_review(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    run = on_disk(place.folder, "broken", [without_numbers("a", Outcome.CRASHED, "it broke")])
    assert main([*place.options(run), "--list"]) == 0
    assert "nothing is pending" in capsys.readouterr().out


def test_a_change_whose_own_test_failed_is_shown_as_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    slower = a_case("a", latency=0.02)
    said = (of_test(slower, "the test failed: AssertionError: too slow"),)
    assert main([*place.options(on_disk(place.folder, "red", [slower], comparisons=said)), "--list"]) == 1
    printed = capsys.readouterr().out
    assert "a/reference/cpu can't be accepted: the test failed: AssertionError: too slow" in printed
    assert "0 pending, and 1 that can't be accepted" in printed


def test_a_changed_metric_is_a_short_hunk_of_the_diff(place: Place) -> None:
    review = place.review()
    larger = next(one for one in review.pending() if one.name == "toys/b/reference/cpu")
    lines = [
        line for line in review.diff(larger) if line.startswith(("+", "-")) and not line.startswith(("+++", "---"))
    ]
    portable = [line.strip() for line in lines[: lines.index(next(one for one in lines if '"digest"' in one))]]
    assert '-    "size": 1000000' in [line.rstrip(",") for line in lines]
    assert '+    "size": 2000000' in [line.rstrip(",") for line in lines]
    # The value; commit, time, reason and previous value of what was accepted; and the digest behind these.
    assert len(portable) <= 10


def test_decisions_of_another_run_or_a_damaged_file(place: Place) -> None:
    review = place.review()
    review.reject(review.pending()[0], "no")
    with pytest.raises(RecordError, match="holds no decisions on run other"):
        Decisions(Path(place.run), "other")
    (Path(place.run) / "review.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecordError, match="delete it to review the run anew"):
        place.review()


def test_two_reviewers_of_one_run_keep_each_other_s_decisions(place: Place) -> None:
    one, other = place.review(), place.review()
    slower, larger, new = one.pending()
    other.reject(slower, "no")
    one.reject(larger, "nor this")
    kept = Decisions(Path(place.run), read_run(place.run).id).all()
    assert [(made.case_id[0], made.reason) for made in kept] == [("a", "no"), ("b", "nor this")]
    assert one.pending() == other.pending() == (new,)


def test_a_later_decision_replaces_an_earlier_one(place: Place) -> None:
    review = place.review()
    first: Pending = review.pending()[0]
    review.reject(first, "too slow")
    review.accept(first, "it is worth it")
    assert [(one.kind, one.reason) for one in review.decisions()] == [("accepted", "it is worth it")]
    assert [(one.kind, one.reason) for one in place.review().decisions()] == [("accepted", "it is worth it")]
