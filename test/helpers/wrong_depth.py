# SPDX-License-Identifier: Apache-2.0
"""Two textured views of a slanted wall and a network that bends it: what refinement mends, from messages to messages.

The engine's depth is the truth times a smooth factor, so that views, or points of another sensor, tell what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from bags import PERIOD, START, TYPES
from known_depth import RECORD, KnownDepthEngine

from da3_ros.estimation import Estimator
from da3_ros.geometry import CameraModel
from da3_ros.messages import (
    CloudEncoder,
    decode_depth,
    encode_camera_info,
    encode_rgb,
    encode_transform,
)
from da3_ros.stream.diagnostics import Health
from da3_ros.stream.outputs import Outputs
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.transforms import TransformTree
from da3_ros.sync import Frame, FrameCounters, FrameSet

CAMERA = CameraModel.pinhole(320, 240, 260.0, 260.0, 165.0, 115.0)
NAMES = ("left", "right")
STEPS = {"beside": (0.2, 0.0, 0.0), "above": (0.0, -0.15, 0.1)}
"""Where the second camera stands: beside the first one, as stereo cameras do, or above and behind it."""
BEND = 0.3
"""Largest error of the engine's log depth."""
LIDAR = np.eye(4)
LIDAR[:3, 3] = (0.05, -0.1, 0.0)


