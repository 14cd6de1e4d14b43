"""The review in a browser: one page on the loopback interface, behind an address that nobody can guess."""

from __future__ import annotations

import hmac
import html
import http.server
import secrets
import time
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.errors import RecordError
from harness.review.page import content_policy, key_of, render
from harness.review.pending import Review

__all__ = ["IDLE_SECONDS", "Server"]

IDLE_SECONDS = 3600.0
"""A forgotten server ends by itself this long after its last request."""

_REPORT = "index.html"
_MAX_FORM = 64 * 1024
_STEP = 0.5
_SENDING = 10.0


class Server:
    """Serves one review on 127.0.0.1, one request at a time, until it is done, interrupted or forgotten.

    Whoever knows the address may accept into the baseline, so it holds a token of 128 random bits, and is told to
    nobody but the user. The Host header must name the loopback interface: a foreign
    name that points here (DNS rebinding) is refused. A form that another site sends is refused by its Origin.
    """

    def __init__(self, review: Review, folder: Path) -> None:
        self._token = secrets.token_urlsafe(16)
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.timeout = _STEP
        self._server.site = _Site(review, folder, self._token, self._server.server_address[1])

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{self._token}/"

    def serve(self, idle: float = IDLE_SECONDS) -> None:
        """Answer until the reviewer is done, or nothing was asked for `idle` seconds."""
        site = self._server.site
        while not site.done and time.monotonic() - site.asked < idle:
            self._server.handle_request()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.server_close()


class _Site:
    """What the pages show and the forms do."""

    def __init__(self, review: Review, folder: Path, token: str, port: int) -> None:
        self.review = review
        self.folder = folder
        self.token = token
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.said = ""
        self.done = False
        self.asked = time.monotonic()

    def decide(self, form: dict[str, str]) -> str:
        """Do what a form asks for, and give a sentence on it, also where it can't be done."""
        try:
            return self._decided(form)
        except RecordError as error:
            return str(error)

    def _decided(self, form: dict[str, str]) -> str:
        one = next((one for one in self.review.pending() if key_of(one) == form.get("case")), None)
        if one is None:
            return "This case is no longer pending."
        if form.get("decision") == "accept":
            paths = self.review.accept(one, form.get("reason", ""))
            return f"Accepted {one.name}: {len(paths)} files written."
        if form.get("decision") == "reject":
            self.review.reject(one, form.get("reason", ""))
            return f"Rejected {one.name}: its baseline stays as it is."
        return "Neither accepted nor rejected: the form named no decision."


class _Listener(http.server.HTTPServer):
    site: _Site


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Listener
    server_version = "harness"
    sys_version = ""
    timeout = 1.0
    """Seconds for a request. Browsers open connections ahead, and one that asks nothing holds up the next."""

    def do_GET(self) -> None:
        """The page, and the run's report."""
        path = self._path()
        if path == "":
            said, self.server.site.said = self.server.site.said, ""
            self._page(said)
        elif path == "report" and (page := self.server.site.folder / _REPORT).is_file():
            # Somebody else's file: in an origin of its own, so that no script in it can decide anything.
            self._send(page.read_bytes(), HTTPStatus.OK, "sandbox allow-scripts")
        elif path is not None:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """A decision, or the end."""
        path = self._path()
        if path is None:
            return
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc not in self.server.site.hosts:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_FORM:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        form = {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}
        if path == "done":
            self.server.site.done = True
            self._page("The review has ended; this page can be closed.")
        elif path == "decide":
            self.server.site.said = self.server.site.decide(form)
            # Asked for anew, so that a reload sends no form twice.
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", f"/{self.server.site.token}/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def log_message(self, *arguments: Any) -> None:
        """Nothing: the address is a secret, and would stand in a log."""

    def _path(self) -> str | None:
        """The part of the path behind the token; None, with an answer sent, for a wrong host or token."""
        site = self.server.site
        site.asked = time.monotonic()
        token, _, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        if self.headers.get("Host") not in site.hosts or not hmac.compare_digest(token.encode(), site.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        return rest

    def _page(self, said: str) -> None:
        site = self.server.site
        has_report = (site.folder / _REPORT).is_file()
        try:
            page = render(site.review, said, base=f"/{site.token}/", done=site.done, has_report=has_report)
        except RecordError as error:
            # The kept decisions were damaged meanwhile; the page is back when that is cured.
            self._told(str(error), HTTPStatus.INTERNAL_SERVER_ERROR)
        else:
            self._send(page, HTTPStatus.OK, content_policy())

    def _refuse(self, status: HTTPStatus) -> None:
        self._told(status.phrase, status)

    def _told(self, text: str, status: HTTPStatus) -> None:
        page = f"<!doctype html><meta charset=utf-8><title>{status.phrase}</title><p>{html.escape(text)}"
        self._send(page.encode("utf-8", "replace"), status)

    def _send(self, body: bytes, status: HTTPStatus, policy: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        # With no-referrer the browser would call the origin of our own forms null.
        self.send_header("Referrer-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        # A page that is busy with its first half may be slow to take the second.
        self.connection.settimeout(_SENDING)
        self.wfile.write(body)
