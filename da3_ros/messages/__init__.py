# SPDX-License-Identifier: Apache-2.0
"""ROS messages <-> arrays, without rclpy: message classes are handed in (`MessageTypes`).

Read `types` (how classes come in), `kinds` (their names), `errors`, then one kind of message a file: `images` (with
`pictures`, JPEG and PNG, and `jpeg_damage`), `cameras` (with `lenses`), `clouds`, `poses`, `stamps`. What decodes
raises MessageError and nothing else, whatever a message holds.
"""

from da3_ros.messages.cameras import (
    decode_baseline,
    decode_camera_info,
    decode_rectification,
    encode_calibration,
    encode_camera_info,
)
from da3_ros.messages.clouds import CloudEncoder, decode_cloud, encode_points
from da3_ros.messages.errors import MessageError, Say, quiet
from da3_ros.messages.images import (
    decode_depth,
    decode_image,
    encode_depth_mm,
    encode_float,
    encode_packed,
    encode_rgb,
    why_no_picture,
)
from da3_ros.messages.poses import (
    encode_odometry,
    encode_pose,
    encode_pose_stamped,
    encode_transform,
    matrix_from_pose,
    matrix_from_transform,
)
from da3_ros.messages.stamps import split_ns, stamp_to_ns
from da3_ros.messages.types import MessageTypes

__all__ = [
    "CloudEncoder",
    "MessageError",
    "MessageTypes",
    "Say",
    "decode_baseline",
    "decode_camera_info",
    "decode_cloud",
    "decode_depth",
    "decode_image",
    "decode_rectification",
    "encode_calibration",
    "encode_camera_info",
    "encode_depth_mm",
    "encode_float",
    "encode_odometry",
    "encode_packed",
    "encode_points",
    "encode_pose",
    "encode_pose_stamped",
    "encode_rgb",
    "encode_transform",
    "matrix_from_pose",
    "matrix_from_transform",
    "quiet",
    "split_ns",
    "stamp_to_ns",
    "why_no_picture",
]
