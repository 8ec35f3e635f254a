"""The page in a real browser: it loads nothing, fits a phone, is read in the dark and worked by keyboard."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib import image
from playwright.sync_api import Browser, Page, Request, sync_playwright

from noiseproof.study import Record

Visit = Callable[..., Page]
MakePage = Callable[..., str]
MakeRecord = Callable[..., Record]

VERMILION, BLUE = (184, 70, 14), (0, 103, 177)
"""The first two losses, in the light."""

CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

# contrast by the formula of WCAG 2; colours are read from a canvas, which knows every notation
CONTRASTS = """() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => rgba(colour).slice(0, 3)
    .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (rgba(colour)[3] === 255) return luminance(colour);
    }
    throw new Error("nothing behind " + element.outerHTML);
  };
  const texts = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
    && !e.closest("script, .aside") && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  const lines = [...document.querySelectorAll(".swatch .line")];
  const faint = (elements, property, least) => elements
    .filter((e) => ratio(luminance(getComputedStyle(e)[property]), behind(e.closest("svg") ?? e)) < least)
    .map((e) => e.outerHTML);
  return { texts: texts.length, faint: [...faint(texts, "color", 4.5), ...faint(lines, "stroke", 3)] };
}"""

# what stands in the order of tabs, and whether its focus can be seen
STOP = """() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const drawn = [e, e.parentElement, e.nextElementSibling].filter(Boolean).map((x) => getComputedStyle(x));
  const seen = drawn.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
  return { name: e.id || e.getAttribute("href") || e.textContent.trim().slice(0, 40) || e.className,
           label: e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")
                  || e.closest("label")?.textContent.trim() || e.textContent.trim(), seen };
}"""

CONTROLS = """() => [...document.querySelectorAll(
  "a[href], button, summary, input[type=checkbox], input[type=radio]:checked, [tabindex='0']")]
  .filter((e) => e.checkVisibility()).length"""

AXES = """() => [...document.querySelectorAll(".plot")].map((plot) => [
  plot.querySelector("svg").getAttribute("viewBox"), plot.querySelector(".grid").getAttribute("d"),
  [...plot.querySelectorAll(".tick")].map((tick) => tick.textContent).join(" ")].join(" | "))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, page_file: Path) -> Iterator[Visit]:
    """Opens the page in a window of some width; fails if it complains or asks for anything."""
    faults: list[str] = []
    contexts = []

    def asked(request: Request) -> None:
        if request.url != page_file.as_uri():
            faults.append(request.url)

    def open_page(width: int = 1200, **options: Any) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", asked)
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def pixels(page: Page, selector: str, colour: tuple[int, int, int]) -> int:
    """How many pixels of an element's picture are of nearly this colour."""
    picture = image.imread(io.BytesIO(page.locator(selector).first.screenshot()))[..., :3] * 255
    return int((abs(picture - colour).max(axis=-1) < 24).sum())


def test_curves_are_drawn_and_can_be_picked(visit: Visit) -> None:
    page = visit(color_scheme="light")
    before = pixels(page, ".plot", VERMILION), pixels(page, ".plot", BLUE)
    assert min(before) > 200
    as_made = page.evaluate(AXES)
    page.uncheck("#loss-0")
    assert pixels(page, ".plot", VERMILION) < 20
    assert pixels(page, ".plot", BLUE) > 200
    assert page.evaluate(AXES) != as_made  # the axis fits what is left
    page.uncheck("#noise-1")
    assert page.locator(".panel:visible").count() == 2 * 2
    page.click("#clear")
    assert page.locator(".plot .line:visible").count() == 0
    page.click("button[type=reset]")
    page.wait_for_function(f"() => ({AXES})().join() === {as_made!r}.join()")
    assert page.locator(".panel:visible").count() == 2 * 3
    # the script's axes are those that the page was made with
    page.evaluate("document.querySelector('.picks').dispatchEvent(new Event('change'))")
    assert page.evaluate(AXES) == as_made
    page.check("#close-up")
    assert page.evaluate(AXES)[0].startswith("6 ")


