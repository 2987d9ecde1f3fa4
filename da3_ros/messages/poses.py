# SPDX-License-Identifier: Apache-2.0
"""Poses: 4 x 4 matrices <-> geometry_msgs and nav_msgs. `T_a_b` takes points from frame b to frame a."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import (
    from_rotation_translation,
    matrix_from_quaternion,
    quaternion_from_matrix,
)
from da3_ros.messages.errors import MessageError, guarded
from da3_ros.messages.types import MessageTypes

Matrix = NDArray[np.float64]
# No message constant says "not measured"; filters take a variance of this size as no information.
UNKNOWN_VARIANCE = 1e6


@guarded("a pose")
def matrix_from_transform(transform: Any) -> Matrix:
    """`T_parent_child` (4, 4) of a Transform; raises MessageError where its quaternion is no rotation."""
    return _matrix(transform.translation, transform.rotation)


@guarded("a pose")
def matrix_from_pose(pose: Any) -> Matrix:
    """`T_frame_body` (4, 4) of a Pose; raises MessageError where its quaternion is no rotation."""
    return _matrix(pose.position, pose.orientation)


def _matrix(position: Any, rotation: Any) -> Matrix:
    q = np.array([rotation.x, rotation.y, rotation.z, rotation.w], np.float64)
    t = np.array([position.x, position.y, position.z], np.float64)
    norm = math.hypot(*q)
    # The tolerance is tf2's: drivers write quaternions with few digits.
    if not (np.isfinite(t).all() and abs(norm - 1) < 1e-2):
        raise MessageError(
            f"translation {t.tolist()} with quaternion {q.tolist()} (norm {norm:.4g}) is no rigid transform",
            allowed="finite numbers, quaternion norm 1",
            remedy="correct the publisher; a quaternion of zeros is one that was never set",
        )
    return np.asarray(from_rotation_translation(matrix_from_quaternion(q), t))


def encode_transform(types: MessageTypes, matrix: Matrix, header: Any, child_frame_id: str) -> Any:
    """TransformStamped of `T_header.frame_id_child` (4, 4)."""
    x, y, z = (float(value) for value in matrix[:3, 3])
    return types["geometry_msgs/msg/TransformStamped"](
        header=header,
        child_frame_id=child_frame_id,
        transform=types["geometry_msgs/msg/Transform"](
            translation=types["geometry_msgs/msg/Vector3"](x=x, y=y, z=z), rotation=_quaternion(types, matrix)
        ),
    )


def encode_pose(types: MessageTypes, matrix: Matrix) -> Any:
    """Pose of `T_frame_body` (4, 4)."""
    x, y, z = (float(value) for value in matrix[:3, 3])
    return types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](x=x, y=y, z=z), orientation=_quaternion(types, matrix)
    )


def encode_pose_stamped(types: MessageTypes, matrix: Matrix, covariance: Matrix, header: Any) -> Any:
    """PoseWithCovarianceStamped of `T_frame_body`; covariance (6, 6): x y z, then rotations about x y z."""
    return types["geometry_msgs/msg/PoseWithCovarianceStamped"](
        header=header, pose=_pose_with_covariance(types, matrix, covariance)
    )


def encode_odometry(types: MessageTypes, matrix: Matrix, covariance: Matrix, header: Any, child_frame_id: str) -> Any:
    """Odometry with a pose; the velocity is unknown, which its covariance says."""
    unknown = (np.eye(6) * UNKNOWN_VARIANCE).reshape(36)
    zero = types["geometry_msgs/msg/Vector3"]
    return types["nav_msgs/msg/Odometry"](
        header=header,
        child_frame_id=child_frame_id,
        pose=_pose_with_covariance(types, matrix, covariance),
        twist=types["geometry_msgs/msg/TwistWithCovariance"](
            twist=types["geometry_msgs/msg/Twist"](linear=zero(x=0.0, y=0.0, z=0.0), angular=zero(x=0.0, y=0.0, z=0.0)),
            covariance=unknown,
        ),
    )


def _pose_with_covariance(types: MessageTypes, matrix: Matrix, covariance: Matrix) -> Any:
    flat = np.ascontiguousarray(covariance, np.float64).reshape(36)
    return types["geometry_msgs/msg/PoseWithCovariance"](pose=encode_pose(types, matrix), covariance=flat)


def _quaternion(types: MessageTypes, matrix: Matrix) -> Any:
    x, y, z, w = (float(value) for value in quaternion_from_matrix(np.asarray(matrix[:3, :3], np.float64)))
    return types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w)
