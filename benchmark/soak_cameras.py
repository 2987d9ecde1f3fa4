# SPDX-License-Identifier: Apache-2.0
"""Four cameras, a LiDAR and transforms, and everything that may be wrong with them; for `soak.py`."""

from __future__ import annotations

import struct
import sys
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage import data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "test" / "helpers"))

from ros_peer import TYPES, Peer

from da3_ros.geometry import CameraModel
from da3_ros.messages import encode_camera_info

NAMES = ("front", "left", "right", "rear")
JPEG = ("right", "rear")
INFO, IMAGE, CLOUD = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2"
TF = "tf2_msgs/msg/TFMessage"
SAID = {
    "silent": "no image for",
    "cut": "cut off|truncated|image of",
    "nan": "finite numbers",
    "uncalibrated": "uncalibrated",
    "unstamped": "stamps are 0 s",
    "unknown lens": "distortion model 'double_sphere'",
    "few numbers": "D of 3 numbers",
    "shares": "focal lengths",
    "other's": "that of the images",
    "gigabytes": "claim to be a PNG of|image of 2147483648",
    "no colours": "does not tell the order of colours",
    "cloud without a layout": "metric reference",
}
"""Words of the diagnostics about each fault that costs frames, or may."""
ONE = ("silent", "half rate", "cut", "nan", "uncalibrated", "unstamped", "unknown lens", "few numbers", "shares",
       "other's", "gigabytes", "calibration late")  # fmt: skip
"""Faults of one camera of either kind."""
HARMLESS = ("no colours", "other's", "bytes behind", "calibration late", "cloud without points", "cloud with twins",
            "transforms that are none")  # fmt: skip
"""What costs no frame."""
WIDTH, HEIGHT = 370, 250


@dataclass
class Cameras:
    """Four cameras, and what is wrong with them at present."""

    peer: Peer
    offset_ns: int = 0
    turn: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        left, right, _ = data.stereo_motorcycle()
        pair = [cv2.resize(image[..., :3], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for image in (left, right)]
        focal, cx = 994.978 * WIDTH / left.shape[1], (311.193 * WIDTH / left.shape[1], 342.279 * WIDTH / left.shape[1])
        self.images = {name: pair[i % 2] for i, name in enumerate(NAMES)}
        self.models = {
            name: CameraModel.pinhole(WIDTH, HEIGHT, focal, focal, cx[i % 2], 127.0) for i, name in enumerate(NAMES)
        }
        head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        png = cv2.imencode(".png", pair[0])[1].tobytes()
        self.bomb = png[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + png[33:]
        self.jpeg = {n: cv2.imencode(".jpg", image[..., ::-1])[1].tobytes() for n, image in self.images.items()}
        poses = {}
        for i, name in enumerate(NAMES):
            pose = np.array(
                [[0.0, 0, 1, 0], [-1, 0, 0, -0.193 * (i % 2) - 3.0 * (i // 2)], [0, -1, 0, 1], [0, 0, 0, 1]]
            )
            poses["base_link", f"{name}_optical"] = pose
        self.peer.send_static(poses)

    def send(self) -> None:
        """One frame of every camera that sends."""
        self.turn += 1
        stamp = self.peer.now_ns() + self.offset_ns
        for name in NAMES:
            self._send(name, stamp, self.faults.get(name, ""))
        if self.faults.get("lidar"):
            self._send_cloud(stamp, self.faults["lidar"])
        if self.faults.get("tf"):
            kind, header = TYPES["geometry_msgs/msg/TransformStamped"], TYPES.header(stamp, "")
            bad = kind(header=header, child_frame_id="front_optical")
            bad.transform.translation.x = float("nan")
            self.peer.publisher("/tf", TF).publish(TYPES[TF](transforms=[bad]))

    def _send_cloud(self, stamp: int, fault: str) -> None:
        kind, field = TYPES[CLOUD], TYPES["sensor_msgs/msg/PointField"]
        names = ("x", "y", "z", "x", "") if fault == "cloud with twins" else ("x", "y", "z")
        cloud = kind(header=TYPES.header(stamp, "front_optical"), point_step=4 * len(names))
        cloud.fields = [field(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(names)]
        if fault == "cloud without a layout":
            cloud.point_step, cloud.width, cloud.height = 0, 1 << 20, 1 << 20
        self.peer.publisher("/da3/scale/points", CLOUD).publish(cloud)

    def _send(self, name: str, stamp: int, fault: str) -> None:
        if fault == "silent" or (fault == "half rate" and self.turn % 2):
            return
        peer, image, jpeg = self.peer, self.images[name], self.jpeg[name]
        if fault == "cut":
            image, jpeg = image[:100, :200], jpeg[: len(jpeg) // 2]
        stamp = 0 if fault == "unstamped" else stamp
        calibration = self._info(name, stamp, fault)
        if fault != "calibration late":
            peer.publisher(f"/{name}/camera_info", INFO).publish(calibration)
        header = TYPES.header(stamp, f"{name}_optical")
        if name in JPEG:
            jpeg = self.bomb if fault == "gigabytes" else jpeg
            peer.send_compressed(name, jpeg + bytes(range(64)) * 9 if fault == "bytes behind" else jpeg, stamp)
        elif fault == "gigabytes":
            message = TYPES[IMAGE](header=header, width=1 << 31, height=1 << 31, encoding="rgb8")
            peer.publisher(f"/{name}/image_raw", IMAGE).publish(message)
        else:
            encoding = "8UC3" if fault == "no colours" else "rgb8"
            peer.send_image(name, np.ascontiguousarray(image), stamp, encoding=encoding)
        if fault == "calibration late":
            time.sleep(0.005)
            peer.publisher(f"/{name}/camera_info", INFO).publish(calibration)

    def _info(self, name: str, stamp: int, fault: str) -> Any:
        frame = "elsewhere_optical" if fault == "other's" else f"{name}_optical"
        info = encode_camera_info(TYPES, self.models[name], TYPES.header(stamp, frame))
        if fault == "nan":
            info.k, info.p = np.full(9, np.nan), np.full(12, np.nan)
        elif fault == "uncalibrated":
            info.k, info.p = np.zeros(9), np.zeros(12)
        elif fault == "unknown lens":
            info.distortion_model = "double_sphere"
        elif fault == "few numbers":
            info.d = [0.1, 0.2, 0.3]
        elif fault == "shares":
            info.k = np.array([0.8, 0, 0.5, 0, 0.8, 0.5, 0, 0, 1])
        return info
