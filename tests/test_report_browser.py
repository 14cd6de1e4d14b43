"""The page in a real browser: read without a network, by keyboard, without a script or a style, on paper, by ear."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.browser import CHROMIUM, chromium, opened
from benchmarks.page import of_page, picture
from harness.baseline.store import Store
from harness.cli.main import main
from harness.records import Comparison, Result, Run, Verdict
from harness.report.html import render
from harness.report.html.cases import anchor
from harness.report.overview import Overview, cases
from harness.report.reasons import said
from harness.report.record import read_run
from harness.review import Review
from harness.review.page import render as render_review
from tests.cli_runs import a_case, on_disk
from tests.report_hostile import hostile_run
from tests.report_samples import sample_run
from tests.test_report_history import past_of

pytest.importorskip("playwright", reason="the tests of the page in a browser need playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="they need axe-playwright-python")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install it with: apt-get install chromium")

CASE = "digits/compiled/cpu"
THEMES = [("light", ()), ("dark", ("color-contrast", "link-in-text-block"))]
"""With the rules of axe that are run; () for all. What the others look at is the same in both themes."""
SENT = """() => {
  window.sent = [];
  addEventListener("submit", (event) => {
    event.preventDefault();
    const { case: key, reason } = event.target.elements;
    sent.push([key.value, event.submitter.value, reason.value]);
  });
}"""
"""What forms would send is kept in the page, which stays."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def run() -> Run:
    return sample_run(samples=20)


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("page"), run)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("hostile"), hostile_run())


def written(folder: Path, run: Run) -> Path:
    """The page of a run, with a past in which every case has moved."""
    path = folder / "index.html"
    path.write_bytes(render(run, past_of(run, moved=True)))
    return path


def fragment(run: Run, case_id: str) -> str:
    view = next(view for view in cases(run) if view.id == case_id)
    return f"#{anchor(view.suite, view.id)}"


