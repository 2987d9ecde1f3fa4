# SPDX-License-Identifier: Apache-2.0
"""The 3D view in a real browser that draws in software: what is seen, turned, slid and coloured; and what it says where
it cannot be shown.
"""

from needs import needs

needs("scipy")

import numpy as np
import pytest
from browser import NO_GL, SOFTWARE_GL, Page, find_browser
from scenes3d import BLUE, RED, a_scene

from da3_ros.bag.report.elements import page, section
from da3_ros.bag.report.viewer import scene_html

pytestmark = pytest.mark.slow
CANVAS = '[data-part="canvas"]'
STATE = "document.getElementById('scene3d').dataset"


@pytest.fixture(scope="module", autouse=True)
def _browser():
    find_browser()


@pytest.fixture
def show(tmp_path):
    """Open a page with a scene in a browser with these flags; the rest of the page follows the view."""
    pages = []

    def run(scene, *flags, wait="ready", html=lambda text: text, **options):
        path = tmp_path / "page.html"
        after = section("Rest", "<p id='after'>more of it</p>")
        path.write_text(html(page("a page", section("3D view", scene_html(scene)) + after)), encoding="utf-8")
        shown = Page(tmp_path / "profile", *(flags or SOFTWARE_GL), **options)
        pages.append(shown)
        shown.open(path)
        if wait:
            shown.wait(f"{STATE}.state === '{wait}'")
        return shown

    yield run
    for shown in pages:
        shown.close()


def near(picture, colour, within=40):
    """Pixels of a picture (h, w, 3) that have about a colour."""
    return np.abs(picture.astype(int) - colour).max(axis=2) < within


def differ(a, b):
    """Share of pixels that are not the same in two pictures."""
    return float((np.abs(a.astype(int) - b).max(axis=2) > 24).mean())


def test_the_scene_is_drawn_turned_slid_and_coloured(show):
    shown = show(a_scene())
    assert shown.errors == []
    assert {url.partition(":")[0] for url in shown.requests} <= {"file", "data"}
    assert shown.run("document.querySelector('[data-part=words]').hidden")
    assert shown.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    first = shown.picture(CANVAS)
    red, blue = near(first, RED), near(first, BLUE)
    assert red.sum() > 5000
    assert blue.sum() > 5000
    assert np.nonzero(red)[1].mean() < np.nonzero(blue)[1].mean()  # red is on the left, as the camera sees it
    assert near(first, (238, 240, 243), 3).mean() > 0.1  # and round them is the light background

    shown.drag(CANVAS, 120, 30)
    turned = shown.picture(CANVAS)
    assert differ(first, turned) > 0.05
    shown.turn_wheel(CANVAS, -300)
    zoomed = shown.picture(CANVAS)
    assert (near(zoomed, RED) | near(zoomed, BLUE)).sum() > 1.1 * (near(turned, RED) | near(turned, BLUE)).sum()
    shown.click('[data-part="whole"]')
    assert differ(first, shown.picture(CANVAS)) < 0.001

    # The slider: from the last set to the second one.
    def place():
        return [float(value) for value in shown.run(f"{STATE}.place").split()]

    def grey():
        return shown.picture(".side img")[10:-10, 10:-10].mean()

    assert shown.run(f"{STATE}.moment") == "3"
    last, bright = place(), grey()
    shown.set('[data-part="time"]', 1)
    assert shown.run(f"{STATE}.moment") == "1"
    assert "set 1, 0.50 s" in shown.run("document.querySelector('[data-part=now]').textContent")
    np.testing.assert_allclose(np.subtract(last, place()), (2, 0, 0), atol=1e-4)
    shown.wait("[...document.querySelectorAll('.side img')].every(image => image.complete)")
    assert bright == pytest.approx(120, abs=4)
    assert grey() == pytest.approx(40, abs=4)
    slid = shown.picture(CANVAS)
    ways = [near(picture, (0xD5, 0x5E, 0), 24).sum() for picture in (first, slid)]
    assert 0 < ways[1] < 0.6 * ways[0]  # the path up to there
    frames = [np.nonzero(near(picture, (0, 0x72, 0xB2), 24))[1].mean() for picture in (first, slid)]
    assert frames[1] < frames[0] - 20  # the camera is farther left

    colours = {"image": slid}
    for mode, words in (("height", "height in m"), ("doubt", "standard deviation of depth, as a share of it")):
        shown.click(f'[data-colour="{mode}"]')
        colours[mode] = shown.picture(CANVAS)
        assert shown.run("document.querySelector('[data-part=legend-name]').textContent") == words
        assert shown.run(f"document.querySelector('[data-colour={mode}]').getAttribute('aria-pressed')") == "true"
        assert not near(colours[mode], RED).sum() > near(slid, RED).sum() / 2
    assert differ(colours["height"], colours["doubt"]) > 0.02
    low, high = (
        shown.run(f"document.querySelector('[data-part=legend-{end}]').textContent") for end in ("low", "high")
    )
    assert (low, high) == ("1.4 %", "20 %")

    before = shown.picture(CANVAS)
    shown.set('[data-part="size"]', -2)
    assert differ(before, shown.picture(CANVAS)) > 0.01
    assert shown.errors == []


