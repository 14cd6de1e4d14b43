"""The page in a real browser: it is read without a network, and the script does what it is for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.report.html import render
from harness.report.html.cases import anchor
from harness.report.overview import cases
from tests.report_hostile import hostile_run
from tests.report_samples import sample_run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install it with: apt-get install chromium")


SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


def browse(tmp_path: Path, page: bytes, fragment: str = "") -> tuple[str, list[str]]:
    """The document after loading, and the addresses that it asked for.

    The browser's own requests (time, updates) have no origin and are none of the page's; no name is resolved for them.
    """
    file, log = tmp_path / "index.html", tmp_path / "net.json"
    file.write_bytes(page)
    places = [
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--log-net-log={log}",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    done = subprocess.run(
        [str(CHROMIUM), *SWITCHES, *places, "--dump-dom", f"{file.as_uri()}{fragment}"],
        capture_output=True,
        timeout=120,
        check=True,
    )
    record = json.loads(log.read_text(encoding="utf-8"))
    start = record["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    jobs = [
        event["params"] for event in record["events"] if event["type"] == start and "url" in event.get("params", {})
    ]
    return done.stdout.decode("utf-8"), [job["url"] for job in jobs if job.get("initiator") != "not an origin"]


def test_a_request_of_a_page_would_be_seen(tmp_path: Path) -> None:
    _, asked = browse(tmp_path, b"<!doctype html><img src='http://example.test/seen.png'>")
    assert asked == ["http://example.test/seen.png"]


def test_the_page_loads_nothing_and_opens_the_case_of_its_link(tmp_path: Path) -> None:
    run = sample_run(samples=20)
    view = next(view for view in cases(run) if view.id == "digits/compiled/cpu")
    name = anchor(view.suite, view.id)
    document, asked = browse(tmp_path, render(run), f"#{name}")
    assert "12 cases failed." in document
    assert f'<details class="case" id="{name}" open="">' in document
    assert document.count('<details class="case"') == len(cases(run))
    assert '<p class="filter">' in document
    assert asked == []


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    document, asked = browse(tmp_path, render(hostile_run()))
    assert "<title>Every case failed." in document
    assert document.count("<script>") == 1
    assert "<img" not in document
    assert asked == []
