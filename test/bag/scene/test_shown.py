# SPDX-License-Identifier: Apache-2.0
"""The 3D view beside an output: made once, of what the run knows, and enough for the report without the input."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import json
import shutil
from dataclasses import replace

import bags
import cv2
import numpy as np
import pytest
from fake_estimator import FakeEstimator

from da3_ros.bag.plan.outcome import has_errors
from da3_ros.bag.report.report import write_report
from da3_ros.bag.report.scene3d import read_scene3d
from da3_ros.bag.run import reprocess as module
from da3_ros.bag.scene.fusion import Fusion
from da3_ros.bag.scene.scene import one_world, with_small_image, world_poses
from da3_ros.bag.scene.shown import is_ros_frame, own_poses
from da3_ros.bag.scene.view import SceneView


class MovingEstimator(FakeEstimator):
    """Its body goes a tenth of a metre with each set, since the start or the last jump in time."""

    def reset(self):
        self.steps = 0

    def __call__(self, view_set, *, odometry=False):
        steps = getattr(self, "steps", 0)
        self.motion, self.steps = np.eye(4), steps + 1
        self.motion[0, 3] = 0.1 * steps
        return super().__call__(view_set, odometry=odometry)


def load_moving(model, config):
    return MovingEstimator(model, config)


def scene_of(output):
    return read_scene3d(output.parent / f"{output.name}.da3" / "scene.npz")


def centre_of(scene, summary):
    """The centre of the cloud's box: a camera's place in the world, less that in the scene."""
    first = np.array(scene.about["moments"][0]["views"][0]["pose"]).reshape(3, 4)[:, 3]
    return world_poses(summary["sets"][0])[0][:3, 3] - first


def test_a_moving_rig_has_cloud_cameras_and_paths_where_they_were(bag, make):
    output, summary = make(bag, "odometry_frame:=odom", "cloud.voxel_size:=0.02", load=bags.load_fake)
    scene = scene_of(output)
    about = scene.about
    assert about["unit"] == "m"
    assert about["up"] == [0, 0, 1]  # odom
    assert about["cameras"] == ["left", "right"]
    assert [each["index"] for each in about["moments"]] == list(range(6))
    assert [each["seconds"] for each in about["moments"]] == pytest.approx([0.1 * i for i in range(6)])
    centre = centre_of(scene, summary)
    points = centre + (scene.positions[:, :3] / 65535 - 0.5) * about["size"]
    assert len(points) > 500
    # Every view sees a slope from 2 to 3 m before it, looking along x; the robot goes from 0 to 0.5 m.
    assert 1.95 < points[:, 0].min() < points[:, 0].max() < 3.55
    for number, each in enumerate(about["moments"]):
        for view, pose in zip(each["views"], world_poses(summary["sets"][number]), strict=True):
            expected = pose[:3].copy()
            expected[:, 3] -= centre
            np.testing.assert_allclose(np.array(view["pose"]).reshape(3, 4), expected, atol=1e-4)
    left = about["tracks"][0]
    places = np.array(left["places"]).reshape(-1, 3)
    np.testing.assert_allclose(np.diff(places, axis=0), [[0.1, 0, 0]] * 5, atol=1e-4)
    assert about["doubt"]["kind"] == "stddev"
    assert about["doubt"]["low"] == pytest.approx(0.1, rel=0.02)  # the fake estimator is sure to a tenth
    seen = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in scene.pictures]
    assert {picture.shape for picture in seen} == {(160, 240, 3)}
    assert len(seen) == 6 * 2 * 2
    assert 'id="scene3d-data"' in (output.parent / "out.da3" / "report.html").read_text()


def test_where_the_motion_is_not_known_each_set_is_alone(bag, make):
    output, summary = make(bag, load=bags.load_fake, pictures=0)
    about = scene_of(output).about
    assert about["alone"]
    assert about["tracks"] == []
    assert (
        "Each set alone, in the frame of its cameras (no set has a place in a common world): 6 of 6 sets"
        in about["note"]
    )
    assert all(each["points"][1] > 1000 for each in about["moments"])
    assert scene_of(output).pictures == ()  # none were asked for
    assert not has_errors(summary)
    places = [each["views"] for each in about["moments"]]
    assert all(views == places[0] for views in places)  # the rig stands still in its own frame


def test_the_report_is_written_again_without_the_input(tmp_path, make):
    source = bags.write_bag(tmp_path / "rig")
    output, _ = make(source, "odometry_frame:=odom", load=bags.load_fake)
    page = output.parent / "out.da3" / "report.html"
    text = page.read_text()
    shutil.rmtree(source)
    page.unlink()
    assert write_report(output).read_text() == text
    scene = page.with_name("scene.npz")
    scene.write_bytes(scene.read_bytes()[:1000])
    assert "scene.npz cannot be shown (BadZipFile" in write_report(output).read_text()
    scene.unlink()
    assert "none was made: it needs depth/image_rect" in write_report(output).read_text()


def test_without_depth_in_the_output_there_is_none_and_no_problem(bag, make):
    output, summary = make(bag, "odometry_frame:=odom", load=bags.load_fake, outputs=("*/pose",))
    assert not (output.parent / "out.da3" / "scene.npz").exists()
    assert summary["problems"] == []
    assert "none was made" in (output.parent / "out.da3" / "report.html").read_text()


def test_the_cloud_is_fused_once_for_all_that_is_made_of_it(bag, make, monkeypatch):
    fused = []
    original = Fusion.cloud
    monkeypatch.setattr(Fusion, "cloud", lambda self: fused.append(1) or original(self))
    output, _ = make(bag, "odometry_frame:=odom", load=bags.load_fake, scene=("ply", "colmap"))
    assert fused == [1]
    folder = output.parent / "out.da3"
    assert (folder / "scene.npz").exists()
    assert (folder / "cloud.ply").exists()


def test_a_view_that_cannot_be_made_is_a_problem_and_the_rest_is_whole(bag, make, monkeypatch):
    def fail(*arguments):
        raise ValueError("no room")

    monkeypatch.setattr(module, "write_view", fail)
    output, summary = make(bag, "odometry_frame:=odom", load=bags.load_fake, scene=("ply",))
    (problem,) = summary["problems"]
    assert problem == "the 3D view could not be written (ValueError: no room); the output out is whole"
    folder = output.parent / "out.da3"
    assert json.loads((folder / "run.json").read_text())["problems"] == [problem]
    assert (folder / "cloud.ply").exists()
    assert problem in (folder / "report.html").read_text()


def record(*sources):
    """Of a set with a view of each source of poses."""
    matrices = [np.diag([1.0, 1, 1, 1]) + 0.5 * k for k in range(len(sources))]
    pairs = zip(sources, matrices, strict=True)
    return {"views": [{"pose_source": source, "T_world_camera": matrix.ravel().tolist()} for source, matrix in pairs]}


def test_a_camera_alone_without_a_pose_is_its_own_frame():
    (own,) = own_poses(record("none"))
    np.testing.assert_array_equal(own, np.eye(4))
    first, second = own_poses(record("none", "calibrated"))
    assert first is None
    assert second[0, 0] == 1.5


def test_images_for_people_are_small():
    """Of large cameras hundreds are kept at once."""
    view = SceneView(None, np.zeros((1200, 1920, 3), np.uint8), 0)
    assert with_small_image(view).image.shape == (200, 320, 3)
    small = replace(view, image=view.image[:60, :100])
    assert with_small_image(small) is small


def at(x, source="matches"):
    """Record of a set whose body stands so far from where its motion began."""
    start = np.eye(4)
    start[0, 3] = x
    return {**record(source), "T_start_body": start.ravel().tolist(), "x": x}


def test_sets_of_another_start_are_in_another_world():
    """Two stretches of a recording would lie upon each other, though they are elsewhere."""
    first, second = [at(x) for x in (0, 0, 1, 2)], [at(x) for x in (0, 1, 2, 3, 4)]
    found, worlds = one_world([*first, *second])
    assert [each["x"] for each in found] == [0, 1, 2, 3, 4]
    assert worlds == 2
    still = [at(0)] * 4
    assert one_world(still) == (still, 1)
    driven = [at(x, "odometry") for x in (0, 1, 0, 1)]  # the robot's own world, to which it may return
    assert one_world(driven) == (driven, 1)
    assert one_world([]) == ([], 1)


def test_a_recording_that_jumps_has_its_longest_stretch_in_the_view(tmp_path, make):
    source = bags.write_jump(tmp_path / "jump", frames=4)
    output, summary = make(source, load=load_moving, outputs=("*",), scene=("ply",))
    assert len(summary["sets"]) == 7
    about = scene_of(output).about
    assert [each["index"] for each in about["moments"]] == [0, 1, 2, 3]
    assert "4 of 7 sets" in about["note"]
    assert "The recording jumps: the scene is of the longest of 2 stretches." in about["note"]
    assert {len(track["seconds"]) for track in about["tracks"]} == {4}


@pytest.mark.parametrize(
    ("sources", "world", "expected"),
    [
        (("odometry",), "odom", True),
        (("calibrated", "none"), "base_link", True),
        (("calibrated", "calibrated"), "left_optical_frame", False),  # a rig that hangs on one of its cameras
        (("matches",), "camera_optical_relative", False),
        (("network",), "base_link", False),
        (("calibrated",), "rig", None),  # of what is no bag
        (("odometry",), "world", None),
    ],
)
def test_z_is_up_in_frames_of_robots_alone(sources, world, expected):
    assert is_ros_frame([{**record(*sources), "world": world}]) is expected
    assert not is_ros_frame([])