def open_all(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def violations(page: Any, rules: tuple[str, ...] = ()) -> list[str]:
    """What axe finds, by rule and by the elements that break it; of all its rules, or of some."""
    only = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found = axe.Axe().run(page, options={"resultTypes": ["violations"], **only}).response["violations"]
    return [f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found]


def test_a_request_of_a_page_would_be_seen(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<!doctype html><img src='http://example.test/seen.png'>", encoding="utf-8")
    with opened(browser, file) as page:
        assert page.asked == ["http://example.test/seen.png"]


def test_the_page_loads_nothing_and_complains_of_nothing(browser: Any, file: Path, run: Run) -> None:
    with opened(browser, file) as page:
        assert page.title().startswith(Overview(run).headline.sentence)
        assert page.locator("details.case").count() == len(cases(run))
        assert (page.asked, page.said) == ([], [])


@pytest.mark.parametrize(("theme", "rules"), THEMES, ids=["light", "dark"])
def test_axe_finds_nothing(browser: Any, file: Path, run: Run, theme: str, rules: tuple[str, ...]) -> None:
    """With a case and a card open, so that what they hold is looked at too."""
    with opened(browser, file, fragment(run, CASE), color_scheme=theme) as page:
        page.locator("#why details").first.evaluate("one => one.open = true")
        assert page.locator("#history").is_visible()
        assert page.get_by_role("img", name="latency.p50 over runs").first.is_visible()
        assert violations(page, rules) == []


def reviewed(folder: Path, *now: Result) -> tuple[Review, Path]:
    """A review of these cases beside a baseline of `a` and `b`, and its page."""
    old = on_disk(folder, "old", [a_case("a"), a_case("b")])
    baselines = folder / "baselines"
    assert main(["accept", "--from", old, "--baselines", str(baselines), "--reason", "first"]) == 0
    run = Path(on_disk(folder, "now", [*now]))
    review = Review(read_run(run), run, Store(baselines))
    file = folder / "review.html"
    file.write_bytes(render_review(review, "Accepted.", base="/", done=False, has_report=True))
    return review, file


@pytest.mark.parametrize(("theme", "rules"), THEMES, ids=["light", "dark"])
def test_axe_finds_nothing_in_a_review(browser: Any, tmp_path: Path, theme: str, rules: tuple[str, ...]) -> None:
    review, file = reviewed(tmp_path, a_case("a", size=2e6), a_case("b", latency=0.02), a_case("c"))
    with opened(browser, file, color_scheme=theme) as page:
        assert page.locator("article.card").count() == len([one for one in review.pending() if not one.refused]) > 0
        open_all(page)
        assert violations(page, rules) == []


def test_keys_of_a_review_act_on_the_card_that_has_the_focus(browser: Any, tmp_path: Path) -> None:
    """They acted on the one that `j` and `k` had come to, and `a` sent a reason that nobody had seen, as did `r`."""
    _, file = reviewed(tmp_path, a_case("c"), a_case("d"), a_case("e"))
    with opened(browser, file) as page:
        page.evaluate(SENT)
        cards = page.locator("article.card")
        first, second, third = (card.get_attribute("id").removeprefix("c-") for card in cards.all())
        reason = cards.nth(2).locator("[name=reason]")
        reason.fill("as of another case")
        reason.press("Escape")
        page.keyboard.press("a")
        assert page.evaluate("document.activeElement.id") == f"reason-{third}"
        selected = "one => one.value.slice(one.selectionStart, one.selectionEnd)"
        assert reason.evaluate(selected) == "as of another case", "so that Enter takes it, and a word replaces it"
        assert page.evaluate("sent") == []
        page.keyboard.press("Enter")
        cards.nth(1).locator("h2").click()
        page.keyboard.down("r")
        page.keyboard.down("r")  # as a key that is held down does
        page.keyboard.up("r")
        page.keyboard.press("k")
        page.keyboard.press("r")
        page.locator("h1").click()
        page.keyboard.press("r")
        assert page.evaluate("sent") == [
            [third, "accept", "as of another case"],
            [second, "reject", ""],
            [first, "reject", ""],
        ]
        page.reload()  # as it is after each decision
        page.evaluate(SENT)
        page.keyboard.press("r")
        page.keyboard.down("j")
        page.keyboard.down("j")
        page.keyboard.up("j")
        assert page.evaluate("document.activeElement.id") == f"c-{third}", "a key that decides nothing may be held"
        page.keyboard.press("k")
        page.keyboard.press("a")
        assert cards.nth(1).locator("[name=reason]").evaluate(selected) == "as of another case"
        page.keyboard.press("Enter")
        cards.nth(0).locator("[name=reason]").click()
        assert cards.nth(0).locator("[name=reason]").input_value() == "as of another case"
        assert page.evaluate("sent") == [[first, "reject", ""], [second, "accept", "as of another case"]]
        assert page.said == []


def test_axe_would_find_something(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<!doctype html><title>x</title><img src='data:,'><p style='color:#aaa'>pale", encoding="utf-8")
    with opened(browser, file) as page:
        assert {one.split(":")[0] for one in violations(page)} >= {"image-alt", "color-contrast", "html-has-lang"}


def test_the_first_screen_names_failing_cases_and_leads_to_their_cards(browser: Any, file: Path, run: Run) -> None:
    with opened(browser, file, viewport={"width": 1280, "height": 900}) as page:
        named = page.locator(".named li")
        assert named.count() == 6
        assert "and 7 more" in named.last.text_content()
        assert named.last.evaluate("one => one.getBoundingClientRect().bottom") < 900
        named.first.locator("a").click()
        card = page.locator("#why-1")
        assert page.url.endswith("#why-1")
        assert named.first.locator("a").text_content() in card.text_content()
        assert 0 <= card.evaluate("one => one.getBoundingClientRect().top") < 900


def test_lost_examples_are_seen_without_a_click(browser: Any, run: Run, tmp_path: Path) -> None:
    comparisons = tuple(
        dataclasses.replace(c, reason=f"{c.reason} 3 lost: 75, 233, 571.") if c.metric == "accuracy" else c
        for c in run.comparisons
    )
    with opened(browser, written(tmp_path, dataclasses.replace(run, comparisons=comparisons))) as page:
        assert page.locator("#why").get_by_text("3 lost: 75, 233, 571.").is_visible()


def test_the_link_of_a_case_opens_it(browser: Any, file: Path, run: Run) -> None:
    target = fragment(run, CASE)
    with opened(browser, file, target) as page:
        case = page.locator(target)
        assert case.evaluate("one => one.open")
        assert case.evaluate("one => Math.abs(one.getBoundingClientRect().top)") < page.viewport_size["height"]
        other = fragment(run, "digits/onnxruntime/cpu")
        page.locator(f"#gains a[href='{other}']").click()
        page.wait_for_function("name => document.querySelector(name).open", arg=other)
        assert page.locator(other).get_by_role("heading", name="Measurements").is_visible()


def test_the_link_of_the_case_that_the_page_is_at_opens_it_again(browser: Any, file: Path, run: Run) -> None:
    target = fragment(run, CASE)
    with opened(browser, file, target) as page:
        case, link = page.locator(target), page.locator(f"#gains a[href='{target}']")
        case.evaluate("one => { one.open = false }")
        link.click()
        assert case.evaluate("one => one.open")
        page.locator("#filter").fill("no such case")
        assert not case.is_visible()
        link.click()
        assert case.is_visible()
        assert case.evaluate("one => Math.abs(one.getBoundingClientRect().top)") < page.viewport_size["height"]
        assert page.locator("#filter").input_value() == ""


def test_a_case_is_filtered_reached_and_opened_by_keyboard(browser: Any, file: Path, run: Run) -> None:
    """`/`, some words, and then Tab to the first line that is left and Enter, with the focus to be seen all the way."""
    with opened(browser, file) as page:
        page.keyboard.press("/")
        page.keyboard.type("digits compiled")
        assert page.locator("#found").text_content() == f"1 of {len(cases(run))}"
        assert page.locator(".case:visible").count() == 1
        page.keyboard.press("Tab")
        seen = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert seen == "solid"
        page.keyboard.press("Enter")
        assert page.locator(fragment(run, CASE)).evaluate("one => one.open")
        page.keyboard.press("/")
        page.keyboard.press("Delete")
        assert page.locator(".case:visible").count() == len(cases(run))
        for words in ("0.5", "98.60"):
            page.locator("#filter").fill(words)
            named = sum(words in view.label for view in cases(run))
            assert page.locator(".case:visible").count() == named, "by its name, and by no number of its line"


def test_the_first_tab_skips_to_the_verdict(browser: Any, file: Path) -> None:
    with opened(browser, file) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
        assert page.locator(":focus").is_visible()
        page.keyboard.press("Enter")
        assert page.url.endswith("#verdict")


def test_a_chip_filters_by_its_verdict(browser: Any, file: Path, run: Run) -> None:
    regressed = sum(view.word == "regressed" for view in cases(run))
    with opened(browser, file) as page:
        page.locator("[data-filter=regressed]").focus()
        page.keyboard.press("Enter")
        assert page.locator("#filter").input_value() == "is:regressed"
        assert page.locator(".case:visible").count() == regressed


def test_a_chip_shows_as_many_cases_as_it_counts(browser: Any, tmp_path: Path) -> None:
    """An id may hold the word of a verdict, and is found by it where somebody types it."""
    run = sample_run(1, 2, samples=2)
    first, second = (
        dataclasses.replace(result, case_id=f"{model}/reference/cpu", model=model)
        for result, model in zip(run.results, ("renewal", "digits"), strict=True)
    )
    rows = tuple(
        Comparison(result.suite, result.case_id, "size", verdict, "r.")
        for result, verdict in ((first, Verdict.UNCHANGED), (second, Verdict.NEW))
    )
    run = dataclasses.replace(run, results=(first, second), comparisons=rows)
    with opened(browser, written(tmp_path, run)) as page:
        chip = page.locator("[data-filter=new]")
        assert chip.locator("b").text_content() == "1"
        chip.click()
        shown = page.locator(".case:visible .id")
        assert shown.all_text_contents() == [second.case_id]
        page.locator("#filter").fill("new")
        assert sorted(shown.all_text_contents()) == [second.case_id, first.case_id]
        page.locator("#filter").fill("is:unch renew")
        assert shown.all_text_contents() == [first.case_id]


@pytest.mark.parametrize("width", [1280, 600])
def test_each_value_in_the_line_of_a_case_is_heard_with_the_name_of_its_column(
    browser: Any, file: Path, run: Run, width: int
) -> None:
    """Who hears the page has no columns; where there is no room for them the same names are seen, and said once."""
    with opened(browser, file, viewport={"width": width, "height": 900}) as page:
        heard = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        lines = [one["name"]["value"] for one in heard if one.get("role", {}).get("value") == "DisclosureTriangle"]
        (line,) = [line.replace(" ", "") for line in lines if line.replace(" ", "").startswith(f"regressed{CASE}")]
        assert line.endswith("speed-up1.31xlatencyp501.62msmemory65.2MiBaccuracy98.60%")
        name = page.locator(f"{fragment(run, CASE)} summary .r").first
        seen = name.evaluate("one => getComputedStyle(one, '::before').position")
        assert seen == ("absolute" if width == 1280 else "static")


def test_the_button_changes_the_theme(browser: Any, file: Path) -> None:
    with opened(browser, file, color_scheme="light") as page:
        paper = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(paper)
        page.get_by_role("button", name="Change the theme").click()
        assert page.evaluate(paper) != before


def test_it_is_read_without_a_script(browser: Any, file: Path, run: Run) -> None:
    with opened(browser, file, java_script_enabled=False) as page:
        text = page.locator("main").inner_text().replace("\u00a0", " ")
        assert Overview(run).headline.sentence in text
        assert said(Overview(run).failures[0]) in text
        assert not page.locator("#filter").is_visible()
        assert not page.locator("#theme").is_visible()
        case = page.locator(fragment(run, CASE))
        assert not case.get_by_role("heading", name="Measurements").is_visible()
        case.locator("summary").first.click()
        assert case.get_by_role("heading", name="Measurements").is_visible()


def test_it_is_read_without_a_style(browser: Any, run: Run, tmp_path: Path) -> None:
    """As some mail and CI servers show it: with neither style nor script, by a policy of theirs."""
    data = render(run).decode("utf-8")
    start, end = data.index("<style>"), data.index("</style>")
    file = tmp_path / "index.html"
    file.write_text(data[:start] + data[end:], encoding="utf-8")
    with opened(browser, file, java_script_enabled=False) as page:
        assert page.evaluate("document.styleSheets.length") == 0
        text = page.locator("main").inner_text().replace("\u00a0", " ")
        for words in (
            Overview(run).headline.sentence,
            said(Overview(run).failures[0]),
            "Can it be trusted?",
            "regressed digits/compiled",
        ):
            assert words in text


def test_paper_has_the_failures_with_their_commands_and_nothing_to_press(browser: Any, file: Path, run: Run) -> None:
    with opened(browser, file, color_scheme="dark") as page:
        assert page.pdf(format="A4").startswith(b"%PDF")  # printing tells the page, which opens the failures
        page.emulate_media(media="print")
        for name in ("nav", ".filter", ".skip"):
            assert not page.locator(name).first.is_visible()
        assert page.locator("#why details:not([open])").count() == 0
        assert page.get_by_text(
            "pytest 'suites/test_digits.py::test_inference[digits/compiled/cpu]'"
        ).first.is_visible()
        scheme = "getComputedStyle(document.documentElement).colorScheme"
        assert page.evaluate(scheme) == "light"
        page.evaluate("document.documentElement.dataset.theme = 'dark'")  # as the button leaves it
        assert page.evaluate(scheme) == "light"


def test_a_page_is_measured_and_pictured(browser: Any, file: Path, run: Run, tmp_path: Path) -> None:
    rows = {row.what: row for row in of_page(browser, file, repetitions=1)}
    assert rows["size of index.html"].value == file.stat().st_size / 1e6
    assert all(rows[f"time to {what}"].value > 0 for what in ("the first view", "the whole page", "a filter"))
    picture(browser, file, tmp_path / "page.png", theme="dark", at="cases", size="400x300")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("which", ["file", "hostile"])
def test_no_width_makes_the_whole_page_scroll_sideways(
    browser: Any, which: str, request: pytest.FixtureRequest
) -> None:
    with opened(browser, request.getfixturevalue(which)) as page:
        open_all(page)
        for width in (320, 768, 1440):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_names_run_nothing(browser: Any, hostile: Path) -> None:
    with opened(browser, hostile) as page:
        open_all(page)
        page.mouse.move(300, 300)
        assert page.title().startswith("Every case failed.")
        assert page.locator("script").count() == 1
        assert page.locator("img, iframe, object, embed, form").count() == 0
        assert page.locator("h1").count() == 1
        assert page.locator("[href^=javascript], [onerror], [onmouseover]").count() == 0
        assert page.locator("h1").is_visible()
        assert (page.asked, page.said) == ([], [])
        assert violations(page) == []
