"""The event display in a real Chromium with WebGL, without network: on desks and phones."""

import io
import os
import shutil

import numpy as np
import pytest
from matplotlib.image import imread
from playwright.sync_api import sync_playwright
from spoiled import shoot
from test_report_browser import CONTRASTS, INSTALL

from mlpf_stream.columns import CLASSES, DETECTORS
from mlpf_stream.display import DisplayRequest, display
from mlpf_stream.display.choice import EventRequest
from mlpf_stream.display.colours import CLASS_COLOURS, PARTICLE_COLOURS
from mlpf_stream.edm4hep.events import ReadRequest, read_events
from mlpf_stream.event import concatenate_events

FLAGS = (
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""WebGL without a graphics card."""
DESK, PHONE = (1280, 900), (390, 844)
SCREENS = [pytest.param(DESK, id="desk"), pytest.param(PHONE, id="phone")]
CAMERAS = (
    "['measured', 'particles'].map(name => document.getElementById(name).layout.scene.camera.eye)"
)
VISIBLE = """() => [...document.querySelectorAll(".scene")].flatMap(scene => scene.data)
  .filter(trace => trace.visible !== false && trace.meta.source !== "outline")
  .map(trace => `${trace.meta.source} ${trace.meta.species}`)"""
HARMLESS = ("willReadFrequently", "GPU stall due to ReadPixels")
"""Advice of the browser about speed, not about mistakes."""


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


def richest_in_photons(path):
    """Return the number of the event with most photon targets: colours of all classes show."""
    request = ReadRequest(DETECTORS["clic"], None, "ttbar", "clusters", "x")
    events = concatenate_events([part for part, _ in read_events(path, request)])
    photons = events.targets.class_P == CLASSES.index("photon")
    return int(np.bincount(events.targets.event_P[photons], minlength=len(events)).argmax())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The displays of an event with particles of several classes, by mode."""
    folder = tmp_path_factory.mktemp("display")
    root = shoot(folder, "ttbar", events=8, seed=4, multiplicity=1)
    event = str(richest_in_photons(root))
    pages = {mode: folder / f"{mode}.html" for mode in ("clusters", "hits")}
    for mode, page in pages.items():
        display(DisplayRequest(EventRequest(root, event, mode=mode), str(page)))
    return pages


@pytest.fixture
def show(chromium, files):
    """Return a function that opens the display on a screen, and notes all that goes wrong."""
    contexts, said, opened, fetched = [], [], [], []

    def note(message):
        if not any(words in message.text for words in HARMLESS):
            said.append(f"{message.type}: {message.text}")

    def open_page(size, mode="clusters"):
        file = files[mode]
        opened.append(file.as_uri())
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: said.append(f"exception: {error}"))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(file.as_uri(), wait_until="load")
        page.wait_for_selector("body[data-ready=yes]", timeout=120_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert fetched == opened


def pixels_of(page, scene):
    """Return the pixels of a scene, once two pictures in a row are the same."""
    before = None
    for _ in range(20):
        picture = page.locator(f"#{scene}").screenshot()
        if picture == before:
            break
        before = picture
        page.wait_for_timeout(250)
    return imread(io.BytesIO(picture), format="png")[..., :3]


def count(pixels, colour):
    """Return how many pixels have about this colour."""
    wanted = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return int((abs(pixels - wanted) < 0.06).all(axis=-1).sum())


def on_white(colour, opacity=0.85):
    """Return the colour of a marker, which lets some of the page through."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(opacity * part + (1 - opacity) * 255):02x}" for part in parts)


@pytest.mark.parametrize("mode", ["clusters", "hits"])
@pytest.mark.parametrize("size", SCREENS)
def test_both_scenes_are_drawn_and_fit_the_screen(show, size, mode):
    page = show(size, mode)
    assert page.title().startswith("Event ttbar-")
    assert page.locator("canvas").count() >= 2
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    for scene in ("measured", "particles"):
        box = page.locator(f"#{scene}").bounding_box()
        assert box["width"] >= 300
        assert box["height"] >= 280
        assert 0 <= box["x"] <= box["x"] + box["width"] <= size[0]
        pixels = pixels_of(page, scene)
        drawn = [colour for colour in PARTICLE_COLOURS if count(pixels, colour) > 30]
        assert len(drawn) >= 5, scene
        assert (pixels > 0.99).all(axis=-1).mean() > 0.5


def test_switches_show_and_hide_by_source_and_by_class(show):
    page = show(DESK)
    everything = page.evaluate(VISIBLE)
    assert {words.split()[0] for words in everything} == {
        "tracks", "clusters", "targets", "baseline"
    }  # fmt: skip
    page.check("[data-source=generator]")
    page.uncheck("[data-source=tracks]")
    page.uncheck("[data-species=photon]")
    left = page.evaluate(VISIBLE)
    assert {words.split()[0] for words in left} == {
        "clusters", "targets", "generator", "baseline"
    }  # fmt: skip
    assert "photon" not in {words.split()[1] for words in left}
    for name in ("clusters", "targets", "generator", "baseline"):
        page.uncheck(f"[data-source={name}]")
    for scene in ("measured", "particles"):
        pixels = pixels_of(page, scene)
        assert sum(count(pixels, colour) for colour in PARTICLE_COLOURS) < 10


def test_every_point_has_words(show):
    page = show(DESK)
    for name in ("measured", "particles"):
        traces = page.evaluate(
            "name => document.getElementById(name)._fullData.filter(t => t.hoverinfo === 'text')"
            ".map(t => [t.text.length, t.x.length, t.text[0]])",
            name,
        )
        assert len(traces) > 2
        for words, points, first in traces:
            assert words == points
            assert "GeV" in first


def test_the_keyboard_reaches_the_switches(show):
    page = show(DESK)
    page.focus("[data-source=tracks]")
    page.keyboard.press("Space")
    assert "tracks" not in {words.split()[0] for words in page.evaluate(VISIBLE)}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.source") == "clusters"


def test_colours_by_class_and_back(show):
    page = show(DESK)
    by_particle = pixels_of(page, "measured")
    other = [c for c in PARTICLE_COLOURS if c not in CLASS_COLOURS.values()]
    before = sum(count(by_particle, colour) for colour in other)
    assert before > 500
    page.check("[name=colour][value=class]")
    by_class = pixels_of(page, "measured")
    assert count(by_class, CLASS_COLOURS["charged_hadron"]) > 300
    assert count(by_class, on_white(CLASS_COLOURS["photon"])) > 100  # clusters only
    # Where classes overlap, their colours mix.
    assert sum(count(by_class, colour) for colour in other) < 0.05 * before
    assert page.locator(".swatch").first.is_visible()
    page.check("[name=colour][value=particle]")
    assert (pixels_of(page, "measured") == by_particle).mean() > 0.999


def test_both_scenes_turn_together(show):
    page = show(DESK)
    for view in ("beam", "side", "corner"):
        page.click(f"[data-view={view}]")
        page.wait_for_timeout(200)
        first, second = page.evaluate(CAMERAS)
        assert first == second
    box = page.locator("#measured").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 320, box["y"] + 260, steps=5)
    page.mouse.up()
    page.wait_for_timeout(800)
    turned, other = page.evaluate(CAMERAS)
    assert turned != first
    assert turned == pytest.approx(other, abs=1e-3)


def test_what_is_written_can_be_read(show):
    page = show(PHONE)
    page.locator("details summary").click()
    assert page.locator("tbody tr").count() == 20
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    for name in ("measured", "particles"):
        assert len(page.locator(f"#{name}").get_attribute("aria-label")) > 40
    found = [part for part in page.evaluate(CONTRASTS) if part["words"]]
    assert len(found) > 60
    assert [part for part in found if part["ratio"] < 4.5] == []
