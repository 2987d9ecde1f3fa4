# SPDX-License-Identifier: Apache-2.0
"""A rendered walk as a recording: the camera's images, its calibration, and the true poses if asked for; and how far a
trajectory is off the walk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from evo.core import metrics, sync
from evo.core.trajectory import PoseTrajectory3D
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from walk import Walk

from da3_ros.bag.io.definitions import standard_store, standard_types
from da3_ros.messages import encode_camera_info, encode_rgb, encode_transform

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
FRAME = "camera_optical"
Alignment = tuple[NDArray[np.float64], NDArray[np.float64], float]
"""Rotation, translation and scale of a similarity."""
IMAGE, INFO, TF = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"


def write_walk_bag(walk: Walk, path: Path, *, poses: bool = False) -> Path:
    """Write a rosbag2 folder; returns `path`. poses: also /tf with odom -> base_link -> camera, the truth."""
    store, types = standard_store(), standard_types()
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        info = writer.add_connection("/camera/camera_info", INFO, typestore=store)
        image = writer.add_connection("/camera/image_raw", IMAGE, typestore=store)
        tf = writer.add_connection("/tf", TF, typestore=store)
        static = writer.add_connection("/tf_static", TF, typestore=store)
        if poses:
            mount = encode_transform(types, np.eye(4), types.header(START_NS, "base_link"), FRAME)
            writer.write(static, START_NS, store.serialize_cdr(types[TF](transforms=[mount]), TF))
        for number, (pixels, pose) in enumerate(zip(walk.images, walk.poses, strict=True)):
            stamp = START_NS + number * PERIOD_NS
            header = types.header(stamp, FRAME)
            if poses:
                moved = encode_transform(types, pose, types.header(stamp, "odom"), "base_link")
                writer.write(tf, stamp, store.serialize_cdr(types[TF](transforms=[moved]), TF))
            writer.write(info, stamp, store.serialize_cdr(encode_camera_info(types, walk.camera, header), INFO))
            writer.write(image, stamp, store.serialize_cdr(encode_rgb(types, pixels, header), IMAGE))
    return path


def trajectory_error(found: PoseTrajectory3D, walk: Walk) -> tuple[float, float, Alignment]:
    """RMSE and largest error of the position in metres after alignment by a similarity, and that one (R, t, s)."""
    stamps = (START_NS + np.arange(len(walk.poses)) * PERIOD_NS) / 1e9
    truth = PoseTrajectory3D(poses_se3=list(walk.poses), timestamps=stamps)
    truth, found = sync.associate_trajectories(truth, found)
    alignment = found.align(truth, correct_scale=True)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((truth, found))
    return ape.get_statistic(metrics.StatisticsType.rmse), ape.get_statistic(metrics.StatisticsType.max), alignment
