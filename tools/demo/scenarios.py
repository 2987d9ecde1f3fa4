# SPDX-License-Identifier: Apache-2.0
"""What the demo shows: cameras, their calibration, their images over time, and the truth."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry import CameraModel
from da3_ros.messages import decode_camera_info, decode_image, matrix_from_transform, stamp_to_ns

ROOT = Path(__file__).resolve().parents[2]
FOUR_CAMERAS = ROOT / "test" / "data" / "four_cameras"


@dataclass(frozen=True)
class Truth:
    """True depth of one image (h, w), metres along the optical axis, NaN unknown, and its camera."""

    depth: NDArray[np.float32]
    camera: CameraModel


@dataclass(frozen=True)
class Rig:
    """Cameras with T_base_camera, and frames: for each instant the images, and the truth where known."""

    cameras: dict[str, CameraModel]
    poses: dict[str, NDArray[np.float64]]
    frames: list[dict[str, NDArray[np.uint8]]]
    truth: list[dict[str, Truth]]


@dataclass(frozen=True)
class Scenario:
    """A rig, and how fast its frames are sent."""

    name: str
    title: str
    load: Callable[[], Rig]
    hertz: float
    parameters: dict[str, str] = field(default_factory=dict)


@functools.cache
def motorcycle() -> Rig:
    """Middlebury 2014 Motorcycle, from scikit-image: a real rectified pair with true disparity of the left image."""
    from skimage.data import stereo_motorcycle

    left, right, disparity = stereo_motorcycle()
    focal, cx, cy, offset, baseline = 994.978, 311.193, 254.877, 31.086, 0.193001
    height, width = left.shape[:2]
    cameras = {
        "left": CameraModel.pinhole(width, height, focal, focal, cx, cy),
        "right": CameraModel.pinhole(width, height, focal, focal, cx + offset, cy),
    }
    # base_link looks along x, cameras along z; 0.5 m above the ground.
    base = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1.0]])
    shifted = np.eye(4)
    shifted[0, 3] = baseline
    depth = np.where(np.isfinite(disparity), focal * baseline / (disparity + offset), np.nan).astype(np.float32)
    count = 20
    return Rig(
        cameras,
        {"left": base, "right": base @ shifted},
        [{"left": left, "right": right}] * count,
        [{"left": Truth(depth, cameras["left"])}] * count,
    )


@functools.cache
def four_cameras() -> Rig:
    """The shipped recording: a robot with four cameras moves through a rendered room."""
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    cameras: dict[str, CameraModel] = {}
    truth_cameras: dict[str, CameraModel] = {}
    poses: dict[str, NDArray[np.float64]] = {}
    images: dict[int, dict[str, NDArray]] = {}
    depths: dict[int, dict[str, NDArray]] = {}
    with AnyReader([FOUR_CAMERAS], default_typestore=get_typestore(Stores.ROS2_KILTED)) as reader:
        for connection, _, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            parts = connection.topic.strip("/").split("/")
            if connection.topic == "/tf_static":
                for t in message.transforms:
                    poses[t.child_frame_id.removesuffix("_optical_frame")] = matrix_from_transform(t.transform)
            elif parts[0] == "ground_truth" and parts[-1] == "camera_info":
                truth_cameras[parts[1]] = decode_camera_info(message, rectified=True)
            elif parts[0] == "ground_truth" and parts[-1] == "compressed":
                millimetres: Any = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
                depth = np.where(millimetres > 0, millimetres / 1000.0, np.nan).astype(np.float32)
                depths.setdefault(stamp_to_ns(message.header.stamp), {})[parts[1]] = depth
            elif parts[-1] == "camera_info":
                cameras[parts[0]] = decode_camera_info(message, rectified=True)
            elif parts[-1] == "compressed":
                images.setdefault(stamp_to_ns(message.header.stamp), {})[parts[0]] = decode_image(message)
    stamps = [s for s in sorted(images) if len(images[s]) == len(cameras)]
    names = sorted(cameras)
    truth = [{n: Truth(depths[s][n], truth_cameras[n]) for n in names if n in depths.get(s, {})} for s in stamps]
    return Rig({n: cameras[n] for n in names}, poses, [images[s] for s in stamps], truth)


ALL = (
    Scenario("motorcycle", "Middlebury Motorcycle, real stereo pair", motorcycle, 2.0),
    Scenario("four_cameras", "Moving robot with four cameras, rendered room", four_cameras, 0.7),
)


def by_name(name: str) -> Scenario:
    """The scenario called `name`."""
    return next(s for s in ALL if s.name == name)