def test_one_epoch_is_a_dot(
    visit: Visit, page_file: Path, make_record: MakeRecord, make_page: MakePage
) -> None:
    page_file.write_text(make_page([make_record("ce", "symmetric:0.2", test=[0.5])]))
    page = visit(color_scheme="light")
    assert pixels(page, ".plot", VERMILION) > 2
    page.locator(".plot").first.hover()
    assert page.locator(".tip p").inner_text() == "epoch 1"


def test_a_point_tells_its_loss_epoch_and_value(visit: Visit) -> None:
    page = visit()
    plot = page.locator(".plot").nth(1)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    # in the last epoch, where NCE+MAE is at 84.5 and its deviation 0.71, near the top of the axis
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 3)
    tip = page.locator(".tip")
    assert tip.locator("p").inner_text() == "epoch 12"
    assert tip.locator(".chosen").all_inner_texts() == ["NCE+MAE", "84.50 % ± 0.71"]
    assert tip.locator("dt").all_inner_texts() == ["NCE+MAE", "NCE", "CE"]
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] - 1)
    assert tip.locator("p").inner_text() == "epoch 1"
    assert tip.locator(".chosen").all_inner_texts() == ["CE", "30.50 % ± 0.71"]
    page.mouse.move(0, 0)
    assert tip.count() == 0


def test_everything_can_be_reached_and_worked_by_keyboard(visit: Visit) -> None:
    page = visit()
    stops: list[dict[str, Any]] = []
    while len(stops) < 200:
        page.keyboard.press("Tab")
        stop = page.evaluate(STOP)
        if stop is None:
            break
        stops.append(stop)
    assert stops[0]["name"] == "#content"  # skips what is before it
    assert len(stops) == page.evaluate(CONTROLS)
    assert [stop["name"] for stop in stops if not stop["seen"]] == []
    assert [stop["name"] for stop in stops if not stop["label"]] == []

    plot = page.locator(".plot").first
    plot.focus()
    for key, told in (
        ("End", "epoch 12: CE 74.50 % ± 0.71"),
        ("ArrowLeft", "epoch 11: CE 70.50 % ± 0.71"),
        ("ArrowUp", "epoch 11: NCE 75.50 % ± 0.71"),
        ("PageDown", "epoch 1: NCE 35.50 % ± 0.71"),
        ("ArrowRight", "epoch 2: NCE 39.50 % ± 0.71"),
        ("Home", "epoch 1: NCE 35.50 % ± 0.71"),
    ):
        page.keyboard.press(key)
        assert plot.get_attribute("aria-valuetext") == told
    assert plot.get_attribute("aria-valuenow") == "1"
    page.keyboard.press("Escape")
    assert page.locator(".tip").count() == 0

    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.locator("#loss-0").focus()
    page.keyboard.press("Space")
    assert not page.locator("#loss-0").is_checked()


def test_it_can_be_read_in_light_and_dark(visit: Visit) -> None:
    backgrounds = []
    background = "getComputedStyle(document.body).backgroundColor"
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        page.locator(".plot").first.hover()
        found = page.evaluate(CONTRASTS)
        assert found["texts"] > 100
        assert found["faint"] == []
        backgrounds.append(page.evaluate(background))
    assert backgrounds[0] != backgrounds[1]
    page.check("#scheme-light", force=True)
    assert page.evaluate(background) == backgrounds[0]


def test_it_fits_a_phone(visit: Visit) -> None:
    page = visit(375, has_touch=True)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    plot = page.locator(".plot").first
    plot.tap()
    assert page.locator(".tip .chosen").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_it_is_whole_without_scripts_and_on_paper(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator(".plot .line:visible").count() == 2 * 3 * 3
    page.uncheck("#loss-1")
    assert page.locator(".plot .line:visible").count() == 2 * 3 * 2
    printed = visit()
    shown = "[...document.querySelectorAll('details')].filter((each) => each.open).length"
    printed.evaluate(f"addEventListener('beforeprint', () => {{ window.opened = {shown}; }})")
    before = printed.evaluate(shown)
    assert len(printed.pdf()) > 10_000
    assert printed.evaluate("opened") == printed.locator("details").count()
    assert printed.evaluate(shown) == before
