# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from da3_ros.messages import (
    MessageError,
    encode_odometry,
    encode_pose,
    encode_pose_stamped,
    encode_transform,
    matrix_from_pose,
    matrix_from_transform,
)

# A front camera on a robot, by hand: optical z looks along the body's x, optical x to the body's -y; 1 m up.
T_BASE_OPTICAL = np.array([[0.0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.0], [0, 0, 0, 1]])


def test_hand_computed_rig(types):
    message = encode_transform(types, T_BASE_OPTICAL, types.header(8, "base_link"), "front_optical")
    q = message.transform.rotation
    np.testing.assert_allclose([q.x, q.y, q.z, q.w], [-0.5, 0.5, -0.5, 0.5], atol=1e-12)
    t = message.transform.translation
    assert (t.x, t.y, t.z) == (0.2, 0.1, 1.0)
    assert (message.header.frame_id, message.child_frame_id) == ("base_link", "front_optical")
    np.testing.assert_allclose(matrix_from_transform(message.transform), T_BASE_OPTICAL, atol=1e-12)
    ahead = matrix_from_transform(message.transform) @ [0, 0, 3, 1]
    np.testing.assert_allclose(ahead, [3.2, 0.1, 1.0, 1], atol=1e-12)


def test_pose_and_covariance(types):
    covariance = np.arange(36.0).reshape(6, 6)
    message = encode_pose_stamped(types, T_BASE_OPTICAL, covariance, types.header(8, "base_link"))
    np.testing.assert_allclose(matrix_from_pose(message.pose.pose), T_BASE_OPTICAL, atol=1e-12)
    np.testing.assert_array_equal(message.pose.covariance, covariance.ravel())


def test_odometry_says_that_its_velocity_is_unknown(types):
    message = encode_odometry(types, T_BASE_OPTICAL, np.eye(6), types.header(8, "odom"), "base_link")
    assert message.child_frame_id == "base_link"
    assert np.diag(np.reshape(message.twist.covariance, (6, 6))).min() >= 1e6
    np.testing.assert_allclose(matrix_from_pose(message.pose.pose), T_BASE_OPTICAL, atol=1e-12)


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.9), (math.nan, 0.0, 0.0, 1.0)])
def test_quaternions_that_are_none(types, values):
    pose = encode_pose(types, np.eye(4))
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = values
    with pytest.raises(MessageError, match="no rigid transform"):
        matrix_from_pose(pose)
