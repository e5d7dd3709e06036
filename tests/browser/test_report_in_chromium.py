"""What a browser makes of the pages: Debian's Chromium, without a window, on a telephone's and a desk's width."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from etl_lib.run.metrics import Metrics
from etl_lib.telling.report import draw_index, draw_report, separated
from etl_lib.telling.state import JobState, attempt_of
from tests import reports
from tests.reports import HOSTILE, KINDS, hostile_day, leaves

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
WIDTHS = pytest.mark.parametrize("size", [PHONE, DESK], ids=["telephone", "desk"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])

NUMBERS = """() => [...document.querySelectorAll('data')].map(it =>
    [it.dataset.key ?? it.dataset.sum, it.innerText, it.checkVisibility()])"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
OPEN_ALL = "() => document.querySelectorAll('details').forEach(it => it.open = true)"
TAB_STOPS = """() => [...document.querySelectorAll('a[href], summary, [tabindex="0"]')]
    .filter(it => it.checkVisibility()).length"""
PLAIN_FAULTS = """() => {
    const faults = [], ids = [...document.querySelectorAll('[id]')].map(it => it.id);
    if (document.documentElement.lang !== 'en') faults.push('no language');
    if (!document.title.trim()) faults.push('no title');
    if (new Set(ids).size !== ids.length) faults.push('an id stands twice');
    let level = 0;
    for (const it of document.querySelectorAll('h1, h2, h3, h4')) {
        const own = Number(it.tagName[1]);
        if (own > level + 1) faults.push(`a level is left out before ${it.innerText}`);
        level = own;
    }
    if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
    const named = it => (it.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean)
        .map(id => document.getElementById(id)?.textContent.trim());
    for (const it of document.querySelectorAll('svg:not([aria-hidden]), section')) {
        const names = named(it);
        if (!names.length || names.some(name => !name)) faults.push(`no name: ${it.outerHTML.slice(0, 99)}`);
    }
    for (const it of document.querySelectorAll('.scroll'))
        if (it.getAttribute('role') !== 'region' || !it.getAttribute('aria-label') || it.tabIndex !== 0)
            faults.push('a box that no keyboard reaches, or without a name');
    for (const it of document.querySelectorAll('th'))
        if (!it.scope) faults.push(`a heading of nothing: ${it.innerText}`);
    for (const it of document.querySelectorAll('input'))
        if (!it.labels.length || !it.closest('fieldset')?.querySelector('legend')) faults.push('a nameless input');
    return faults;
}"""
PALE_TEXTS = """() => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
    const behind = it => {
        for (; it; it = it.parentElement) {
            const color = rgb(getComputedStyle(it).backgroundColor);
            if (color.length < 4 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    const pale = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const it = walker.currentNode.parentElement, style = getComputedStyle(it);
        if (!walker.currentNode.data.trim() || it.closest('svg') || !it.checkVisibility()) continue;
        const [one, other] = [light(rgb(style.color)), light(behind(it))].sort((a, b) => b - a);
        const size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        const contrast = (one + .05) / (other + .05);
        if (contrast < (isLarge ? 3 : 4.5)) pale.push(`${contrast.toFixed(2)} ${walker.currentNode.data.trim()}`);
    }
    return [...new Set(pale)];
}"""


@dataclass
class Opened:
    """A page, and what the browser said and asked for while it was there."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's own browser: none is downloaded."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the quick tests, which collect this file, do without

    path = shutil.which("chromium")
    assert path, "no Chromium: apt-get install chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a page from its file."""
    opened = []

    def opens(html: str, size: dict[str, int] = DESK, scheme: str = "light") -> Opened:
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        it = Opened(chromium.new_page(viewport=size, color_scheme=scheme))  # type: ignore[arg-type]
        opened.append(it)
        it.page.on("console", lambda message: it.said.append(message.text))
        it.page.on("pageerror", lambda error: it.said.append(str(error)))
        it.page.on("dialog", lambda dialog: it.said.append(dialog.message))
        it.page.on("request", lambda request: it.asked_for.append(request.url))
        it.page.goto((tmp_path / "page.html").as_uri())
        return it

    yield opens
    for it in opened:
        it.page.close()


def report_of(values: dict[str, Any]) -> str:
    return draw_report(values, reports.a_life()["orders"].attempts, "")


