# SPDX-License-Identifier: Apache-2.0
"""The report: whole, without anything from outside, true to the run, and shown by a real browser."""

from needs import needs

needs("rosbags")

import base64
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import bags
import cv2
import numpy as np
import pytest
from browser import find_browser

from da3_ros.bag.errors import BagError
from da3_ros.bag.report.plots import Line, line_plot, ticks
from da3_ros.bag.report.report import report_html, write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Text, tables by section and what is loaded; refuses tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.rows, self.words, self.section = [], [], {}, [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.loaded += [values[name] for name in ("src", "href", "data", "action") if name in values]
        if tag == "section":
            self.section = values["id"]
        if tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        if tag in ("td", "th"):
            self.rows[self.section][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and "tr" in self.open and ("td" in self.open or "th" in self.open):
            self.rows[self.section][-1][-1] += data


@pytest.fixture
def finished(bag, make):
    output, summary = make(bag, "cloud.rate:=0", "odometry_frame:=odom", pictures=3)
    return output, summary, (output.parent / "out.da3" / "report.html").read_text()


def test_nothing_comes_from_outside(finished):
    """The 3D view brings programs: test_scene3d.py looks into those. The page may load nothing, whatever they do."""
    _, _, text = finished
    page = Page(text)
    assert page.loaded
    assert all(url.startswith("data:image/jpeg;base64,") for url in page.loaded)
    without = re.sub(r"<script[ >].*?</script>", "", text, flags=re.S)
    assert not re.search(r"https?://|@import|url\(", without)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_pictures_are_those_of_the_run(finished):
    _, _, text = finished
    pictures = [base64.b64decode(url.split(",", 1)[1]) for url in Page(text).loaded]
    assert len(pictures) == 6  # three sets of two cameras
    cells = cv2.imdecode(np.frombuffer(pictures[0], np.uint8), cv2.IMREAD_COLOR)
    assert cells.shape == (160, 720, 3)  # image | depth | confidence


def test_tables_add_up_and_say_where_it_comes_from(finished):
    output, summary, text = finished
    page = Page(text)
    assert page.rows["frames"][1:] == [["left", "6", "6", "adds up"], ["right", "6", "6", "adds up"]]
    messages = {row[0]: int(row[1]) for row in page.rows["messages"][1:]}
    assert messages == {topic: len(bags.messages(output, topic)) for topic in messages}
    assert sum(messages.values()) == len(bags.messages(output))
    provenance = dict(row for row in page.rows["provenance"] if row[0])
    file = next(iter(summary["input_sha256"]))
    with open(file, "rb") as handle:
        import hashlib

        digest = hashlib.sha256(handle.read()).hexdigest()
    assert provenance["input"] == f"{file}, {summary['job']['input'][0]['bytes']} bytes, sha256 {digest}"
    assert provenance["engine: engine"] == "fake"
    assert provenance["parameter: odometry_frame"] == '"odom"'
    assert {row[0] for row in page.rows["time"][1:]} >= {"engine", "decode", "publish"}
    assert "Nothing of the input was lost" in text


def test_drops_and_what_was_wrong_are_shown(finished):
    _, summary, _ = finished
    summary["frames"]["left"] = {"received": 9, "used": 6, "dropped": {"image": 1, "unmatched": 2}}
    summary["frames"]["right"]["received"] = 7
    summary["problems"] = ["<cut> & damaged"]
    text = report_html(summary, [])
    page = Page(text)
    header, left, right = page.rows["frames"]
    assert header == ["camera", "received", "used", "image", "unmatched", "received = used + dropped"]
    assert left == ["left", "9", "6", "1", "2", "adds up"]
    assert right == ["right", "7", "6", "0", "0", "does not add up"]
    assert page.rows["what-was-wrong"][1] == ["error", "<cut> & damaged", "1"]
    assert "&lt;cut&gt; &amp; damaged" in text


def test_trajectory_is_drawn_where_cameras_move(finished, make, bag):
    _, _, text = finished
    section = text.split('id="trajectory"')[1].split("</section>")[0]
    assert section.count('class="line"') == 2
    assert "left 0.50" in section  # 1 m/s for 0.5 s
    _, summary = make(bag, name="still", outputs=("*/pose",))
    assert "no camera moves" in report_html(summary, [])


def test_a_run_without_any_set_has_a_report(tmp_path, make):
    stream = [event for event in bags.serialised(bags.events()) if event[0] != "/right/image_raw"]
    stream += [event for event in bags.serialised(bags.events(1)) if event[0] == "/right/image_raw"]
    stream = [(t, n + (10**12 if t == "/right/image_raw" else 0), raw) for t, n, raw in stream]
    _, summary = make(bags.write_bag(tmp_path / "apart", stream), "watchdog.timeout:=100000.0")
    for sets in ([], summary["sets"]):
        Page(report_html({**summary, "sets": sets}, []))


def test_outputs_that_cannot_be_reported(finished, tmp_path):
    output, _, text = finished
    assert write_report(output, tmp_path / "copy.html").read_text() == text
    with pytest.raises(BagError, match="does not exist: give an output of da3 bag"):
        write_report(tmp_path / "nothing")
    shutil.rmtree(tmp_path / "out.da3")
    with pytest.raises(BagError, match=r"run.json is missing: .* was not made by da3 bag"):
        write_report(output)


def test_the_command_writes_it_anew(finished, capsys):
    from da3_ros.cli.main import main

    output, _, text = finished
    page = output.parent / "out.da3" / "report.html"
    page.unlink()
    assert main(["report", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_text() == text
    assert main(["report", str(output) + "x"]) == 1


@pytest.mark.slow
def test_a_real_browser_shows_all_of_it(finished, tmp_path):
    browser = find_browser()
    page = (finished[0].parent / "out.da3" / "report.html").as_uri()
    options = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    probe = tmp_path / "probe.html"
    text = finished[2].replace(
        "</body>",
        "<script>onload = () => { const root = document.documentElement, wide = root.scrollWidth > root.clientWidth;"
        "const sheet = [...document.querySelectorAll('.sheet img')];"
        "const broken = sheet.filter(i => i.naturalWidth !== 720).length;"
        "const flat = [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height < 100).length;"
        "document.title = JSON.stringify({wide, broken, flat, images: sheet.length,"
        "plots: document.querySelectorAll('svg').length}) }</script></body>",
    )
    probe.write_text(text)
    run = [*options, "--window-size=1200,900", "--virtual-time-budget=3000", "--dump-dom", probe.as_uri()]
    done = subprocess.run(run, capture_output=True, text=True, timeout=90, check=True)
    found = json.loads(re.search(r"<title>(\{.*?\})</title>", done.stdout)[1])
    assert found == {"wide": False, "broken": 0, "flat": 0, "images": 6, "plots": 5}
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*options, "--window-size=1000,1400", f"--screenshot={shot}", page], capture_output=True, timeout=90, check=True
    )
    picture = cv2.imread(str(shot))
    assert picture.shape[:2] == (1400, 1000)
    line = np.abs(picture.astype(int) - (0xB2, 0x72, 0)).max(axis=2) < 12  # the first line's colour, drawn
    assert line.sum() > 200


@pytest.mark.parametrize(
    ("low", "high", "first", "last"), [(0, 1, 0, 1), (-3.2, 7.9, -2, 6), (1e9, 1e9 + 4, 1e9, 1e9 + 4)]
)
def test_ticks_are_round_and_inside(low, high, first, last):
    found = ticks(low, high)
    assert (found[0], found[-1]) == (first, last)
    assert 3 <= len(found) <= 8


def test_plots_are_svg_for_any_data():
    nan = float("nan")
    for x, y in (([0.0], [5.0]), ([0, 1, 2], [nan, nan, nan]), ([0, 1, 2, 3], [1, nan, 2, 3]), ([1] * 3, [2] * 3)):
        text = line_plot([Line("a & b", x, y)], "x", "y", equal=True)
        if "<svg" in text:
            ET.fromstring(text[: text.index("</svg>") + 6])
            assert "nan" not in text
        else:
            assert "nothing to plot" in text
