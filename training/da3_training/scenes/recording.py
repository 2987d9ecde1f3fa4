# SPDX-License-Identifier: Apache-2.0
"""A rosbag of a moving robot with four calibrated cameras, with ground truth, in a room of held-out assets.

``python -m da3_training.scenes.recording --out FOLDER``. Topics: ``/cam_N/image_raw/compressed`` (JPEG) and
``/cam_N/camera_info``; ``/tf_static`` with base_link -> cam_N_optical_frame; ``/ground_truth/odom`` (map -> base_link);
``/ground_truth/cam_N/depth/compressed`` (16-bit PNG, millimetres, 0 unknown) with its ``camera_info``.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation
from da3_ros.messages import MessageTypes, encode_camera_info, encode_odometry, encode_transform
from da3_training.scenes.cameras import intrinsics, is_free, pose_of
from da3_training.scenes.generate import Studio
from da3_training.scenes.room import Scene, make_scene
from da3_training.scenes.sensor import Sensor
from da3_training.scenes.sources import CACHE, open_assets

log = logging.getLogger(__name__)

SIZE, DEPTH_SIZE = (320, 240), (160, 120)
FIELD_OF_VIEW = np.radians(85)
HEIGHT = 0.7
"""Of the cameras above the ground, metres."""
# Name, position in base_link (x forward, y left, z up) and yaw. Neighbours overlap and stand about 0.2 m apart, so that
# matches between them fix the scale.
RIG = (
    ("cam_0", (0.10, 0.10), np.radians(10)),
    ("cam_1", (0.10, -0.10), np.radians(-10)),
    ("cam_2", (0.00, 0.28), np.radians(45)),
    ("cam_3", (0.00, -0.28), np.radians(-45)),
)
EPOCH_NS = 1_700_000_000_000_000_000
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    QosTime(0, 0),
    QosTime(0, 0),
    QosLiveliness.AUTOMATIC,
    QosTime(0, 0),
    avoid_ros_namespace_conventions=False,
)


@dataclass(frozen=True)
class Frame:
    """What the robot sees at one instant."""

    T_map_base: NDArray[np.float64]
    images: dict[str, NDArray[np.uint8]]
    depths: dict[str, NDArray[np.float32]]
    """Metres along the optical axis at `DEPTH_SIZE`, 0 unknown."""


def rig_poses() -> dict[str, NDArray[np.float64]]:
    """T_base_camera (4, 4) of every camera, optical axes."""
    return {name: pose_of(np.array([x, y, HEIGHT]), yaw, 0.0, 0.0) for name, (x, y), yaw in RIG}


def drive(studio: Studio, seed: int, frames: int, hertz: float) -> Iterator[Frame]:
    """Frames along a gentle arc at 0.3 m/s; tries rooms until one has a free path with depth in every camera."""
    for attempt in range(200):
        rng = np.random.default_rng([seed, attempt])
        scene = make_scene(studio.library, studio.bank, rng, "room")
        studio.renderer.load(scene.mesh, studio.pixels(scene.own_textures), scene.lighting, (scene.lo, scene.hi))
        for _ in range(20):
            start = np.array([*rng.uniform(scene.lo[:2] + 0.5, scene.hi[:2] - 0.5), 0.0])
            path = list(_arc(start, rng.uniform(0, 2 * np.pi), rng.uniform(-0.15, 0.15), frames, hertz))
            if all(_good(studio, scene, T @ C) for T in path[:: max(1, frames // 3)] for C in rig_poses().values()):
                log.info("room %d of seed %d, with %s", attempt, seed, ", ".join(scene.names))
                yield from (_look(studio, T, rng) for T in path)
                return
    raise RuntimeError(f"seed {seed}: no room with a free path in 200 tries; choose another seed")


def _arc(
    start: NDArray[np.float64], yaw: float, turn: float, frames: int, hertz: float
) -> Iterator[NDArray[np.float64]]:
    position = start
    for _ in range(frames):
        c, s = np.cos(yaw), np.sin(yaw)
        yield from_rotation_translation(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), position)
        position = position + 0.3 / hertz * np.array([c, s, 0])
        yaw += turn / hertz


def _good(studio: Studio, scene: Scene, T_world_camera: NDArray[np.float64]) -> bool:
    """Free to stand here, something to see at a useful distance, and not one flat wall."""
    if not is_free(scene, T_world_camera[:3, 3], 0.25):
        return False
    _, depth = studio.renderer.render(intrinsics(64, 48, FIELD_OF_VIEW), T_world_camera, 64, 48)
    valid = depth[depth > 0]
    if len(valid) < 0.9 * depth.size:
        return False
    low, middle, high = np.percentile(valid, [5, 50, 90])
    return bool(low > 0.5 and 1.2 < middle < 5 and high / low > 1.8)


def _look(studio: Studio, T_map_base: NDArray[np.float64], rng: np.random.Generator) -> Frame:
    images, depths = {}, {}
    sensor = Sensor(0.22, 0.03, np.array([1.03, 1.0, 0.96]), 2.2, 0.2, 1.0, 0.1, 0.4, 0.0, 0.006, 0.5, 80)
    for name, T_base_camera in rig_poses().items():
        pose = T_map_base @ T_base_camera
        linear, depth = studio.renderer.render(intrinsics(*SIZE, FIELD_OF_VIEW), pose, *SIZE)
        images[name] = sensor.expose(linear, depth, rng)
        _, depths[name] = studio.renderer.render(intrinsics(*DEPTH_SIZE, FIELD_OF_VIEW), pose, *DEPTH_SIZE)
    return Frame(T_map_base, images, depths)


def write_bag(path: Path, frames: Iterator[Frame], hertz: float, quality: int = 80) -> int:
    """Write frames as a rosbag2 folder with one MCAP file, replacing an existing one. Returns the number of frames."""
    store = get_typestore(Stores.ROS2_KILTED)
    types = MessageTypes(lambda name: store.types[name])
    camera = CameraModel.from_matrix(intrinsics(*SIZE, FIELD_OF_VIEW), *SIZE)
    small = CameraModel.from_matrix(intrinsics(*DEPTH_SIZE, FIELD_OF_VIEW), *DEPTH_SIZE)
    shutil.rmtree(path, ignore_errors=True)
    count = 0
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}

        def write(topic: str, kind: str, message: Any, stamp: int, qos: tuple[Qos, ...] = ()) -> None:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store, offered_qos_profiles=qos)
            writer.write(connections[topic], stamp, store.serialize_cdr(message, kind))

        def picture(
            topic: str, values: NDArray[Any], extension: str, options: list[int], form: str, header: Any
        ) -> None:
            kind = "sensor_msgs/msg/CompressedImage"
            data = cv2.imencode(extension, values, options)[1].ravel()
            write(topic, kind, types[kind](header=header, format=form, data=data), stamp)

        transforms = [
            encode_transform(types, pose, types.header(EPOCH_NS, "base_link"), f"{name}_optical_frame")
            for name, pose in rig_poses().items()
        ]
        kind = "tf2_msgs/msg/TFMessage"
        write("/tf_static", kind, types[kind](transforms=transforms), EPOCH_NS, (_LATCHED,))
        for frame in frames:
            stamp = EPOCH_NS + round(count * 1e9 / hertz)
            odometry = encode_odometry(
                types, frame.T_map_base, np.zeros((6, 6)), types.header(stamp, "map"), "base_link"
            )
            write("/ground_truth/odom", "nav_msgs/msg/Odometry", odometry, stamp)
            for name, image in frame.images.items():
                header = types.header(stamp, f"{name}_optical_frame")
                info = "sensor_msgs/msg/CameraInfo"
                write(f"/{name}/camera_info", info, encode_camera_info(types, camera, header), stamp)
                bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
                jpeg = [cv2.IMWRITE_JPEG_QUALITY, quality]
                picture(f"/{name}/image_raw/compressed", bgr, ".jpg", jpeg, "rgb8; jpeg compressed bgr8", header)
                truth = f"/ground_truth/{name}/depth"
                write(f"{truth}/camera_info", info, encode_camera_info(types, small, header), stamp)
                millimetres = np.clip(np.rint(frame.depths[name] * 1000), 0, 65535).astype(np.uint16)
                png = [cv2.IMWRITE_PNG_COMPRESSION, 9]
                picture(f"{truth}/compressed", millimetres, ".png", png, "16UC1; png compressed", header)
            count += 1
    return count


def main() -> None:
    """Render and write the recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bag; replaced if it exists")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--hertz", type=float, default=4.0)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--wheels", type=Path, default=None, help="folder with wheels of the texture packages")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    studio = Studio(*open_assets("heldout", arguments.cache, arguments.wheels), "heldout")
    count = write_bag(arguments.out, drive(studio, arguments.seed, arguments.frames, arguments.hertz), arguments.hertz)
    size = sum(p.stat().st_size for p in arguments.out.rglob("*") if p.is_file())
    print(f"{count} frames, {size / 1e6:.2f} MB in {arguments.out}")


if __name__ == "__main__":
    main()