def index() -> str:
    """A day that has a run that failed and one that did not, besides others."""
    done = attempt_of(Metrics("r-8", "done", "pull", started_at="2024-06-09T01:00:00+00:00"))
    failed = attempt_of(Metrics("r-9", "failed", "pull", started_at="2024-06-09T01:02:03+00:00", message="no route"))
    return draw_index(reports.a_life() | {"pull": JobState().after(done).after(failed)})


@WIDTHS
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_number_on_the_page_is_that_of_the_metrics(
    open_page: Open, kind: Callable[[], dict[str, Any]], size: dict[str, int]
) -> None:
    values = kind()
    it, expected = open_page(report_of(values), size), dict(leaves(values))
    assert it.page.evaluate(OVERFLOW) <= 0
    it.page.evaluate(OPEN_ALL)
    assert it.page.evaluate(OVERFLOW) <= 0
    numbers = it.page.evaluate(NUMBERS)
    assert numbers or kind is reports.stopped_run
    for places, text, is_visible in numbers:
        several = [expected[place] for place in places.split(" ")]
        assert (places, text, is_visible) == (
            places,
            separated(several[0] if len(several) == 1 else sum(several)),
            True,
        )
    assert it.said == []
    assert it.asked_for == [it.page.url]


@WIDTHS
@pytest.mark.parametrize("html", [report_of(hostile_day(HOSTILE)), index()], ids=["hostile", "index"])
def test_a_page_fits_its_window_and_runs_nothing(open_page: Open, html: str, size: dict[str, int]) -> None:
    it = open_page(html, size)
    it.page.evaluate(OPEN_ALL)
    assert it.page.evaluate(OVERFLOW) <= 0
    assert it.page.locator("script").count() == 0
    assert it.said == []
    assert it.asked_for == [it.page.url]


@pytest.mark.parametrize("html", [report_of(reports.rich_day()), report_of(reports.failed_run()), index()])
def test_a_page_has_what_a_screen_reader_needs(open_page: Open, html: str) -> None:
    it = open_page(html)
    it.page.evaluate(OPEN_ALL)
    assert it.page.evaluate(PLAIN_FAULTS) == []


@SCHEMES
@pytest.mark.parametrize("html", [report_of(reports.held_run()), report_of(reports.checked()), index()])
def test_every_text_stands_out_from_what_is_behind_it(open_page: Open, html: str, scheme: str) -> None:
    """WCAG 2 AA."""
    it = open_page(html, DESK, scheme)
    it.page.evaluate(OPEN_ALL)
    assert it.page.evaluate(PALE_TEXTS) == []


def test_the_dark_scheme_is_dark(open_page: Open) -> None:
    behind = (
        "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, v) => sum + Number(v), 0)"
    )
    light, dark = (
        open_page(report_of(reports.rich_day()), DESK, scheme).page.evaluate(behind) for scheme in ("light", "dark")
    )
    assert light > 700
    assert dark < 100


@WIDTHS
def test_the_keyboard_reaches_everything_the_skip_link_first(open_page: Open, size: dict[str, int]) -> None:
    page = open_page(report_of(reports.rich_day()), size).page
    reached = []
    for _ in range(page.evaluate(TAB_STOPS)):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.innerText"))
    assert reached[:2] == ["Skip to the content", "All runs"]
    assert {"Rules that fired", "Tables", "Gates", "Steps as a table", "BRL as a table"} <= set(reached)
    assert len(reached) == len({*reached}) >= 19
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.get_by_text("Steps as a table").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("region", name="Steps").is_visible()


def test_the_index_is_filtered_by_the_keyboard_without_a_script(open_page: Open) -> None:
    page = open_page(index()).page
    rows = page.locator("tr.run:visible")
    assert rows.count() == 43
    page.get_by_role("radio", name="failed").focus()
    page.keyboard.press("Space")
    assert [row.split("\t")[1] for row in rows.all_inner_texts()] == ["Pull", "Orders"]
    assert page.locator("tr.day:visible").count() == 2
    page.get_by_role("radio", name="Pull").focus()
    page.keyboard.press("Space")
    assert [row.split("\t")[1] for row in rows.all_inner_texts()] == ["Pull"]


def test_a_report_is_printed_on_white_paper(open_page: Open) -> None:
    page = open_page(report_of(reports.rich_day()), DESK, "dark").page
    assert page.pdf()[:5] == b"%PDF-"
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(PALE_TEXTS) == []
