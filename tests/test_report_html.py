from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.records import Comparison, Estimate, Measurement, Outcome, Run, Verdict
from harness.report.html import render, sections
from harness.report.html.cases import anchor
from harness.report.html.charts import dumbbell, ecdf, quantile, seconds, shares
from harness.report.html.history import over_runs
from harness.report.overview import GLYPHS, Overview, cases
from harness.report.past import Point, Series
from harness.report.reasons import said
from tests.report_hostile import HOSTILE, hostile_run
from tests.report_samples import sample_run

ROOT = Path(__file__).parent.parent
VOID = {"meta", "link", "input", "br", "wbr", "hr", "img"}


class Page(HTMLParser):
    """The page as a browser's parser sees it: fails where tags do not pair."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.pieces: list[str] = []
        self.feed(data.decode("utf-8"))
        self.close()
        assert self.open == []
        self.text = "".join(self.pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.pieces += [" "] if tag in ("td", "th", "p", "li", "dt", "dd", "title", "desc", "text") else []

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data
        if "script" not in self.open and "style" not in self.open:
            self.pieces.append(data)

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]

    def find(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag and wanted.items() <= attrs.items()]


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u00a0", " ").replace("−", "-"))


@pytest.fixture(scope="module")
def run() -> Run:
    return sample_run()


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page(render(run))


def test_the_sample_holds_every_verdict_and_every_outcome(run: Run) -> None:
    assert {c.verdict for c in run.comparisons} == set(Verdict)
    assert {r.outcome for r in run.results} == set(Outcome) - {Outcome.ABSENT}, "that is of another tree's cases"


def test_the_sections_stand_in_the_order_of_the_readers_questions(page: Page) -> None:
    wanted = ["verdict", "trust", "why", "gains", "fronts", "cases", "problems", "environment", "reading"]
    assert [i for i in page.attributes("id") if i in wanted] == wanted


def test_the_first_words_are_the_verdict_and_its_commands(page: Page, run: Run) -> None:
    text = plain(page.text)
    assert page.texts["h1"] == [Overview(run).headline.sentence] == ["12 cases failed."]
    assert "3 got worse, 7 could not be measured, 1 invalid, 1 left out; 30 of 41 cases were measured." in text
    assert "pytest suites/ --baseline=compare" in text
    assert 'harness accept --from reports/2026-05-04T10-08-30.4f1c --reason "why this is right"' in text
    for word, number in {"error": 7, "regressed": 3, "unchanged": 22, "improved": 1}.items():
        assert f"{GLYPHS[word]} {number} {word}" in text


def test_a_template_that_was_read_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The section of each case asked the disk whether the file of its macros had changed."""
    few = sample_run(1, 2, samples=2)
    page = render(few)
    monkeypatch.setattr(os.path, "getmtime", lambda _: pytest.fail("it was looked at"))
    assert render(few) == page


def test_every_failure_has_its_sentence_numbers_limit_and_commands(page: Page, run: Run) -> None:
    text = plain(page.text)
    for failure in Overview(run).failures:
        assert said(failure) in text
    assert "latency.p50 regressed 1.40 ms [1.39, 1.42] 1.62 ms [1.60, 1.64] +15.2 % [+13.4, +17.0] +10.0 %" in text
    assert "speedup, latency.p50: the whole interval of the change lies beyond the limit." in text
    assert "pytest 'suites/test_digits.py::test_inference[digits/compiled/cpu]' --baseline=compare" in text
    accept = "harness accept --case test_digits/digits/compiled/cpu --from reports/2026-05-04T10-08-30.4f1c"
    assert f'{accept} --reason "why this is right"' in text


