"""The report in a real Chromium, without network: on desks, phones, dark screens and paper."""

import io
import os
import shutil

import pytest
from matplotlib.image import imread
from playwright.sync_api import sync_playwright
from report_files import evaluation, write_evaluation, write_run

from mlpf_stream.report import report

INSTALL = "apt-get install -y --no-install-recommends chromium"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESK, PHONE = (1280, 800), (390, 844)
PAPER = (688, 1000)
"""Width of A4 between the margins of the page, in CSS pixels."""
SCREENS = [pytest.param(DESK, id="desk"), pytest.param(PHONE, id="phone")]

FIGURES = """() => [...document.querySelectorAll("figure svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  const scale = box.width / svg.viewBox.baseVal.width;
  const texts = [...svg.querySelectorAll("text")].map(text => {
    const at = text.getBoundingClientRect(), style = getComputedStyle(text);
    return {words: text.textContent, left: at.left, right: at.right, top: at.top,
            bottom: at.bottom, letters: scale * parseFloat(style.fontSize)};
  }).filter(text => text.words.trim());
  return {name: svg.getAttribute("aria-label"), left: box.left, right: box.right, top: box.top,
          bottom: box.bottom, width: box.width, height: box.height, texts};
})"""

CONTRASTS = """() => {
  const part = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const colour = text => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const paper = node => {
    for (; node; node = node.parentElement) {
      const found = colour(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  return [...document.body.querySelectorAll("*")]
    .filter(node => !node.closest("svg") && [...node.childNodes].some(
      child => child.nodeType == 3 && child.textContent.trim()))
    .map(node => {
      const pair = [light(colour(getComputedStyle(node).color)), light(paper(node))];
      return {words: node.textContent.trim().slice(0, 40),
              ratio: (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)};
    });
}"""


@pytest.fixture(scope="module")
def chromium():
    """A browser of its own, with a fresh profile; ended by its process when the tests are."""
    found = shutil.which("chromium")
    if found is None:
        stop = pytest.fail if "CI" in os.environ else pytest.skip
        stop(f"expected Chromium, found none; install it with: {INSTALL}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=found, headless=True, args=FLAGS, timeout=120_000
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The report of two runs, one of which has a long name."""
    runs = tmp_path_factory.mktemp("runs")
    for name, kind, width in (("lsh", "lsh_gnn", 0.0731), ("mlp", "a_kind_of_long_name", 0.1971)):
        write_run(runs / name, kind, steps=1000)
        write_evaluation(runs / name / "evaluation", evaluation(kind, width))
    out = tmp_path_factory.mktemp("pages") / "report.html"
    report([str(runs / "lsh"), str(runs / "mlp")], str(out))
    return out


@pytest.fixture
def show(chromium, file):
    """Return a function that opens the report on a screen, and notes all that goes wrong."""
    contexts, said, fetched = [], [], []

    def open_page(size, **settings):
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, offline=True, **settings
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"exception: {error}"))
        page.on("crash", lambda _: said.append("crash"))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(file.as_uri(), wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert set(fetched) == {file.as_uri()}


def page_width(page):
    return page.evaluate("document.documentElement.scrollWidth")


@pytest.mark.parametrize("size", SCREENS)
def test_the_page_fits_its_screen(show, size):
    page = show(size)
    assert page.title() == "Particle flow: LSH GNN and a_kind_of_long_name"
    assert page_width(page) == size[0]
    page.locator("details summary").click()
    assert page.locator("details table").is_visible()
    assert page_width(page) == size[0]


@pytest.mark.parametrize("size", SCREENS)
def test_every_figure_is_seen_whole(show, size):
    figures = show(size).evaluate(FIGURES)
    assert len(figures) == 2 + 3 * 2 + 6 + 3 + 1
    for figure in figures:
        assert figure["width"] >= 300, figure["name"]
        assert figure["height"] >= 250, figure["name"]
        assert figure["left"] >= 0, figure["name"]
        assert figure["right"] <= size[0], figure["name"]


@pytest.mark.parametrize("size", SCREENS)
def test_all_words_in_figures_can_be_read(show, size):
    for figure in show(size).evaluate(FIGURES):
        texts = figure["texts"]
        assert len(texts) > 8, figure["name"]
        for text in texts:
            assert text["letters"] >= 9.5, (figure["name"], text["words"])
            assert text["left"] >= figure["left"] - 0.5, (figure["name"], text["words"])
            assert text["right"] <= figure["right"] + 0.5, (figure["name"], text["words"])
            assert text["top"] >= figure["top"] - 0.5, (figure["name"], text["words"])
            assert text["bottom"] <= figure["bottom"] + 0.5, (figure["name"], text["words"])
        overlaps = [
            (first["words"], second["words"])
            for i, first in enumerate(texts)
            for second in texts[:i]
            if overlap(first, second)
        ]
        assert not overlaps, figure["name"]


def overlap(first, second):
    """Whether words cover one another; boxes of letters are higher than the letters in them."""
    wide = min(first["right"], second["right"]) - max(first["left"], second["left"])
    high = min(first["bottom"], second["bottom"]) - max(first["top"], second["top"])
    return wide > 1 and high > 0.3 * min(first["letters"], second["letters"])


def test_lines_of_both_runs_are_on_the_screen(show):
    figure = show(DESK).locator("figure svg[aria-label^='Response of matched jets, qq']")
    pixels = imread(io.BytesIO(figure.screenshot()), format="png")[..., :3]
    for colour in ("3f90da", "bd1f01"):
        wanted = [int(colour[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        assert (abs(pixels - wanted) < 0.02).all(axis=-1).sum() > 200, colour
    assert (pixels > 0.99).all(axis=-1).mean() > 0.5


@pytest.mark.parametrize("size", SCREENS)
def test_contents_lead_to_every_section(show, size):
    page = show(size, reduced_motion="reduce")
    links = page.locator("nav a")
    assert links.count() == 9
    for k in range(links.count()):
        page.evaluate("window.scrollTo(0, 0)")
        links.nth(k).click()
        target = links.nth(k).get_attribute("href")
        heading = page.locator(f"h2{target}")
        assert heading.inner_text() == links.nth(k).inner_text()
        box = heading.bounding_box()
        assert 0 <= box["y"] <= size[1] - box["height"], target
        seen = "([x, y]) => document.elementFromPoint(x, y).id"
        assert page.evaluate(seen, [box["x"] + 5, box["y"] + 8]) == target[1:]


def test_the_results_need_no_scrolling_on_a_desk(show):
    page = show(DESK)
    wider = "tables => tables.filter(t => t.scrollWidth > t.parentElement.clientWidth).length"
    assert page.eval_on_selector_all("table", wider) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_page(show, scheme):
    page = show(DESK, color_scheme=scheme)
    page.locator("details summary").click()
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100
    assert [part for part in found if part["ratio"] < 4.5] == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    figure = page.eval_on_selector("figure svg", "svg => getComputedStyle(svg).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert figure == "rgb(255, 255, 255)"


def test_it_can_be_printed(show):
    page = show(PAPER, color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page_width(page) == PAPER[0]
    wider = "tables => tables.filter(t => t.getBoundingClientRect().right > innerWidth).length"
    assert page.eval_on_selector_all("table", wider) == 0
    assert min(part["ratio"] for part in page.evaluate(CONTRASTS)) >= 4.5
    paper = page.pdf(format="A4", print_background=False)
    assert paper.startswith(b"%PDF-")
    assert 4 <= paper.count(b"/Type /Page\n") <= 20
