"""A real Chromium, driven by Playwright, that opens a page as its readers do: from a file, with no network."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["CHROMIUM", "chromium", "opened"]

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
"""The browser of this system: Playwright's own are downloaded from elsewhere, and are not needed."""


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; no name is resolved in it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: Any, file: Path, fragment: str = "", **options: Any) -> Iterator[Any]:
    """The page of a file in a context of its own.

    `page.asked` are the addresses that it requested besides its own file, `page.said` what it wrote to the console and
    the dialogs and errors that it raised. `options` are those of Playwright's contexts: `color_scheme`, `viewport`,
    `java_script_enabled`, `reduced_motion`.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    page.asked, page.said = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda dialog: (page.said.append(dialog.message), dialog.dismiss()))
    page.goto(f"{file.as_uri()}{fragment}")
    page.asked = [url for url in page.asked if url.partition("#")[0] != file.as_uri()]
    try:
        yield page
    finally:
        context.close()