def test_trust_names_baseline_environment_noise_coverage_and_power(page: Page) -> None:
    text = plain(page.text)
    for words in (
        "30 of 41 cases were measured; the whole suites were selected.",
        "26 cases accepted 27 Apr 2026, 09:14 UTC at 9f2c41d07b, for this reason: “first baselines”",
        "at 17aa90cd33, for this reason: “silero 6.2.3: the new graph is 4 % faster”",
        "onnxruntime 1.30.0 -> 1.32.0 (30 cases)",
        "Tasks waited for a CPU in",
        "1 case broke a promise; 45 other promises were found kept in what ran.",
        "Half of the sampled comparisons could have shown a change of 3.1 %",
        "Commit c06f05e485 with uncommitted changes",
    ):
        assert words in text


def test_of_software_the_anchors_numpy_alone_decides_whether_times_are_compared(page: Page) -> None:
    told = "Of the software listed here, only the anchor's numpy does: the rest is what may have caused a change."
    assert told in plain(page.text)


def test_what_is_detectable_is_said_as_it_is_computed(page: Page) -> None:
    told = (
        "Detectable is the smallest change for the worse that the launches which were made would have called "
        "regressed, in four of five such runs: it lies beyond the limit. A case that is still open gets more launches, "
        "which find smaller changes."
    )
    assert told in plain(page.text)


def test_what_intervals_are_over_and_what_int8_leaves_are_said_as_they_are(page: Page) -> None:
    """Intervals over a baseline's blocks and over examples were said to be over launches, and INT8 to end at 45 dB."""
    text = plain(page.text)
    over = "over launches; of a baseline with several blocks over these, of accuracy over examples."
    assert f"every interval is {over}" in text
    assert f"95 % interval {over}" in plain((ROOT / "docs" / "run-json.md").read_text(encoding="utf-8"))
    assert "INT8 18 to 50." in text
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert "| 40 to 50 dB | bfloat16; INT8 at its best |\n| 18 to 40 dB | INT8 |" in metrics


def test_the_gain_map_has_sign_number_and_word(page: Page) -> None:
    text = plain(page.text)
    assert "▲ 2.74x ▲ 0.41x memory = 0.00 pt accuracy" in text
    assert "▼ 0.32x ▲ 0.36x memory ▼ -0.40 pt accuracy" in text
    assert page.find("td", **{"class": "heat-2"})
    assert page.find("td", **{"class": "heat3"})


def test_the_front_is_answered_in_words(page: Page) -> None:
    text = plain(page.text)
    assert "Fastest call with at most 0.2 points lost: onnxruntime, 764 µs, 2.74x the reference's speed" in text
    assert "Most items a second, accuracy kept: batched:32+onnxruntime, 2,000 items/s in batches of 32." in text


def test_every_case_has_a_section_with_all_that_is_known(page: Page, run: Run) -> None:
    ids = set(page.attributes("id"))
    for view in cases(run):
        assert anchor(view.suite, view.id) in ids
    text = plain(page.text)
    for words in ("Call times", "Measurements", "Launches", "Did it happen?", "What ran", "Where the time went"):
        assert words in text
    assert "RuntimeError: Type Error: Type (tensor(float16))" in text


def test_cases_without_numbers_are_listed_with_their_reasons(page: Page, run: Run) -> None:
    problems = plain(page.text).split("Not measured")[-1]
    for result in run.results:
        if result.outcome is not Outcome.COMPLETED:
            assert result.reason in problems


def test_every_picture_can_be_heard(page: Page) -> None:
    pictures = page.find("svg")
    assert len(pictures) > 60
    ids = set(page.attributes("id"))
    for picture in pictures:
        assert picture["role"] == (
            "group"
            if (picture["aria-labelledby"] or "").startswith(("front-", "pruned-", "batch-", "trade-"))
            else "img"
        )
        title, description = (picture["aria-labelledby"] or "").split()
        assert {title, description} <= ids
    assert all(text.strip().endswith(".") for text in page.texts["desc"])


