# SPDX-License-Identifier: Apache-2.0
"""A node with a viewer as its session wires them, without ROS; others subscribe to what a test says."""

from __future__ import annotations

import time

import numpy as np
from bags import START, TYPES
from fake_estimator import CAMERA, FakeEstimator

from da3_ros.messages import encode_camera_info, encode_rgb
from da3_ros.stream.diagnostics import Health
from da3_ros.stream.outputs import Outputs
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.transforms import TransformTree
from da3_ros.sync import Frame, FrameCounters, FrameSet
from da3_ros.viewer.live import LiveViewer

NAMES = ("left", "right")
POSES = {
    name: np.array([[0.0, 0, 1, 0], [-1, 0, 0, y], [0, -1, 0, 0.5], [0, 0, 0, 1]])
    for name, y in zip(NAMES, (0.1, -0.1), strict=True)
}


class Topic:
    """A publisher with so many subscribers, which keeps what it is given."""

    def __init__(self, subscribers):
        self.subscribers, self.messages = subscribers, []

    def get_subscription_count(self):
        return self.subscribers

    def publish(self, message):
        self.messages.append(message)


class Node:
    """What a session wires, without ROS. wanted: topics that others subscribe to."""

    def __init__(self, wanted=(), **parameters):
        values = {"cameras": list(NAMES), "viewer.mode": "save", "cloud.rate": 0.0}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        defaults = {spec.name: spec.default for spec in (*SPECS, *(s for name in NAMES for s in camera_specs(name)))}
        parameters = read_parameters(lambda name: values.get(name, defaults[name]))
        self.reports, self.said, self.topics = [], [], {}
        self.viewer = LiveViewer(parameters, lambda kind, text: self.reports.append((kind, text)), self.said.append)
        tree = TransformTree()
        for name, pose in POSES.items():
            tree.add("base_link", f"{name}_optical", pose, 0, static=True)

        def advertise(kind, topic, qos):
            self.topics[topic] = Topic(int(topic in wanted))
            return self.viewer.tee(self.topics[topic], topic, kind)

        outputs = Outputs(advertise, TYPES, parameters, reuse=True, on_set=self.viewer.on_set)
        self.estimator = FakeEstimator("fake", parameters.estimator)
        health = Health(NAMES, lambda level, text: None)
        self.counters = FrameCounters(NAMES)
        self.pipeline = Pipeline(parameters, self.estimator, outputs, tree, self.counters, health, lambda: START)

    def send(self, stamp_ns):
        """One set; how many the estimator has seen."""
        frames = []
        for name in NAMES:
            header = TYPES.header(stamp_ns, f"{name}_optical")
            info = encode_camera_info(TYPES, CAMERA, header)
            self.pipeline.set_camera_info(name, info)
            self.viewer.heard(f"/{name}/camera_info", "sensor_msgs/msg/CameraInfo", info)
            frames.append(
                Frame(
                    name, stamp_ns, encode_rgb(TYPES, np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8), header)
                )
            )
        self.pipeline(FrameSet(tuple(frames), stamp_ns, ()))
        return len(self.estimator.sets)

    def problems(self):
        return [report for report in self.reports if report[1]]


def wait(condition, what="condition"):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)
