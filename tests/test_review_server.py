"""The review in a browser: only who knows the address, on this machine, may accept."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from harness.baseline.store import Store
from harness.cli.main import main
from harness.records import Environment, Verdict
from harness.report.record import read_run
from harness.report.write import draw
from harness.review import Acceptor, Review, decisions
from harness.review.page import key_of, render
from harness.review.server import Server
from tests.cli_runs import IDENTITY, a_case, a_run, of_another_length, on_disk

EVIL = "<img src=x onerror=alert(1)>\u202e"


class Served:
    """A server in a thread of its own, and a client."""

    def __init__(self, folder: Path) -> None:
        self.baselines = folder / "baselines"
        for block in range(3):
            old = on_disk(folder, f"block{block}", [a_case(name, latency=0.010 * (1 + block / 1000)) for name in "ab"])
            main(["accept", "--from", old, "--baselines", str(self.baselines), "--reason", "first"])
        self.run = Path(on_disk(folder, "now", [a_case("a", latency=0.02), a_case("b", size=2e6), a_case(EVIL)]))
        draw(read_run(self.run), self.run)
        self.review = Review(read_run(self.run), self.run, Store(self.baselines))
        self.server = Server(self.review, self.run)
        self.thread = threading.Thread(target=self.server.serve, kwargs={"idle": 60.0})
        self.thread.start()
        parts = urlsplit(self.server.address)
        self.host, self.base = parts.netloc, parts.path

    def ask(
        self, path: str | None = None, form: dict[str, str] | None = None, **headers: str
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        body = urlencode(form) if form is not None else None
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(
            "POST" if form is not None else "GET", self.base if path is None else path, body, kind | names
        )
        answer = connection.getresponse()
        text = answer.read().decode("utf-8")
        connection.close()
        return answer.status, text, answer.headers

    def decide(self, number: int, decision: str, reason: str = "", **headers: str) -> int:
        form = {"case": key_of(self.review.pending()[number]), "decision": decision, "reason": reason}
        return self.ask(f"{self.base}decide", form, **headers)[0]

    def end(self) -> None:
        if self.thread.is_alive():
            self.ask(f"{self.base}done", {})
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.server.__exit__(None, None, None)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.end()


def test_the_page_shows_what_is_pending_and_links_the_report(served: Served) -> None:
    status, page, headers = served.ask()
    assert status == 200
    assert "3 changes wait for you." in page
    assert page.count('<article class="card') == 3
    assert page.count("relative\u00a0to\u00a0the\u00a0anchor</td>") == 1, "the change of `a`, beside its seconds"
    assert "default-src 'none'" in str(headers["Content-Security-Policy"])
    assert "form-action 'self'" in str(headers["Content-Security-Policy"])
    assert headers["Cache-Control"] == "no-store"
    assert f'<a href="{served.base}report">' in page
    assert "Harness report" in served.ask(f"{served.base}report")[1]


def test_a_script_in_the_report_can_decide_nothing(served: Served) -> None:
    """Where the run is another's, so is its page: the browser gives it an origin of its own, `null`."""
    policy = str(served.ask(f"{served.base}report")[2]["Content-Security-Policy"])
    assert policy.split() == ["sandbox", "allow-scripts"]
    assert served.decide(0, "accept", "worth it", Origin="null") == 403
    assert served.review.decisions() == ()


def test_accepting_writes_the_baseline_and_rejecting_does_not(served: Served) -> None:
    assert served.decide(0, "accept", "worth it") == 303
    assert "Accepted toys/a/reference/cpu: 1 files written." in served.ask()[1]
    assert served.decide(0, "reject") == 303
    page = served.ask()[1]
    assert "Rejected toys/b/reference/cpu" in page
    assert "1 change waits for you." in page
    assert [(one.case_id[0], one.kind) for one in served.review.decisions()] == [("a", "accepted"), ("b", "rejected")]
    assert "Rejected" not in served.ask()[1], "what was said is said once"


def test_accepting_needs_a_reason(served: Served) -> None:
    assert served.decide(0, "accept", "  ") == 303
    assert "accepting needs a reason" in served.ask()[1]
    assert served.review.decisions() == ()