def sections_with_pictures(run: Run) -> dict[str, str]:
    """The piece of the page that each case with a section of its own has, by its anchor."""
    pieces = render(run).decode().split('<details class="case" id="')[1:]
    return {piece.partition('"')[0]: plain(unescape(piece)) for piece in pieces if "Call times" in piece}


def test_what_the_pictures_of_a_case_show_is_said_beside_them_and_stands_in_tables() -> None:
    """Only who hears the page was told, and the time of a call in a launch stood in no table."""
    run = sample_run(1, 10, samples=5)
    results = tuple(
        dataclasses.replace(
            result,
            launches=tuple(
                dataclasses.replace(one, latency={"p50": 0.0111 + i * 1e-4}) for i, one in enumerate(result.launches)
            ),
        )
        for result in run.results
    )
    found = sections_with_pictures(dataclasses.replace(run, results=results))
    assert len(found) == len(results)
    for piece in found.values():
        heard = re.findall("<desc[^>]*>([^<]*)</desc>", piece)
        beside = re.findall("<figcaption>([^<]*)</figcaption>", piece)
        assert len(heard) == len(beside) == 2
        for text, caption in zip(heard, beside, strict=True):
            # What is true of a batch in all of the section stands above both pictures.
            assert caption.startswith(text.partition(" A call of the candidate holds ")[0])
        assert "the candidate's median is 11.1 ms in the fastest and 11.3 ms in the slowest." in beside[1]
        launches = piece.partition("<h3>Launches</h3>")[2].partition("</table>")[0]
        names = re.findall("<th [^>]*>([^<]*)</th>", launches)
        rows = [re.findall("<td[^>]*>([^<]*)</td>", row) for row in re.findall("<tr>(<td.*?)</tr>", launches)]
        assert [row[names.index("p50 of a call")] for row in rows] == ["11.1 ms", "11.2 ms", "11.3 ms"]
        (drawn,) = re.findall(r"; the baseline's median would be ([^;]*) now\.", beside[0])
        assert quantiles_of(piece, "baseline") == ["–", "–", drawn, "–", "–", "–", "–"]


def test_a_change_of_ratios_is_said_to_be_one_in_the_table_of_its_case() -> None:
    """Seconds that grew by 20 % stood beside a change of 1 %, and of an unchanged row no sentence said why."""
    run = sample_run(1, 1, samples=4)
    (result,) = run.results
    row = Comparison(
        result.suite, result.case_id, "latency.p50", Verdict.UNCHANGED,
        "latency.p50 1.20 ms against 1.00 ms: +1.0 % [+0.20, +1.8] relative to the anchor; limit +10.0 %.",
        Estimate.exact(1.0e-3), Estimate.exact(1.2e-3), Estimate(0.01, 0.002, 0.018), 0.1, unit="s",
    )  # fmt: skip
    (piece,) = sections_with_pictures(dataclasses.replace(run, comparisons=(row,))).values()
    assert '<td class="r">+1.0 % [+0.20, +1.8] relative to the anchor</td>' in piece


def quantiles_of(piece: str, arm: str) -> list[str]:
    """The cells of an arm in the table of the call times of a case."""
    (row,) = re.findall(f'<tr><th scope="row">{arm}</th>(.*?)</tr>', piece.partition("<h3>Measurements")[0])
    return re.findall("<td[^>]*>([^<]*)</td>", row)


def test_a_baseline_that_is_not_drawn_and_a_launch_without_its_time_are_told_as_nothing() -> None:
    _, piece = sections_with_pictures(sample_run(1, 2, samples=5, mode="off")).values()
    assert len(quantiles_of(piece, "candidate")) == 7
    assert '<th scope="row">baseline</th>' not in piece.partition("<h3>Measurements")[0]
    assert piece.count('<td class="r">40</td><td class="r">–</td>') == 3


def ticks_of(picture: object) -> list[str]:
    return re.findall(r'<text class="tick"[^>]*>([^<]*)</text>', str(picture))


