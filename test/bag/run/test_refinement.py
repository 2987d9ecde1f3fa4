# SPDX-License-Identifier: Apache-2.0
"""Refined depth of a recording: as live, noted of every set, in the report, and the same after an interruption."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import base64
import dataclasses
import json
import re

import bags
import cv2
import numpy as np
import pytest
from wrong_depth import NAMES, Wires, events, wall

from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.records import refinement_totals
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.estimation import Estimator
from da3_ros.messages import decode_depth

SETS = 4
LIDAR = "/scale/points"
IMAGES = [f"{name}/{topic}" for name in NAMES for topic in ("depth/image_rect", "depth/stddev", "confidence/image")]
FILE = ("scale.points_topic:=/scale/points",)


@pytest.fixture(scope="module")
def scene():
    return wall()


@pytest.fixture(scope="module")
def recording(scene, tmp_path_factory):
    bags.KINDS[LIDAR] = "sensor_msgs/msg/PointCloud2"
    stream = bags.serialised(events(scene, SETS, cloud=True))
    return bags.write_bag(tmp_path_factory.mktemp("wall") / "rig", stream)


def run(recording, output, scene, *assignments, load=None, **options):
    request = Request(recording, output, assignments=(*FILE, *assignments), options=Options(**options))
    return reprocess(request, load=load or scene.estimator)


@pytest.fixture(scope="module")
def done(recording, scene, tmp_path_factory):
    output = tmp_path_factory.mktemp("done") / "out"
    return output, run(recording, output, scene, pictures=2)


def floats(output, topic):
    return [decode_depth(message) for _, message in bags.read(output, f"/da3/{topic}")]


@pytest.mark.parametrize("source", ["auto", "views", "measured", "none"])
def test_live_and_offline_are_equal(recording, scene, tmp_path, source):
    run(recording, tmp_path / "out", scene, f"refinement.source:={source}", pictures=0)
    wires = Wires(scene, tuple(IMAGES), scale__source="auto", refinement__source=source)
    for index in range(SETS):
        wires.send(index, cloud=True)
    for topic in IMAGES:
        live = [decode_depth(message) for message in wires.topics[topic].messages]
        offline = floats(tmp_path / "out", topic) if source != "none" or "stddev" not in topic else []
        assert len(live) == len(offline) == (0 if source == "none" and "stddev" in topic else SETS)
        np.testing.assert_array_equal(live, offline)
    truth = cv2.resize(scene.depths["left"], (252, 196), interpolation=cv2.INTER_LINEAR)
    errors = [np.nanmedian(np.abs(d / truth - 1)) for d in floats(tmp_path / "out", "left/depth/image_rect")]
    assert (max(errors) < 0.01) if source != "none" else (min(errors) > 0.015), errors


def test_every_set_is_noted(done):
    output, summary = done
    kept = json.loads((output.parent / "out.da3" / "run.json").read_text())
    assert (kept["sets"], kept["refinement"]) == (summary["sets"], summary["refinement"])
    assert len(summary["sets"]) == SETS
    for record in summary["sets"]:
        assert record["timing_ms"]["refinement"] > 0
        for view in record["views"]:
            told = view["refinement"]
            assert told["applied"]
            assert told["pixels"]["views"] > 1000
            assert told["pixels"]["measured"] > 100
            assert told["after"] < 0.5 * told["before"]
            assert 0.3 < told["share"] <= 1
    left = summary["refinement"]["left"]
    assert (left["sets"], left["refined"], left["reasons"]) == (SETS, SETS, {})
    assert left["share"] == pytest.approx(np.mean([r["views"][0]["refinement"]["share"] for r in summary["sets"]]))


def test_only_pixels_with_depth_have_an_uncertainty(done):
    output, _ = done
    for name in NAMES:
        depth, sigma = floats(output, f"{name}/depth/image_rect"), floats(output, f"{name}/depth/stddev")
        np.testing.assert_array_equal(np.isfinite(depth), np.isfinite(sigma))


@pytest.mark.parametrize("outputs", [None, ("*/pose",)])
def test_the_report_shows_it_whatever_is_written(recording, scene, tmp_path, outputs):
    chosen = {} if outputs is None else {"outputs": outputs}
    summary = run(recording, tmp_path / "out", scene, "depth.resolution:=camera", pictures=2, **chosen)
    topics = {topic for topic, _, _ in bags.messages(tmp_path / "out")}
    assert ("/da3/left/depth/stddev" in topics) is (outputs is None)
    text = (tmp_path / "out.da3" / "report.html").read_text()
    assert f"<b>{2 * SETS} of {2 * SETS}</b>views refined" in text
    section = text.split('id="refinement"')[1].split("</section>")[0]
    assert section.count('class="line"') == 4  # coverage of two cameras; residual before and after
    left = summary["refinement"]["left"]
    for number in (f"{100 * left['share']:.0f} %", f"{left['before']:.3f}", f"{left['after']:.3f}"):
        assert f'<td class="n">{number}</td>' in section
    shown = re.findall(r'alt="([^"]*)" src="data:image/jpeg;base64,([^"]*)"', section)
    assert [caption.split(", ")[:2] for caption, _ in shown] == [
        [f"set {index}", name] for index in (0, SETS // 2) for name in NAMES
    ]
    before, after, evidence = np.hsplit(pixels(shown[0][1]), 3)
    # The true wall does not change from row to row; what the network says does.
    assert unevenness(after) < 0.5 * unevenness(before)
    black = (evidence.max(axis=2) < 12).mean()
    assert black == pytest.approx(1 - summary["sets"][0]["views"][0]["refinement"]["share"], abs=0.15)


def pixels(data):
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).astype(int)


def unevenness(picture):
    return np.abs(picture - picture.mean(axis=0)).mean()


def test_a_wrong_calibration_is_said_once_for_all(scene, tmp_path):
    rolled = np.eye(4)
    rolled[:3, :3] = cv2.Rodrigues(np.array([0, 0, np.radians(2.0)]))[0]
    wrong = dataclasses.replace(scene, poses={**scene.poses, "right": scene.poses["right"] @ rolled})
    source = bags.write_bag(tmp_path / "rolled", bags.serialised(events(wrong, SETS)))
    summary = run(source, tmp_path / "out", scene, "scale.source:=given", "refinement.source:=views")
    issues = {issue["camera"]: issue for issue in summary["issues"] if issue["kind"] == "refinement"}
    assert {name: issue["count"] for name, issue in issues.items()} == dict.fromkeys(NAMES, SETS)
    total = summary["refinement"]["left"]
    assert (total["refined"], sum(total["reasons"].values())) == (0, SETS)
    assert "calibrate" in (tmp_path / "out.da3" / "report.html").read_text().split('id="what-was-wrong"')[1]


def test_without_refinement_there_is_nothing_to_show(recording, scene, tmp_path):
    summary = run(recording, tmp_path / "out", scene, "refinement.source:=none", pictures=1)
    assert summary["refinement"] == {}
    assert all(view["refinement"] is None for record in summary["sets"] for view in record["views"])
    assert not list((tmp_path / "out.da3" / "pictures").glob("*.refinement.jpg"))
    text = (tmp_path / "out.da3" / "report.html").read_text()
    assert "no depth was refined: it was not asked for" in text
    assert "views refined" not in text


def test_pictures_are_those_of_the_set_itself_and_not_of_its_window(recording, scene, tmp_path):
    """The engine is told the past set, too; what is shown has the wallpaper of the set that it names."""

    class Windowed(Estimator):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.engine.depths, self.engine.poses = 2 * self.engine.depths, np.tile(self.engine.poses, (2, 1, 1))

    def load(model, config):
        made = scene.estimator(model, config)
        return Windowed(made.engine, made.record, config)

    run(recording, tmp_path / "out", scene, "sync.window:=1", load=load, pictures=SETS)
    shown = cv2.imread(str(tmp_path / "out.da3" / "pictures" / "00000003_left.jpg"))[:, :240].astype(int)
    own, past = (cv2.resize(scene.image("left", index), (240, shown.shape[0]), interpolation=3) for index in (3, 2))
    assert np.abs(shown - own).mean() < 0.5 * np.abs(shown - past).mean()


class Breaks(Estimator):
    """Ends the run in the middle of set number 3."""

    def settle(self, task, inferred, measured=None):
        if task.views[0].stamp_ns == bags.START + 3 * bags.PERIOD:
            raise KeyboardInterrupt
        return super().settle(task, inferred, measured)


def test_an_interrupted_run_gives_the_same_bytes(recording, scene, done, tmp_path):
    def breaking(model, config):
        made = scene.estimator(model, config)
        return Breaks(made.engine, made.record, config)

    with pytest.raises(KeyboardInterrupt):
        run(recording, tmp_path / "out", scene, load=breaking, segment_sets=2, pictures=2)
    assert len(list((tmp_path / "out.da3" / "parts").glob("*.mcap"))) == 1
    summary = run(recording, tmp_path / "out", scene, segment_sets=2, pictures=2)
    assert bags.messages(tmp_path / "out") == bags.messages(done[0])
    assert summary["refinement"] == done[1]["refinement"]
    ours, theirs = (
        {path.name: path.read_bytes() for path in (output.parent / "out.da3" / "pictures").iterdir()}
        for output in (tmp_path / "out", done[0])
    )
    assert ours == theirs
    assert len(ours) == 8  # two sets of two cameras, each with its refinement


def test_totals():
    def view(camera, applied, message, share, before, **pixels):
        told = {"applied": applied, "message": message, "pixels": pixels, "share": share}
        return {"camera": camera, "refinement": {**told, "before": before, "after": None}}

    records = [
        {"views": [view("a", True, "", 0.5, 0.2, views=10), {"camera": "b", "refinement": None}]},
        {"views": [view("a", False, "3 pieces of evidence, 12 are needed", 0.1, None, views=3), {"camera": "b"}]},
        {"views": [view("a", False, "5 pieces of evidence, 12 are needed", 0.0, None, matches=6)]},
    ]
    assert refinement_totals(records) == {
        "a": {
            "sets": 3,
            "refined": 1,
            "share": pytest.approx(0.2),
            "pixels": {"matches": 2, "views": 4},
            "reasons": {"n pieces of evidence, n are needed": 2},
            "before": 0.2,
            "after": None,
        }
    }
