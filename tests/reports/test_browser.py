"""The page in a real browser: headless Chromium, opened from disk, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamspi.reports.building import build
from dreamspi.reports.rendering import render
from tests.reports.synthetic import results

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'dreamspi[dev]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH")

ARMS = ("ppo", "deepspi", "dreamspi")
#: What Plotly draws now, by chart: the places of the arms that are visible.
VISIBLE = """id => [...new Set(document.getElementById(id).data.filter(t => t.visible !== false)
              .flatMap(t => t.meta.arms ?? [t.meta.arm]))].sort()"""
X = "id => document.getElementById(id).data.map(t => t.x)"
TITLE = "id => document.getElementById(id).layout.xaxis.title.text"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render(build(results(ARMS, ("maze",))), ("png",), ("csv",)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def show(browser, page_file: Path) -> Iterator:
    """A function that opens the page at a width; whatever it complains about or fetches fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_at(width: int = 1280, **options: object):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: _local(request.url) or complaints.append(request.url))
        page.goto(page_file.as_uri())
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert complaints == []


def _local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


def see(page, *plots: str) -> None:
    """Scrolls to charts: they are drawn when they come into sight."""
    for plot in plots:
        page.locator(f"#{plot}").scroll_into_view_if_needed()
        page.locator(f"#{plot} .main-svg").first.wait_for()


def see_all(page) -> list[str]:
    """Draws all charts, which printing does; returns their names."""
    page.evaluate("dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")
    return [plot.get_attribute("id") for plot in page.locator(".plot").all()]


def test_a_chart_is_drawn_when_it_comes_into_sight(show) -> None:
    page = show()
    last = page.locator(".plot").last
    assert last.locator(".main-svg").count() == 0
    see(page, "learning_curves-0", last.get_attribute("id"))


def test_an_arm_is_hidden_in_every_chart_and_shown_again(show) -> None:
    page = show()
    plots = see_all(page)
    before = {plot: page.evaluate(VISIBLE, plot) for plot in plots}
    assert before["learning_curves-0"] == [0, 1, 2] and len(before) > 20
    button = page.get_by_role("button", name="ppo")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    for plot in plots:
        assert 0 not in page.evaluate(VISIBLE, plot)
    # A pair is about both of its arms.
    assert page.evaluate(VISIBLE, "improvement-0") == [1, 2]
    button.click()
    assert {plot: page.evaluate(VISIBLE, plot) for plot in plots} == before


def test_the_axis_switches_between_steps_and_clock(show) -> None:
    page = show()
    moving, still = "learning_curves-0", "profiles-0"
    see(page, moving, still, "neighborhood_ratio-0")
    before, beside = page.evaluate(X, moving), page.evaluate(X, still)
    page.get_by_role("button", name="time").click()
    assert page.evaluate(TITLE, moving) == "seconds of training"
    assert page.evaluate(X, moving) != before and page.evaluate(X, still) == beside
    assert page.evaluate(TITLE, "neighborhood_ratio-0") == "seconds of training"
    page.get_by_role("button", name="ppo").click()  # both switches at once
    assert page.evaluate(TITLE, moving) == "seconds of training" and page.evaluate(VISIBLE, moving) == [1, 2]
    page.get_by_role("button", name="steps").click()
    assert page.evaluate(X, moving) == before and page.evaluate(TITLE, moving) == "environment steps"


def test_hovering_tells_the_interval(show) -> None:
    page = show()
    see(page, "learning_curves-0")
    plot = page.locator("#learning_curves-0")
    box = plot.bounding_box()
    for shift in (0, 2):
        page.mouse.move(box["x"] + box["width"] / 2 + shift, box["y"] + box["height"] / 2)
    told = plot.locator(".hoverlayer .legendtext").first
    told.wait_for()
    assert "n = 3" in (told.text_content() or "") and "[" in (told.text_content() or "")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(show, width: int) -> None:
    page = show(width, has_touch=True)
    see_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = """() => [...document.querySelectorAll('.plot .main-svg')]
              .filter(svg => svg.getBoundingClientRect().right > innerWidth).length"""
    assert page.evaluate(wide) == 0


def test_light_and_dark(show) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "document.getElementById('learning_curves-0').layout.font.color"
    light, dark = show(color_scheme="light"), show(color_scheme="dark")
    see(light, "learning_curves-0")
    see(dark, "learning_curves-0")
    assert light.evaluate(ground) != dark.evaluate(ground) and light.evaluate(ink) != dark.evaluate(ink)
    dark.emulate_media(color_scheme="light")
    dark.wait_for_function(f"{ink} === '{light.evaluate(ink)}'")


def test_printing_opens_and_draws_everything_in_dark_on_light(browser, page_file: Path, tmp_path: Path) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(page_file.as_uri())
    page.evaluate(
        """addEventListener('beforeprint', () => { window.printed = {
             drawn: document.querySelectorAll('.js-plotly-plot').length,
             closed: document.querySelectorAll('details:not([open])').length,
             ink: document.getElementById('learning_curves-0').layout.font.color,
             width: document.getElementById('learning_curves-0').layout.width } })"""
    )
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.evaluate("printed") == {
        "drawn": page.locator(".plot").count(),
        "closed": 0,
        "ink": "#1b2027",
        "width": 318,
    }
    page.wait_for_function("document.getElementById('learning_curves-0').layout.width !== 318")
    page.close()