def test_what_faces_away_is_hidden_until_asked_for(show):
    """From the other side of the wall; its points were all seen from the cameras' side."""
    scene = a_scene()
    eye, target = scene.about["start"]["eye"], scene.about["start"]["target"]
    scene.about["start"]["eye"] = [2 * b - a for a, b in zip(eye, target, strict=True)]
    shown = show(scene)
    assert near(shown.picture(CANVAS), RED).sum() < 50
    shown.click('[data-part="through"]')
    assert near(shown.picture(CANVAS), RED).sum() > 2000
    shown.click('[data-part="behind"]')  # from the camera it is seen either way
    shown.click('[data-part="through"]')
    assert near(shown.picture(CANVAS), BLUE).sum() > 2000


def test_a_telephone_in_the_dark(show):
    """400 pixels wide, a finger, and no standard deviations."""
    shown = show(a_scene(stddev=False), size=(400, 800), touch=True, dark=True)
    first = shown.picture(CANVAS)
    assert near(first, (13, 15, 18), 3).mean() > 0.1
    assert near(first, RED).sum() > 1000
    assert shown.run("document.documentElement.scrollWidth") <= 400
    shown.swipe(CANVAS, 80, 40)
    assert differ(first, shown.picture(CANVAS)) > 0.05
    shown.click('[data-colour="doubt"]')
    assert "confidence of the network" in shown.run("document.querySelector('[data-part=legend-name]').textContent")
    assert shown.errors == []


def test_without_webgl_it_says_so(show):
    shown = show(a_scene(), *NO_GL, wait="failed")
    words = shown.run("document.querySelector('[data-part=words]').innerText")
    assert "this browser gives no WebGL" in words
    assert shown.run("document.querySelector('[data-part=all]').hidden")
    assert shown.run("document.getElementById('after').innerText") == "more of it"


def test_without_javascript_it_says_so(show):
    """Seen in the picture: nothing can be asked of a page whose scripts are off."""
    shown = show(a_scene(), scripts=False, wait=None)
    tree = shown.text("more of it")
    assert "it needs JavaScript" in tree
    assert "whole scene" not in tree


@pytest.mark.parametrize(("what", "into"), [("var THREE=", "var THREE=}"), ('"about"', '"about')])
def test_an_error_of_its_own_leaves_the_rest_of_the_page(show, what, into):
    """three.js that does not run; data that are cut."""
    shown = show(a_scene(), wait="failed", html=lambda text: text.replace(what, into, 1))
    assert "The 3D view is not shown" in shown.run("document.querySelector('[data-part=words]').innerText")
    assert shown.run("document.getElementById('after').innerText") == "more of it"