@pytest.mark.parametrize(
    ("change", "unit", "ticks"),
    [
        (1.5, "s", ["0 %", "+50 %", "+100 %", "+150 %"]),
        (11.0, "s", ["0 %", "+500 %", "+1,000 %"]),
        (0.03, "s", ["0 %", "+1 %", "+2 %", "+3 %"]),
        (-0.012, "share", ["-0.8 pt", "-0.4 pt", "0 pt"]),
    ],
)
def test_a_tick_loses_the_zeros_behind_its_point_alone(change: float, unit: str, ticks: list[str]) -> None:
    before = Estimate.exact(0.8)
    row = Comparison("s", "c", "m", Verdict.REGRESSED, "", before, before, Estimate.exact(change), 0.002, unit=unit)
    assert [text for text in ticks_of(dumbbell("key", row)) if not text.startswith("limit")] == ticks


@pytest.mark.parametrize(
    ("change", "ticks"),
    [
        (1.69e-5, ["0 %", "+0.0005 %", "+0.001 %", "+0.0015 %"]),
        (0.001, ["0 %", "+0.025 %", "+0.05 %", "+0.075 %", "+0.1 %"]),
    ],
)
def test_the_ticks_of_a_small_change_say_where_they_are(change: float, ticks: list[str]) -> None:
    row = Comparison("s", "c", "parameters", Verdict.REGRESSED, "", change=Estimate.exact(change), limit=0.0)
    assert [text for text in ticks_of(dumbbell("key", row)) if text != "limit exact"] == ticks


@pytest.mark.parametrize(
    ("measured", "drawn"), [("relative to the anchor; limit", False), ("in turns; limit", False), ("; limit", True)]
)
def test_the_spread_of_seconds_is_no_interval_of_a_change_of_ratios(measured: str, drawn: bool) -> None:
    """Seconds of several hours are 8 % apart where their ratios to the anchor are 1 % apart."""
    before, now = Estimate(0.0100, 0.0092, 0.0108, 9), Estimate(0.0117, 0.0116, 0.0118, 3)
    change = Estimate(0.15, 0.13, 0.17, 3)
    reason = f"latency.p50 11.7 ms against 10.0 ms: +15.0 % [+13.0, +17.0] {measured} +10.0 %."
    row = Comparison("s", "c", "latency.p50", Verdict.REGRESSED, reason, before, now, change, 0.1, unit="s")
    picture = str(dumbbell("key", row))
    assert ("whisker old" in picture) is drawn
    assert "whisker now" in picture


@pytest.mark.parametrize(
    ("samples", "share", "wanted"),
    [(4, 0.5, 2), (3, 0.5, 2), (100, 0.99, 99), (100, 0.07, 7), (1, 0.99, 1), (4, 0.0, 1), (4, 1.0, 4)],
)
def test_a_quantile_is_the_first_sample_that_as_many_do_not_exceed(samples: int, share: float, wanted: int) -> None:
    """Of a hundred calls 99 % took no longer than the last but one: the page said the slowest."""
    assert quantile(range(1, samples + 1), share) == wanted


def test_calls_beyond_the_distribution_are_not_drawn_at_its_edge() -> None:
    """The curve rose to 100 % at the end of the axis, where calls that took twenty times as long are not."""
    calls = [0.001 + i * 1e-6 for i in range(198)]
    curves = []
    for slowest in (0.0012, 0.024):
        picture = str(ecdf("key", {"candidate": [*calls, slowest, slowest]}).svg)
        (curve,) = re.findall(r'<path class="line candidate" d="M([^"]*)"', picture)
        curves.append([tuple(map(float, corner.split())) for corner in curve.split("L")])
    steady, tailed = curves
    top, right = 26, 448
    assert steady[-1][1] == top
    assert len(tailed) == len(steady) - 1
    assert all(across < right and down > top for across, down in tailed)


