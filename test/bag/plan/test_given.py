# SPDX-License-Identifier: Apache-2.0
"""Calibrations and poses from files for bags: what the estimator sees of them."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import bags
import made_sources as made
import numpy as np
import pytest
from fake_estimator import CAMERA

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.plan import make_plan
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.bag.sources import Reading
from da3_ros.geometry import CameraModel

OTHER = CameraModel(CAMERA.width, CAMERA.height, 140.0, 141.0, 84.0, 56.0, (0.1, 0.0, 0.0, 0.0), "plumb_bob")
FRAMES = 4


@pytest.fixture
def bare(tmp_path):
    """A bag with pictures of two cameras, and nothing else."""
    events = [event for event in bags.events(FRAMES) if event[0].endswith("image_raw")]
    return bags.write_bag(tmp_path / "bare", bags.serialised(events))


def ran(source, output, reading, *assignments):
    estimators, log = [], []

    def load(model, config):
        estimators.append(bags.FakeEstimator(model, config))
        return estimators[-1]

    request = Request(source, output, assignments=assignments, options=Options(pictures=0), reading=reading)
    summary = reprocess(request, load=load, log=lambda level, text: log.append(text))
    return summary, [view for views in estimators[0].sets for view in views.views], log


@pytest.fixture
def info(tmp_path):
    path = tmp_path / "left.yaml"
    path.write_text(made.camera_info_yaml(OTHER, "left"))
    return path


def test_a_calibration_that_a_bag_lacks(bare, info, tmp_path):
    summary, views, log = ran(bare, tmp_path / "out", Reading(camera_info=(str(info),)))
    left = [view for view in views if view.name == "left"]
    assert len(left) == FRAMES
    for view in left:
        np.testing.assert_allclose(view.camera.K, OTHER.K)
        assert view.camera.distortion[0] == 0.1
    assert all(view.camera is None for view in views if view.name == "right")
    assert f"left: the calibration is that of {info}" in log
    assert str(info) in {entry["path"] for entry in summary["job"]["input"]}


def test_a_calibration_that_contradicts_the_bag_s_holds_and_is_said(bag, info, tmp_path):
    _, views, log = ran(bag, tmp_path / "out", Reading(camera_info=(f"left={info}",)))
    assert {view.camera.fx for view in views if view.name == "left"} == {140.0}
    assert {view.camera.fx for view in views if view.name == "right"} == {CAMERA.fx}
    assert f"left: the calibration is that of {info}; /left/camera_info is not used" in log


def poses(tmp_path, *, kitti=False):
    stamps = [bags.START + n * bags.PERIOD for n in range(FRAMES)]
    path = tmp_path / "poses.txt"
    if kitti:
        path.write_text("\n".join(made.numbers(body[:3]) for body in made.BODIES[:FRAMES]))
        return path
    return made.write_tum(path, stamps, made.BODIES[:FRAMES])


@pytest.mark.parametrize("kitti", [False, True])
def test_poses_that_a_bag_lacks_are_those_of_its_first_camera(bare, tmp_path, kitti):
    reading = Reading(poses=poses(tmp_path, kitti=kitti), metres_per_unit=2)
    summary, views, _ = ran(bare, tmp_path / "out", reading)
    left = [view for view in views if view.name == "left"]
    for view, body in zip(left, made.BODIES, strict=False):
        assert view.pose_source == "odometry"
        np.testing.assert_allclose(view.pose[:3, :3], body[:3, :3], atol=1e-6)
        np.testing.assert_allclose(view.pose[:3, 3], 2 * body[:3, 3], atol=1e-6)
    assert summary["job"]["parameters"]["rig_frame"] == "left_optical"


def test_poses_of_a_bag_whose_cameras_are_placed_are_those_of_its_rig(tmp_path):
    events = [event for event in bags.events(FRAMES) if event[0] != "/tf"]
    source = bags.write_bag(tmp_path / "still", bags.serialised(events))
    _, views, _ = ran(source, tmp_path / "out", Reading(poses=poses(tmp_path)))
    left = [view for view in views if view.name == "left"]
    for view, body in zip(left, made.BODIES, strict=False):
        np.testing.assert_allclose(view.pose, body @ bags.POSES["left"], atol=1e-6)


def test_a_plan_that_is_made_twice_has_them_once(bare, info, tmp_path):
    reading = Reading(camera_info=(str(info),), poses=poses(tmp_path))
    with Recording(bare, reading) as recording:
        for _ in range(2):
            make_plan(recording, Request(bare, tmp_path / "out", reading=reading))
            assert recording.topics["/tf"].count == FRAMES
            assert recording.topics["/da3_given/left/camera_info"].count == 1
            assert len(list(recording.messages(["/tf"]))) == FRAMES


def test_poses_of_a_bag_that_was_recorded_long_after_its_stamps(tmp_path):
    """They come as the pictures of their time do, or would be over before the first one."""
    later = 10**12
    events = [event for event in bags.events(FRAMES) if event[0].endswith("image_raw")]
    moved = [(topic, log_ns + later, message) for topic, log_ns, message in events]
    bag = bags.write_bag(tmp_path / "bare", bags.serialised(moved))
    reading = Reading(poses=poses(tmp_path))
    with Recording(bag, reading) as recording:
        plan = make_plan(recording, Request(bag, tmp_path / "out", reading=reading))
        found = [message.log_ns for message in recording.messages(["/tf"])]
        assert found[0] == min(log_ns for _, log_ns, _ in moved)
        assert np.diff(found).tolist() == [bags.PERIOD] * (FRAMES - 1)
        assert any(f"poses of left_optical: {reading.poses}, {FRAMES} of them" in note for note in recording.notes)
        assert plan is not None


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"fps": 3}, "--fps 3 is of videos and pictures, and this is a bag"),
        ({"metres_per_unit": 3}, "--metres-per-unit 3 is of --poses"),
        ({"camera_info": ("middle={}",)}, "there is no camera middle; there are left, right"),
        ({"camera_info": ("nowhere.yaml",)}, "there is no file nowhere.yaml"),
        ({"poses": "poses"}, r"the recording moves base_link itself \(/tf\)"),
    ],
)
def test_what_has_no_effect_or_contradicts_is_refused(bag, info, tmp_path, reading, words):
    if "poses" in reading:
        reading = {"poses": poses(tmp_path)}
    if "camera_info" in reading:
        reading = {"camera_info": tuple(text.format(info) for text in reading["camera_info"])}
    reading = Reading(**reading)
    with Recording(bag, reading) as recording, pytest.raises(BagError, match=words):
        make_plan(recording, Request(bag, tmp_path / "out", reading=reading))
