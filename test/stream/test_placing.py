# SPDX-License-Identifier: Apache-2.0
"""Rectified pairs whose cameras look apart: what TF holds is found out, and depth, poses and clouds follow."""

from needs import needs

needs("rosbags")

import dataclasses

import numpy as np
import pytest
from wrong_depth import Wires, wall

from da3_ros.geometry.poses import from_rotation_translation, matrix_from_quaternion
from da3_ros.messages import decode_cloud
from da3_ros.stream.diagnostics import OK, WARN

RECTIFIED = {f"{name}.image_topic": f"/{name}/image_rect" for name in ("left", "right")}


@pytest.fixture(scope="module")
def beside():
    return wall("beside")


def turn(degrees):
    half = np.radians(degrees) / 2
    return matrix_from_quaternion(np.array([0.0, np.sin(half), 0.0, np.cos(half)]))


class Turned(Wires):
    """The wall's cameras stand turned in their mounts; their images come rectified, by R of their CameraInfo."""

    def __init__(self, scene, degrees, *, own=True, **parameters):
        self.turns = {"left": turn(degrees), "right": turn(-degrees)}
        poses = {
            # p_rect = R p_camera
            name: from_rotation_translation(pose[:3, :3] @ self.turns[name], pose[:3, 3]) if own else pose
            for name, pose in scene.poses.items()
        }
        super().__init__(scene, None, poses=poses, **{**RECTIFIED, "scale.source": "rig", **parameters})
        original = scene.messages

        def messages(name, index, stamp_ns):
            info, image = original(name, index, stamp_ns)
            info.r = self.turns[name].reshape(9)
            return info, image

        self.scene = type(
            "Scene", (), {"messages": staticmethod(messages), "cloud": scene.cloud, "depths": scene.depths}
        )


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("degrees", [0.2, 1.0, 4.0])
def test_depth_of_a_rectified_pair_is_that_of_the_cameras_whichever_frames_tf_has(beside, degrees, own):
    straight = Wires(beside, None, **{"scale.source": "rig"})
    straight.send()
    wires = Turned(beside, degrees, own=own)
    estimate = wires.send()
    assert estimate.scale.value == pytest.approx(straight.estimator.scale_source._filter.last.value, rel=1e-3)
    assert np.nanmedian(np.abs(wires.depth() / straight.depth() - 1)) < 1e-3
    for view in estimate.views:
        np.testing.assert_allclose(view.pose.T_world_camera, beside.poses[view.name], atol=1e-6)
    status = wires.status("left")
    assert (status.level, f"turns the rectified image by {degrees:.2f} deg" in status.message) == (OK, True)
    assert ("as the camera itself stands" if own else "as turned already") in status.message


def test_clouds_lie_in_their_frame_and_the_calibration_says_how_depth_is_turned(beside):
    wires = Turned(beside, 4.0)
    estimate = wires.send()
    depth = estimate.views[0]
    cloud = decode_cloud(wires.topics["left/points"].messages[-1])
    points = np.stack([cloud[name] for name in "xyz"], axis=-1)
    np.testing.assert_allclose(points @ wires.turns["left"].T.astype(np.float32), depth.points(), atol=1e-4)
    info = wires.topics["left/depth/camera_info"].messages[-1]
    np.testing.assert_allclose(info.r.reshape(3, 3), wires.turns["left"], atol=1e-12)
    np.testing.assert_allclose(info.p.reshape(3, 4)[:, :3], depth.camera.K)


def test_points_of_a_lidar_come_into_the_rectified_view(beside):
    wires = Turned(beside, 4.0, **{"scale.source": "reference", "refinement.source": "measured"})
    wires.send(cloud=True)
    assert wires.error() < 0.02


def test_one_camera_alone_is_taken_to_stand_as_tf_says_and_that_is_said(beside):
    wires = Turned(beside, 4.0, **{"right.rectified": "false", "right.image_topic": "/right/image_raw"})
    estimate = wires.send()
    np.testing.assert_allclose(estimate.views[0].pose.T_world_camera, beside.poses["left"], atol=1e-6)
    status = wires.status("left")
    assert status.level == WARN
    assert "no other rectified camera here tells which" in status.message


def test_raw_images_are_not_turned(beside):
    wires = Turned(beside, 4.0, **{f"{name}.rectified": "false" for name in ("left", "right")})
    pose = wires.send().views[0].pose.T_world_camera
    np.testing.assert_allclose(pose[:3, :3], wires.turns["left"], atol=1e-6)


@pytest.mark.parametrize(
    ("topic", "said"), [("/{}/image", True), ("/{}_rect/image_raw", True), ("/{}/image_raw", False)]
)
def test_images_that_may_be_rectified_are_said_where_it_matters(beside, topic, said):
    wires = Turned(beside, 1.0, **{f"{name}.image_topic": topic.format(name) for name in ("left", "right")})
    wires.send()
    status = wires.status("left")
    assert ("it is taken for raw; set left.rectified" in status.message) is said


def test_a_pair_in_one_frame_says_where_the_second_camera_stands(beside):
    wires = Wires(beside, None, **RECTIFIED, **{"scale.source": "rig"})
    original = beside.messages

    def messages(name, index, stamp_ns):
        info, image = original(name, index, stamp_ns)
        image.header.frame_id = info.header.frame_id = "left_optical"
        info.p[3] = -0.2 * info.p[0] if name == "right" else 0.0
        return info, image

    wires.scene = type("Scene", (), {"messages": staticmethod(messages)})
    wires.send()
    assert (
        "P of its CameraInfo has it 0.200 m beside: publish a frame there and set right.frame_id"
        in wires.status("right").message
    )


def test_another_cameras_calibration_is_refused(beside):
    wires = Wires(beside, None, **{"scale.source": "rig"})
    original = beside.messages

    def messages(name, index, stamp_ns):
        info, image = original(name, index, stamp_ns)
        info.header = dataclasses.replace(info.header, frame_id="left_optical")
        return info, image

    wires.send()
    wires.scene = type("Scene", (), {"messages": staticmethod(messages)})
    wires.pipeline._infos._kept.clear()
    assert len(wires.send(1).views) == 1
    assert (
        "a calibration of left_optical, another camera's frame, for images of right_optical"
        in wires.status("right").message
    )