def test_the_ticks_of_an_axis_read_differently() -> None:
    narrow = [0.0129 + 0.00006 * i / 50 for i in range(50)]
    times = [text for text in ticks_of(ecdf("key", {"candidate": narrow}).svg) if text.endswith("s")]
    assert times == ["12.9 ms", "12.92 ms", "12.94 ms", "12.96 ms"]
    assert list(seconds([0.001, 0.002]).values()) == ["1 ms", "2 ms"]
    assert list(shares([0.975, 0.98]).values()) == ["97.5 %", "98 %"]
    assert list(shares([0.97501, 0.97502]).values()) == ["97.501 %", "97.502 %"]
    assert list(seconds([1.0, 1.0 + 1e-9]).values()) == ["1 s", "1 s"], "where six digits are too few"
    view = cases(sample_run(1, 1, samples=2))[0]
    for unit, value, step in (("s", 0.0129, 1e-6), ("share", 0.98, 1e-5), ("x", 2.3, 1e-3), ("count", 9e6, 3.0)):
        points = tuple(
            Point(f"r{i}", f"2026-05-{i + 1:02}T10:00:00+00:00", "a" * 40, False, *[value + i * step] * 3)
            for i in range(9)
        )
        drawn = ticks_of(over_runs("key", Series(view.suite, view.id, "own", unit, "lower", "cpu", points)))
        beside = drawn[: next(i for i, text in enumerate(drawn) if "2026" in text)]
        assert len(beside) > 2
        assert len(set(beside)) == len(beside), unit


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert all(link.startswith("#") and link[1:] in ids for link in page.attributes("href") if link != "data:,")


@pytest.mark.parametrize("make", [sample_run, hostile_run])
def test_nothing_is_loaded_and_only_our_style_and_script_may_run(make) -> None:
    page = Page(render(make()))
    assert page.attributes("src") == []
    assert page.find("link") == [{"rel": "icon", "href": "data:,"}]
    for _, attrs in page.tags:
        assert not any(name.startswith("on") or name in ("style", "srcset", "action", "formaction") for name in attrs)
        assert all((value or "").startswith(("#", "data:,")) for name, value in attrs.items() if "href" in name)
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    for tag in ("script", "style"):
        (content,) = page.texts[tag]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in (policy["content"] or "")
    assert (policy["content"] or "").startswith("default-src 'none'")
    assert "unsafe" not in (policy["content"] or "")
    assert "http" not in page.texts["style"][0]
    assert "url(" not in page.texts["style"][0]


def test_hostile_names_stay_names() -> None:
    run = hostile_run()
    data = render(run)
    page = Page(data)
    allowed = {tag for tag, _ in Page(render(sample_run())).tags}
    assert {tag for tag, _ in page.tags} <= allowed
    assert len(page.texts["h1"]) == 1
    text = page.text
    for payload in HOSTILE[:8]:
        assert payload in text
    assert "49" not in text.split("{{ 7 * 7 }}")[1][:10]
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]", data.decode("utf-8")
    )
    assert "nul\\x00byte" in text
    assert "surrogate\\udcff" in text
    assert len(set(page.attributes("id"))) == len(page.attributes("id"))


@pytest.mark.parametrize(
    ("change", "state", "sentence"),
    [
        ({"comparisons": ()}, "failed", "8 cases failed."),
        ({"results": (), "comparisons": ()}, "empty", "Nothing was measured."),
        ({"results": (), "comparisons": (), "complete": False}, "incomplete", "The run did not finish."),
    ],
)
def test_runs_with_little_in_them_are_drawn(change: dict, state: str, sentence: str) -> None:
    run = dataclasses.replace(sample_run(samples=4), **change)
    assert Overview(run).headline.state == state
    assert Page(render(run)).texts["h1"] == [sentence]