def test_a_decision_that_can_not_be_kept_is_answered_with_what_was_written(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(decisions, "write_atomic", full)
    assert served.decide(0, "accept", "worth it") == 303
    page = served.ask()[1]
    assert f"{os.strerror(errno.ENOSPC)}; review a copy of" in page
    assert "The baseline was written all the same: " in page
    assert "2 changes wait for you." in page
    assert served.decide(0, "reject") == 303
    page = served.ask()[1]
    assert f"{os.strerror(errno.ENOSPC)}; review a copy of" in page
    assert "The baseline was written" not in page
    assert "2 changes wait for you." in page
    assert served.review.decisions() == ()


def test_decisions_that_are_damaged_meanwhile_are_named(served: Served) -> None:
    assert served.decide(0, "reject") == 303
    kept = served.run / "review.json"
    kept.write_text("{", encoding="utf-8")
    status, page, _ = served.ask()
    assert (status, "delete it to review the run anew" in page) == (500, True)
    kept.unlink()
    assert "3 changes wait for you." in served.ask()[1]


def test_a_form_sent_twice_does_nothing_the_second_time(served: Served) -> None:
    form = {"case": key_of(served.review.pending()[0]), "decision": "accept", "reason": "worth it"}
    served.ask(f"{served.base}decide", form)
    before = {path: path.read_bytes() for path in served.baselines.rglob("*.json")}
    served.ask(f"{served.base}decide", form)
    assert "no longer pending" in served.ask()[1]
    assert {path: path.read_bytes() for path in served.baselines.rglob("*.json")} == before


def test_names_from_suites_stay_text(served: Served) -> None:
    page = served.ask()[1]
    assert "<img" not in page
    assert "\u202e" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_what_can_not_be_accepted_leaves_the_page_to_the_others(tmp_path: Path) -> None:
    """A loss that another machine class can't decide, beside a value that differs, shows where its files are made."""
    store = Store(tmp_path / "baselines")
    old = a_case("a", right="f" * 250)
    Acceptor(store, a_run([old])).accept(old, "first")
    away = Environment({"cpu": {**IDENTITY, "model": "Other CPU"}}, {}, {})
    run = a_run([a_case("a", right="07" + "f" * 248, size=2e6), a_case("b")], environment=away)
    review = Review(run, tmp_path, store)
    new, undecided = review.pending()
    assert (new.name, new.refused) == ("toys/b/reference/cpu", "")
    assert undecided.refused.startswith("size differs, and accuracy, which would be replaced with it, ")
    page = render(review, "", base="/", done=False, has_report=False).decode()
    assert page.count('<article class="card') == 1
    assert f'id="c-{key_of(new)}"' in page
    (told,) = page.partition('<section id="refused">')[2].split("</li>")[:-1]
    assert "size differs, and accuracy" in told
    assert review.diff(undecided) == []


def test_outputs_of_another_length_are_judged_as_in_a_run(tmp_path: Path) -> None:
    store = Store(tmp_path / "baselines")
    old, new = of_another_length("a")
    Acceptor(store, a_run([old])).accept(old, "first")
    (pending,) = Review(a_run([new]), tmp_path, store).pending()
    (row,) = pending.changes
    assert (row.metric, row.verdict) == ("fidelity.error", Verdict.INCOMPARABLE)
    assert not pending.refused


@pytest.mark.parametrize("token", ["", "/wrong/", "/%C3%BC/"])
def test_without_the_token_nothing_is_shown_or_done(served: Served, token: str) -> None:
    for path, form in ((token or "/", None), (f"{token or '/'}decide", {"decision": "accept"})):
        status, text, _ = served.ask(path, form)
        assert status == 403
        assert "pending" not in text
    assert served.review.decisions() == ()


def test_a_foreign_name_for_this_machine_is_refused(served: Served) -> None:
    port = served.host.rpartition(":")[2]
    assert served.ask(Host=f"attacker.test:{port}")[0] == 403
    assert served.ask(Host=f"localhost:{port}")[0] == 200


def test_a_form_of_another_site_is_refused(served: Served) -> None:
    assert served.decide(0, "reject", Origin="https://attacker.test") == 403
    assert served.decide(0, "reject", Origin="null") == 403
    assert served.review.decisions() == ()
    assert served.decide(0, "reject", Origin=f"http://{served.host}") == 303


def test_a_form_that_is_too_large_is_refused(served: Served) -> None:
    assert served.ask(f"{served.base}decide", {"reason": "x" * 70_000})[0] == 413


def test_a_connection_that_asks_nothing_holds_nobody_up(served: Served) -> None:
    host, port = served.host.split(":")
    with socket.create_connection((host, int(port))):
        connection = http.client.HTTPConnection(served.host, timeout=6)
        connection.request("GET", served.base)
        assert connection.getresponse().status == 200
        connection.close()


def test_it_listens_on_loopback_alone(served: Served) -> None:
    assert served.server._server.server_address[0] == "127.0.0.1"
    host = "127.0.0.1"
    with contextlib.suppress(socket.gaierror):  # nothing need know the machine's name
        host = socket.gethostbyname(socket.gethostname())
    if not host.startswith("127."):
        with (
            pytest.raises(OSError, match="refused"),
            socket.create_connection((host, int(served.host.rpartition(":")[2])), timeout=5),
        ):
            pass


def test_it_ends_when_it_is_forgotten(tmp_path: Path) -> None:
    run = Path(on_disk(tmp_path, "now", [a_case("a")]))
    review = Review(read_run(run), run, Store(tmp_path / "baselines"))
    with Server(review, run) as server:
        server.serve(idle=0.0)
