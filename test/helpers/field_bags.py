# SPDX-License-Identifier: Apache-2.0
"""Recordings as the field makes them: topics of any name and type, given as (topic, kind, message)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from bags import CAMERA, PERIOD, POSES, START, STORE, TYPES, picture
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore
from rosbags.typesys.stores import Stores

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.plan import describe, make_plan
from da3_ros.messages import encode_camera_info, encode_transform

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, TF = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
RGB = picture(0, "left")
Event = tuple[str, int, str, Any]
"""Topic, log time (ns), type and message, which may be bytes."""


def image(frame: str, pixels: np.ndarray, encoding: str, stamp_ns: int = START) -> Any:
    """An Image of (H, W) or (H, W, C) of 8 or 16 bits."""
    pixels = np.ascontiguousarray(pixels)
    return TYPES[IMAGE](
        header=TYPES.header(stamp_ns, frame),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // pixels.shape[0],
        data=pixels.reshape(-1).view(np.uint8),
    )


def packed(frame: str, data: bytes, form: str, stamp_ns: int = START) -> Any:
    """A CompressedImage."""
    header = TYPES.header(stamp_ns, frame)
    return TYPES[COMPRESSED](header=header, format=form, data=np.frombuffer(data, np.uint8))


def transforms(entries: Iterable[tuple[str, str, np.ndarray]], stamp_ns: int = START) -> Any:
    """A TFMessage of (parent, child, T_parent_child)."""
    return TYPES[TF](
        transforms=[
            encode_transform(TYPES, matrix, TYPES.header(stamp_ns, parent), child) for parent, child, matrix in entries
        ]
    )


def rig(parent: str = "base_link", step: float = 0.0) -> Any:
    """Places of left_optical and right_optical, `step` metres farther apart than in `bags`."""
    moved = {name: pose.copy() for name, pose in POSES.items()}
    moved["right"][1, 3] -= step
    return transforms((parent, f"{name}_optical", pose) for name, pose in moved.items())


def write(path: Path, events: Iterable[Event], definitions: dict[str, str] | None = None) -> Path:
    """An MCAP folder; definitions: of types that are not standard, as msg text."""
    store = STORE
    if definitions:
        store = get_typestore(Stores.ROS2_KILTED)
        for kind, text in definitions.items():
            store.register(get_types_from_msg(text, kind))
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for topic, log_ns, kind, message in sorted(events, key=lambda event: event[1]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            raw = message if isinstance(message, bytes) else bytes(store.serialize_cdr(message, kind))
            writer.write(connections[topic], log_ns, raw)
    return path


def at(index: int) -> int:
    """Time of a set (ns)."""
    return START + index * PERIOD


def info(frame, stamp_ns=START):
    return encode_camera_info(TYPES, CAMERA, TYPES.header(stamp_ns, frame))


def camera(topic, info_topic, frame, message=None, kind=IMAGE, count=1):
    """Events of a camera; message: stamp -> image."""
    make = message or (lambda stamp: image(frame, RGB, "rgb8", stamp))
    for index in range(count):
        if info_topic:
            yield info_topic, at(index), INFO, info(frame, at(index))
        yield topic, at(index), kind, make(at(index))


def planned(path, events, *assignments, definitions=None, cameras=()):
    """Plan of a recording of these events, its words, and the recording's problems."""
    with Recording(write(path / "bag", events, definitions)) as recording:
        request = Request(path, path / "out", assignments=assignments, cameras=cameras)
        plan = make_plan(recording, request)
        return plan, describe(recording, plan, request.options), list(recording.problems)