def sections_of(run: Run) -> dict[str, str]:
    """The text of each section of the page of a run."""
    found = re.findall(r'<section id="(\w+)"(.*?)</section>', render(run).decode(), re.DOTALL)
    return {name: plain(re.sub("<[^>]*>", " ", unescape(text))) for name, text in found}


def a_green_run() -> Run:
    run = sample_run(1, 3, samples=4)
    return dataclasses.replace(run, comparisons=tuple(c for c in run.comparisons if c.verdict is Verdict.UNCHANGED))


def test_the_sections_of_a_run_that_failed_although_no_case_did_contradict_it_nowhere() -> None:
    run = a_green_run()
    assert "Nothing failed." in sections_of(run)["why"]
    state = {**run.environment.state, "undone": "--require-hardware=cuda, and it is not here: no GPU"}
    red = dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))
    assert Overview(red).headline.sentence == "The run failed."
    told = sections_of(red)["why"]
    assert "Nothing failed" not in told
    assert "No case failed. The run did, for the reason that stands in its verdict." in told


@pytest.mark.parametrize(("expected", "words"), [(40, "37 further cases"), (4, "1 further case")])
def test_what_a_run_did_not_come_to_is_not_said_to_have_given_numbers(expected: int, words: str) -> None:
    run = a_green_run()
    assert "Every case gave its numbers." in sections_of(run)["problems"]
    assert re.search(r'<a href="#problems">Not measured</a></li>', render(run).decode())
    cut = dataclasses.replace(run, complete=False, expected=expected)
    told = sections_of(cut)
    assert "Nothing failed of what was measured." in told["why"]
    assert f"The run did not come to {words}." in told["problems"]
    assert "Every case gave its numbers." not in told["problems"]
    assert f'Not measured</a> <span class="n">{expected - 3}</span>' in render(cut).decode()


def test_a_run_without_a_case_has_none_that_gave_numbers() -> None:
    told = sections_of(dataclasses.replace(a_green_run(), results=(), comparisons=(), expected=0))["problems"]
    assert "The run has no case." in told
    assert "Every case gave its numbers." not in told


@pytest.mark.parametrize("mode", ["quick", "off", "update", "strict"])
def test_every_mode_is_drawn(mode: str) -> None:
    sentence = Overview(sample_run(mode=mode)).headline.sentence
    assert Page(render(sample_run(samples=4, mode=mode))).texts["h1"] == [sentence]


def test_numbers_at_their_edges_are_drawn() -> None:
    run = sample_run(1, 2, samples=1)
    odd = [0.0, 1e-300, 1e300, -1.0, 5e-324]
    results = []
    for i, value in enumerate(odd):
        estimate = Estimate(value, value, value, 1, 1)
        launch = dataclasses.replace(run.results[1].launches[0], samples={"candidate": (abs(value),)}, pressure=None)
        names = ("latency.p50", "accuracy", "speedup", "throughput", "memory.peak", "size")
        results.append(
            dataclasses.replace(
                run.results[i % 2],
                case_id=f"digits/{i}/cpu",
                technique="reference" if i == 0 else str(i),
                measurements=tuple(Measurement(name, estimate, (value,)) for name in names),
                launches=(launch,),
            )
        )
    comparisons = [
        dataclasses.replace(
            run.comparisons[0], case_id=f"digits/{i}/cpu", verdict=Verdict.REGRESSED, limit=abs(a), better=better,
            baseline=Estimate(a, a, a), candidate=Estimate(b, b, b), change=Estimate(b, min(b, 0.0), max(b, 0.0)),
        )
        for i, (a, b) in enumerate(zip(odd, reversed(odd), strict=True))
        for better in ("lower", "higher")
    ]  # fmt: skip
    page = Page(render(dataclasses.replace(run, results=tuple(results), comparisons=tuple(comparisons))))
    assert "nan" not in " ".join(page.attributes("d") + page.attributes("cx") + page.attributes("x"))
    assert page.texts["h1"] == ["Every case failed."]


