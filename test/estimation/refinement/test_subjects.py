# SPDX-License-Identifier: Apache-2.0
"""What of a set goes to the refinement, and how sure its poses are."""

import numpy as np
import pytest
from papered import SLANTED, SMALL, large, pose

from da3_ros.estimation import PoseEstimate, View
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.refinement.subjects import CALIBRATED, ODOMETRY, sigma_of, subjects_of
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.geometry import CameraModel

WIDE = SMALL.scaled(3 * SMALL.width, 3 * SMALL.height)
NONE = np.zeros((6, 6))


def views():
    """A calibrated camera with a LiDAR, one of another size, and one of which nothing is known."""
    grey = large([SLANTED], SMALL, pose(0, 0, 0))
    image = np.repeat(grey[..., None], 3, axis=2)
    cloud = np.array([[0, 0, 2.0]], np.float32)
    return (
        View(image, WIDE, pose(0, 0, 0), "a", body=3, measured=cloud),
        View(np.ascontiguousarray(image[:200]), WIDE.cropped(0, 0, WIDE.width, 200), pose(0.2, 0, 0), "b", body=4),
        View(image, None, None, "c", measured=cloud),
    )


def subjects(poses, *, wanted=(True, False, True), corners=None):
    given = views()
    prepared = prepare(given, 126, 14)
    depths = [np.full(window, 2.0, np.float32) for window in prepared.windows]
    confidences = [np.full(window, 1.0 + i, np.float32) for i, window in enumerate(prepared.windows)]
    return given, prepared, subjects_of(given, prepared, depths, confidences, poses, corners, wanted)


def known(source, covariance=NONE):
    return [PoseEstimate(pose(0.1 * i, 0, 0), source, covariance) for i in range(3)]


def test_pixels_belong_to_depth():
    given, prepared, found = subjects(known("calibrated"))
    for i, subject in enumerate(found):
        assert subject.image.shape[:2] == subject.depth.shape == subject.confidence.shape == prepared.windows[i]
        h, w = prepared.windows[i]
        np.testing.assert_array_equal(subject.image, prepared.images[i, :h, :w])
        assert subject.image.flags["C_CONTIGUOUS"]
        assert subject.large.shape == given[i].image.shape
        assert subject.camera == prepared.cameras[i]
        assert subject.confidence[0, 0] == 1 + i
    assert found[1].depth.shape[0] < found[0].depth.shape[0]
    assert [subject.body for subject in found] == [3, 4, 0]
    assert [subject.wanted for subject in found] == [True, False, True]


def test_points_need_a_camera():
    _, _, found = subjects(known("calibrated"))
    points, camera = found[0].measured
    np.testing.assert_array_equal(points, [[0, 0, 2]])
    assert (camera.width, camera.fx) == (WIDE.width, WIDE.fx)  # of the image at its own size
    assert found[1].measured is None
    assert found[2].measured is None  # nobody knows where they would be seen


def test_points_are_seen_by_the_camera_without_distortion():
    bent = CameraModel(WIDE.width, WIDE.height, WIDE.fx, WIDE.fy, WIDE.cx, WIDE.cy, (0.1, 0, 0, 0, 0), "plumb_bob")
    view = View(views()[0].image, bent, pose(0, 0, 0), measured=np.zeros((1, 3), np.float32))
    prepared = prepare((view,), 126, 14)
    depth = np.ones(prepared.windows[0], np.float32)
    (found,) = subjects_of((view,), prepared, [depth], [depth], known("calibrated")[:1], None, [True])
    assert not found.measured[1].is_distorted
    np.testing.assert_array_equal(found.large, prepared.rectified[0])
    assert (found.large != view.image).mean() > 0.1


def test_corners_go_to_their_view():
    corners = [SparseDepth(np.array([[i, i]], float), np.array([1.0 + i]), np.ones(1)) for i in range(3)]
    _, _, found = subjects(known("calibrated"), corners=corners)
    assert [subject.matches.depth[0] for subject in found] == [1, 2, 3]
    assert subjects(known("calibrated"))[2][0].matches is None


@pytest.mark.parametrize(
    ("source", "leans"),
    [
        ("calibrated", True),
        ("odometry", True),
        ("matches", True),
        ("estimated", True),
        ("network", False),
        ("rays", False),
        ("none", False),
    ],
)
def test_the_networks_own_poses_would_only_confirm_the_network(source, leans):
    for i, subject in enumerate(subjects(known(source))[2]):
        if leans:
            np.testing.assert_array_equal(subject.pose, pose(0.1 * i, 0, 0))
        else:
            assert subject.pose is None


def test_how_sure_a_pose_is():
    covariance = np.diag([1e-4, 4e-4, 1e-4, 1e-6, 1e-6, 4e-6])
    assert sigma_of(PoseEstimate(np.eye(4), "calibrated", covariance)) == CALIBRATED
    assert sigma_of(PoseEstimate(np.eye(4), "odometry", covariance)) == ODOMETRY
    angle, distance = sigma_of(PoseEstimate(np.eye(4), "matches", 100 * covariance))
    assert angle == pytest.approx(np.sqrt(2e-4))
    assert distance == pytest.approx(np.sqrt(2e-2))
    # No found angle is surer than a calibration, and no place certain.
    assert sigma_of(PoseEstimate(np.eye(4), "matches", covariance))[0] == CALIBRATED[0]
    assert sigma_of(PoseEstimate(np.eye(4), "estimated", NONE)) == (CALIBRATED[0], 1e-6)
    assert pytest.approx((np.radians(0.15), 0.005)) == CALIBRATED
    assert ODOMETRY[0] > CALIBRATED[0]
    assert [subject.sigma for subject in subjects(known("odometry"))[2]] == [ODOMETRY] * 3
