# SPDX-License-Identifier: Apache-2.0
"""A metric reference that is recorded is used, or the run says why not and is no success."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import dataclasses

import numpy as np
import pytest
from bags import PERIOD, START, TYPES
from field_bags import IMAGE, INFO, TF, image, write
from in_threads import put_in_threads
from wrong_depth import CAMERA, NAMES, wall

from da3_ros.bag.line.lookout import Nearness
from da3_ros.bag.plan.outcome import has_errors
from da3_ros.messages import encode_camera_info

CLOUD = "sensor_msgs/msg/PointCloud2"
BASE = ("scale.source:=reference", "inference.size:=84", "refinement.source:=none", "diagnostics.rig_check_period:=0.0")
S = 1_000_000_000


def recording(path, events, frames=4):
    """Both cameras before the wall, with further events."""
    scene = wall()
    events = [("/tf_static", START, TF, TYPES[TF](transforms=scene.transforms())), *events(scene)]
    for index in range(frames):
        stamp = START + index * PERIOD
        for name in NAMES:
            info, picture = scene.messages(name, index, stamp)
            events += [(f"/{name}/camera_info", stamp, INFO, info), (f"/{name}/image_raw", stamp, IMAGE, picture)]
    return write(path / "in", events)


def run(make, path, *assignments, **options):
    _, summary = make(path, *BASE, *assignments, load=wall().estimator, **options)
    return summary


def clouds(off_ns):
    return lambda scene: [
        ("/points", START + index * PERIOD, CLOUD, scene.cloud(START + index * PERIOD + off_ns)) for index in range(4)
    ]


@pytest.mark.parametrize(
    ("off_ns", "words"),
    [
        (
            -START + 10**9,
            "is 1.97e+04 days behind the image's, scale.max_age allows 0.15 s; has the sensor stopped? Else",
        ),
        (2 * S, "/points: the nearest stamp is 1.7 s ahead of the image's"),
        (0, ""),
    ],
)
def test_points_of_another_clock(tmp_path, make, off_ns, words):
    path = recording(tmp_path, clouds(off_ns))
    summary = run(make, path, "scale.points_topic:=/points")
    found = [issue["text"] for issue in summary["issues"] if issue["kind"] == "reference /points"]
    assert all(each["scale"]["metric"] is not bool(words) for each in summary["sets"])
    assert has_errors(summary) is bool(words)
    assert bool(found) is bool(words)
    assert all(words in text and "was of no use" in text for text in found)
    if words:  # asked for nothing, it lacks nothing
        assert not has_errors(run(make, path, "scale.points_topic:=/points", "scale.source:=rig", name="rig"))


def depth_of(scene, info_ns):
    """A depth camera that looks as the left one does; its CameraInfo is sent once."""
    info = encode_camera_info(TYPES, CAMERA, TYPES.header(START, "left_optical"))
    for index in range(4):
        stamp = START + index * PERIOD
        yield "/d/image", stamp, IMAGE, image("left_optical", scene.depths["left"], "32FC1", stamp)
    if info_ns is not None:
        yield "/d/camera_info", START + info_ns, INFO, info


@pytest.mark.parametrize("info_ns", [-S, 2 * PERIOD + 1, 10 * S])
def test_the_calibration_of_depth_is_found_beside_it_and_holds_from_the_beginning(tmp_path, make, info_ns):
    path = recording(tmp_path, lambda scene: depth_of(scene, info_ns))
    summary = run(make, path, "scale.depth_topic:=/d/image")
    assert [each["scale"]["metric"] for each in summary["sets"]] == [True] * 4
    assert not has_errors(summary)


def test_depth_without_a_calibration_has_no_effect_and_that_is_no_success(tmp_path, make):
    path = recording(tmp_path, lambda scene: depth_of(scene, None))
    summary = run(make, path, "scale.depth_topic:=/d/image")
    assert not any(each["scale"]["metric"] for each in summary["sets"])
    problem, unmet = summary["problems"]
    assert "scale.source is reference, and not one set is in metres" in unmet
    assert "scale.depth_topic = /d/image has no effect: its CameraInfo is not on /d/camera_info" in problem
    assert "scale.depth_info_topic" in problem
    assert "/left/camera_info" in problem
    assert has_errors(summary)


@pytest.mark.parametrize("has_projection", [True, False])
def test_depth_of_a_sensor_without_a_projection(tmp_path, make, has_projection):
    def events(scene):
        for topic, log_ns, kind, message in depth_of(scene, 0):
            bare = kind == INFO and not has_projection
            yield topic, log_ns, kind, dataclasses.replace(message, p=np.zeros(12)) if bare else message

    summary = run(make, recording(tmp_path, events), "scale.depth_topic:=/d/image")
    assert all(each["scale"]["metric"] for each in summary["sets"])


def test_a_run_that_goes_on_later_knows_the_calibration_that_was_sent_once(tmp_path, make, monkeypatch):
    put_in_threads(monkeypatch)
    path = recording(tmp_path, lambda scene: depth_of(scene, 0), frames=4)
    parts = run(make, path, "scale.depth_topic:=/d/image", name="parts", processes=2, segment_sets=1, warm_up=0)
    assert [each["scale"]["source"] for each in parts["sets"]] == ["reference"] * 4


def test_the_report_says_why_depth_is_relative(tmp_path, make):
    from da3_ros.cli.bag import summary_text

    path = recording(tmp_path, clouds(2 * S))
    text = summary_text(run(make, path, "scale.points_topic:=/points"))
    assert "note: depth is relative, its frames say so: no points of a reference" in text
    text = summary_text(run(make, path, "scale.source:=rig", name="rig"))
    assert "relative" not in text


def test_nearness_is_of_any_order():
    nearness = Nearness()
    assert nearness.ns is None
    nearness.image(100)
    assert nearness.ns is None
    for stamp in (50, 130, 400):
        nearness.its(stamp)
    assert nearness.ns == 30
    nearness.image(405)
    assert nearness.ns == -5


@pytest.mark.parametrize("late_ns", [-1000, 1000, 120_000_000])
def test_each_image_has_the_depth_of_its_own_moment(tmp_path, make, late_ns):
    """Drivers send depth after colour. The wall is nearer in every second set; a set that took another one's depth
    would be off by a third.
    """

    def events(scene):
        yield "/d/camera_info", START, INFO, encode_camera_info(TYPES, CAMERA, TYPES.header(START, "left_optical"))
        for index in range(4):
            stamp = START + index * PERIOD
            depth = scene.depths["left"] / (1 + index % 2 / 2)
            yield "/d/image", stamp + late_ns, IMAGE, image("left_optical", depth, "32FC1", stamp)

    summary = run(
        make, recording(tmp_path, events), "scale.depth_topic:=/d/image", "scale.smoothing:=0.0", "scale.max_jump:=9.0",
        "scale.fit:=scale",
    )  # fmt: skip
    scales = [each["scale"]["metres_per_unit"] for each in summary["sets"]]
    np.testing.assert_allclose(np.array(scales) / scales[0], [1, 2 / 3, 1, 2 / 3], rtol=0.02)


def behind(scene):
    """A LiDAR that sees what no camera does."""
    for index in range(4):
        message = scene.cloud(START + index * PERIOD)
        points = np.frombuffer(bytes(message.data), np.uint8).reshape(-1, message.point_step).copy()
        points[:, :12].view(np.float32)[:] *= -1
        message.data = points.reshape(-1)
        yield "/points", START + index * PERIOD, CLOUD, message


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            "reference",
            "scale.source is reference, and not one set is in metres: 0 points of the reference lie",
        ),
        ("auto", "scale.points_topic gave not one set its scale"),
        ("rig", ""),
    ],
)
def test_a_scale_that_was_asked_for_and_did_not_come_is_no_success(tmp_path, make, asked, words):
    path = recording(tmp_path, behind)
    summary = run(make, path, "scale.points_topic:=/points", f"scale.source:={asked}")
    assert [words in problem for problem in summary["problems"]] == [True] * bool(words)
    assert has_errors(summary) is bool(words)