def test_two_thousand_cases_fit_and_what_was_left_out_is_said() -> None:
    run = sample_run(200, 10, samples=4)
    assert len(run.results) == 2000
    data = render(run)
    assert len(data) <= 5_000_000
    page = Page(data)
    text = plain(page.text)
    assert re.search(r"To keep this page small, \d+ cases have no pictures, \d+ have one line\. Everything is in", text)
    for failure in Overview(run).failures:
        assert said(failure) in text
    shown = {i for i in page.attributes("id") if i.startswith("case-") and not i.endswith(("-e", "-s", "-t", "-d"))}
    assert shown == {anchor(view.suite, view.id) for view in cases(run)}


def test_what_was_found_in_two_thousand_cases_is_cut_so_that_the_page_keeps_its_size() -> None:
    run = sample_run(200, 10, samples=2)
    found = {"speedup": Verdict.REGRESSED, "latency.p50": Verdict.IMPROVED, "accuracy": Verdict.INCONCLUSIVE}
    rows = tuple(
        dataclasses.replace(
            run.comparisons[0], suite=result.suite, case_id=result.case_id, metric=metric, verdict=verdict,
            reason="Too long. " * 40,
        )
        for result in run.results
        if result.outcome is Outcome.COMPLETED
        for metric, verdict in found.items()
    )  # fmt: skip
    data = render(dataclasses.replace(run, comparisons=rows))
    assert len(data) <= 5_000_000
    assert len(re.findall(rb"\d+ further ones are left out here", data)) == 2
    assert re.search(rb"\d+ further failures are left out here", data)


def test_a_model_of_too_many_cases_is_not_drawn_and_the_page_says_where_its_numbers_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sections, "MAX_POINTS", 8)
    many, few = (sample_run(2, number, samples=2) for number in (10, 5))
    run = dataclasses.replace(many, results=(*many.results[:10], *few.results[5:]))
    first, second = sections.fronts(Overview(run))
    assert first["picture"] is None
    assert first["rows"] == []
    assert first["answers"]
    assert second["picture"], "the next one has its room still"
    told = "the picture and its table are left out here. The numbers are in each case, and in run.json."
    assert plain(Page(render(run)).text).count(told) == 1


def test_past_the_budget_cases_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    run = sample_run(samples=4)
    monkeypatch.setattr("harness.report.html.page.PAGE_BYTES", 36_000)
    page = Page(render(run))
    text = plain(page.text)
    left_out = re.search(r"To keep this page small, (?:\d+ ha(?:ve|s) one line and )?(\d+) are left out", text)
    assert left_out
    listed = [c for c in page.attributes("class") if "case" in c.split()]
    assert int(left_out[1]) + len(listed) == len(cases(run))


def test_hardware_that_is_not_here_has_its_reason_and_no_map() -> None:
    run = sample_run(1, 2, samples=1)
    reason = "no NVIDIA driver: its library is not on this machine"
    absent = tuple(
        dataclasses.replace(
            r, case_id=r.case_id.replace("/cpu", "/cuda"), hardware="cuda", outcome=Outcome.UNAVAILABLE, reason=reason,
            measurements=(), launches=(),
        )
        for r in run.results
    )  # fmt: skip
    page = Page(render(dataclasses.replace(run, results=(*run.results, *absent))))
    assert f"Nothing was measured here: {reason}" in plain(page.text)
    assert len(page.find("table", **{"class": "gains"})) == 1


def test_a_map_of_very_many_cases_shows_the_speed_up_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "MAX_CELLS", 15)
    few, many = (sections.gain_maps(Overview(sample_run(models, 5, samples=2)))[0] for models in (3, 4))
    names = [{gain.name for _, cells in found.rows for cell in cells for gain in cell.gains} for found in (few, many)]
    assert (few.brief, many.brief) == (False, True)
    assert names == [{"speed", "memory", "accuracy"}, {"speed"}]