@dataclass(frozen=True)
class Wall:
    """The plane z = 2 + 0.3 x in the frame of the first camera, which is the rig's."""

    poses: dict[str, np.ndarray]
    depths: dict[str, np.ndarray]
    """Truth (H, W) of each camera."""
    wrong: dict[str, np.ndarray]
    """What the engine says."""
    _images: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def image(self, name: str, index: int) -> np.ndarray:
        """(H, W, 3); every set has another wallpaper."""
        if (name, index) not in self._images:
            self._images[name, index] = self._image(name, index)
        return self._images[name, index].copy()

    def _image(self, name: str, index: int) -> np.ndarray:
        x, y = self._places(name)
        paper = _paper(index)
        grey = cv2.remap(paper, (x * 180 + 450).astype(np.float32), (y * 180 + 300).astype(np.float32), 1)
        return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)

    def _places(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        a, b = _rays()
        z, origin = self.depths[name], self.poses[name][:3, 3]
        return origin[0] + a * z, origin[1] + b * z

    def cloud(self, stamp_ns: int, step: int = 7) -> Any:
        """PointCloud2 of a LiDAR: every `step`-th pixel of the first camera."""
        x, y = self._places("left")
        points = np.stack([x, y, 2 + 0.3 * x], -1)[::step, ::step].reshape(-1, 3) - LIDAR[:3, 3]
        colours, one = np.zeros((len(points), 3), np.uint8), np.ones(len(points), np.float32)
        return CloudEncoder(TYPES)(points.astype(np.float32), colours, one, TYPES.header(stamp_ns, "lidar"))

    def engine(self) -> KnownDepthEngine:
        """The network that bends the wall."""
        return KnownDepthEngine([self.wrong[n] for n in NAMES], np.stack([self.poses[n] for n in NAMES]))

    def estimator(self, model: str, config: Any) -> Estimator:
        """Stands for Estimator.from_model."""
        del model
        return Estimator(self.engine(), RECORD, config)

    def transforms(self) -> list[Any]:
        """Transforms of both cameras and the LiDAR, for /tf_static."""
        header = TYPES.header(START, "base_link")
        frames = {f"{name}_optical": pose for name, pose in self.poses.items()} | {"lidar": LIDAR}
        return [encode_transform(TYPES, pose, header, frame) for frame, pose in frames.items()]

    def messages(self, name: str, index: int, stamp_ns: int) -> tuple[Any, Any]:
        """CameraInfo and Image of a camera."""
        header = TYPES.header(stamp_ns, f"{name}_optical")
        return encode_camera_info(TYPES, CAMERA, header), encode_rgb(TYPES, self.image(name, index), header)


def wall(kind: str = "beside") -> Wall:
    """Two cameras before the wall, with the second one at STEPS[kind]."""
    a, b = _rays()
    poses, depths, wrong = {}, {}, {}
    for number, name in enumerate(NAMES):
        pose = np.eye(4)
        pose[:3, 3] = np.array(STEPS[kind]) * number
        # z_world = origin_z + depth = 2 + 0.3 (origin_x + a depth)
        depth = (2 + 0.3 * pose[0, 3] - pose[2, 3]) / (1 - 0.3 * a)
        poses[name], depths[name] = pose, depth.astype(np.float32)
        wrong[name] = (depth * np.exp(BEND * np.sin(4 * a) * np.cos(3 * b))).astype(np.float32)
    return Wall(poses, depths, wrong)


def events(scene: Wall, frames: int, *, cloud: bool = False) -> Any:
    """(topic, log time, message) of a recording, in order."""
    yield "/tf_static", START, TYPES["tf2_msgs/msg/TFMessage"](transforms=scene.transforms())
    for index in range(frames):
        stamp = START + index * PERIOD
        if cloud:
            yield "/scale/points", stamp + 1, scene.cloud(stamp)
        for order, name in enumerate(NAMES):
            info, image = scene.messages(name, index, stamp)
            yield f"/{name}/camera_info", stamp + 2 + order, info
            yield f"/{name}/image_raw", stamp + 2 + order, image


@dataclass
class Topic:
    """Keeps what is published, where it is wanted."""

    wanted: bool
    messages: list[Any] = field(default_factory=list)

    def get_subscription_count(self) -> int:
        return int(self.wanted)

    def publish(self, message: Any) -> None:
        self.messages.append(message)


class Wires:
    """The node without ROS: a pipeline with a subscriber to some or all topics."""

    def __init__(self, scene: Wall, wanted: tuple[str, ...] | None = None, *, poses: Any = None, **parameters: Any):
        """wanted: names of topics, None: all. poses: {camera: T_base_camera} in the place of the true ones."""
        self.scene, self.topics, self.logged = scene, {}, []
        self._values = {"cameras": list(NAMES), "scale.source": "given"}
        self.parameters = self._read(parameters)

        def advertise(kind: str, topic: str, qos: Any) -> Topic:
            del kind, qos
            self.topics[topic] = Topic(wanted is None or topic in wanted)
            return self.topics[topic]

        self.outputs = Outputs(advertise, TYPES, self.parameters)
        self.estimator = scene.estimator("", self.parameters.estimator)
        self.health = Health(NAMES, lambda level, text: self.logged.append((level, text)))
        self.tree = tree = TransformTree()
        for name, pose in (poses or scene.poses).items():
            tree.add("base_link", f"{name}_optical", pose, 0, static=True)
        tree.add("base_link", "lidar", LIDAR, 0, static=True)
        self.counters = FrameCounters(NAMES)
        self.pipeline = Pipeline(
            self.parameters, self.estimator, self.outputs, tree, self.counters, self.health, lambda: START
        )

    def _read(self, parameters: dict[str, Any]) -> Any:
        defaults = {s.name: s.default for s in (*SPECS, *(s for n in NAMES for s in camera_specs(n)))}
        self._values.update({name.replace("__", "."): value for name, value in parameters.items()})
        return read_parameters(lambda name: self._values.get(name, defaults.get(name)))

    def reconfigure(self, **parameters: Any) -> None:
        """Set parameters while the node runs."""
        self.pipeline.reconfigure(self._read(parameters))

    def send(self, index: int = 0, *, cloud: bool = False) -> Any:
        """One set, with a LiDAR's cloud if that is asked for; returns its estimate."""
        stamp = START + index * PERIOD
        if cloud:
            self.pipeline.reference.add_cloud(self.scene.cloud(stamp))
        frames = []
        for name in NAMES:
            info, image = self.scene.messages(name, index, stamp)
            self.pipeline.set_camera_info(name, info)
            frames.append(Frame(name, stamp, image))
        return self.pipeline(FrameSet(tuple(frames), stamp, ()))

    def depth(self, topic: str = "left/depth/image_rect") -> np.ndarray:
        """The last image of floats on a topic."""
        return decode_depth(self.topics[topic].messages[-1])

    def error(self, name: str = "left") -> float:
        """Median relative error of a camera's last depth."""
        depth = self.depth(f"{name}/depth/image_rect")
        truth = cv2.resize(self.scene.depths[name], depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return float(np.nanmedian(np.abs(depth / truth - 1)))

    def status(self, name: str) -> Any:
        """A status of the diagnostics."""
        return next(status for status in self.health.statuses({}) if status.name == name)


@lru_cache(1)
def _rays() -> tuple[np.ndarray, np.ndarray]:
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    return (u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy


@lru_cache(16)
def _paper(index: int) -> np.ndarray:
    noise = np.random.default_rng(index).uniform(0, 255, (600, 900)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX)
