"""The page of a run in a real browser: its bytes, how long the first view and a filter take, and pictures of it.

    python benchmarks/page.py reports/latest [--json PATH]
    python benchmarks/page.py reports/latest --picture docs/report.png [--theme dark] [--at cases] [--size 1280x1500]

The first view is the browser's own first contentful paint, counted from the request for the file; a filter counts from
the last key to the frame that shows what is left of the cases. Needs chromium and the package playwright.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.browser import chromium, opened  # noqa: E402 (found through the path above)
from benchmarks.overhead import Row  # noqa: E402

PAINTED = """() => new Promise(done => {
  const painted = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
  const look = () => painted() === undefined ? requestAnimationFrame(look) : done(painted());
  look();
})"""
LOADED = "() => performance.getEntriesByType('navigation')[0].loadEventEnd"
FILTERED = """words => new Promise(done => {
  const box = document.getElementById("filter");
  const began = performance.now();
  box.value = words;
  box.dispatchEvent(new Event("input"));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""
WORDS = ("regressed", "cpu", "int8 cpu", "")
"""Filters that leave a few cases, all of them, some, and all again."""


def of_page(browser: Any, file: Path, repetitions: int = 5) -> Iterator[Row]:
    """The figures of a page: medians with the fastest and the slowest."""
    yield Row(f"size of {file.name}", file.stat().st_size / 1e6, "MB", target=5, sense="at most")
    found: dict[str, list[float]] = {"the first view": [], "the whole page": [], "a filter": []}
    for _ in range(repetitions):
        with opened(browser, file) as page:
            found["the first view"].append(page.evaluate(PAINTED) / 1000)
            found["the whole page"].append(page.evaluate(LOADED) / 1000)
            found["a filter"].append(max(page.evaluate(FILTERED, words) / 1000 for words in WORDS))
    for what, seconds in found.items():
        row = (statistics.median(seconds), "s", min(seconds), max(seconds))
        aim: dict[str, Any] = {} if what == "the whole page" else {"target": 1, "sense": "at most"}
        yield Row(f"time to {what}", *row, **aim)


def picture(browser: Any, file: Path, target: Path, *, theme: str, at: str, size: str) -> None:
    """Take a picture of the page's top, or of the section `at`."""
    width, height = map(int, size.split("x"))
    options: dict[str, Any] = {"color_scheme": theme, "viewport": {"width": width, "height": height}}
    with opened(browser, file, f"#{at}" if at else "", **options) as page:
        page.screenshot(path=target)


def main(arguments: list[str]) -> int:
    """Measure a page and print its figures, or take a picture of it."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="a run's folder, or its index.html")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="take a picture instead")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--at", default="", metavar="ID", help="section or case to show (default: the top)")
    parser.add_argument("--size", default="1280x1500", metavar="WxH", help="of the window (default: %(default)s)")
    options = parser.parse_args(arguments)
    file = (options.run / "index.html" if options.run.is_dir() else options.run).resolve()
    with chromium() as browser:
        if options.picture:
            picture(browser, file, options.picture, theme=options.theme, at=options.at, size=options.size)
            return 0
        rows = list(of_page(browser, file))
    print("\n".join(row.line() for row in rows))
    if options.json:
        text = json.dumps([{**vars(row), "met": row.met} for row in rows], indent=1, ensure_ascii=False)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
