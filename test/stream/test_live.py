# SPDX-License-Identifier: Apache-2.0
"""Parameters that may change while the node runs change what comes out, from the next set on."""

from needs import needs

needs("rosbags", "scipy")

import dataclasses

import cv2
import numpy as np
import pytest
from bags import PERIOD, START
from known_depth import RECORD, KnownDepthEngine
from wrong_depth import NAMES, Wires, wall

from da3_ros.estimation import Estimator
from da3_ros.geometry.poses import from_rotation_translation
from da3_ros.messages import decode_cloud
from da3_ros.stream.parameters import SPECS

BEFORE, AFTER = 2, 4
ELSEWHERE = {
    "sync.policy", "sync.max_skew", "sync.allow_missing",  # of the buffer
    "refinement.source", "refinement.size", "refinement.hypotheses", "refinement.reach", "refinement.held_back",
    "diagnostics.period", "watchdog.timeout",  # of the node
}  # fmt: skip
"""Tested in test/stream/test_refinement.py, test/node/test_lifecycle.py and test/node/test_watchdog.py."""


class Engine(KnownDepthEngine):
    """Sees the wall, with a box before it, in a unit that grows with every set; any number of views."""

    def run(self, images, extrinsics=None, intrinsics=None, known=None):
        count = len(images)
        full = dataclasses.replace(
            self, depths=[self.depths[i % 2] for i in range(count)], poses=self.poses[np.arange(count) % 2], calls=[]
        )
        raw = KnownDepthEngine.run(full, images, extrinsics, intrinsics, known)
        self.calls.append(count)
        depth = raw.depth * np.float32(1 + 0.08 * len(self.calls))
        depth[:, : depth.shape[1] // 4, : depth.shape[2] // 4] *= 0.6
        return dataclasses.replace(raw, depth=depth)


class Drive:
    """Sets of a rig that drives, before and after a change of one parameter."""

    def __init__(self, changes, *, special="", wanted=None, after=AFTER, **parameters):
        """special: `bumped`: the right camera is rolled; `few points`: the LiDAR is heard once before, once after; `no
        points`: never. after: how many sets after the change.
        """
        scene = wall()
        poses = dict(scene.poses)
        if special == "bumped":
            rolled = cv2.Rodrigues(np.array([0, 0, np.radians(4.0)]))[0]
            poses["right"] = from_rotation_translation(poses["right"][:3, :3] @ rolled, poses["right"][:3, 3])
        values = {"inference.size": 84, "refinement.source": "none", "cloud.rate": 0.0, "publish_tf": True,
                  "diagnostics.rig_check_period": 0.0, **parameters}  # fmt: skip
        no_odometry = tuple(f"{name}/{topic}" for name in NAMES for topic in ("depth/image_rect", "points", "pose"))
        self.wires = Wires(scene, wanted or (*no_odometry, "points", "/tf"), poses=poses, **values)
        self.engine = Engine([scene.wrong[name] for name in NAMES], np.stack([scene.poses[name] for name in NAMES]))
        self.wires.pipeline._estimator = Estimator(self.engine, RECORD, self.wires.parameters.estimator)
        self.wires.pipeline.presenter._now = lambda: START + 2_000_000_000
        self.scales = []
        for index in range(BEFORE + after):
            if index == BEFORE:
                for topic in self.wires.topics.values():
                    topic.messages.clear()
                self.scales.clear()
                if changes:
                    self.wires.reconfigure(**changes)
            stamp = START + index * PERIOD
            moved = np.eye(4)
            moved[2, 3] = 0.1 * index
            self.wires.tree.add("odom", "base_link", moved, stamp, static=False)
            if special != "no points" and (special != "few points" or index in (0, BEFORE)):
                self.wires.pipeline.reference.add_cloud(scene.cloud(stamp + 10_000_000))
            self.scales.append(self.wires.send(index).scale)

    def read(self, topic="left/depth/image_rect"):
        return self.wires.topics[topic].messages

    def frame(self, topic="left/depth/image_rect"):
        return self.read(topic)[-1].header.frame_id

    def values(self):
        return [round(scale.value, 4) for scale in self.scales]

    def metric(self):
        return [scale.metric for scale in self.scales]

    def views(self):
        return self.engine.calls[BEFORE:]

    def share(self, test):
        return float(test(np.frombuffer(self.read()[-1].data, np.float32)).mean())

    def points(self):
        return [len(decode_cloud(message)["x"].ravel()) for message in self.read("points")]

    def children(self):
        return {t.child_frame_id for message in self.read("/tf") for t in message.transforms}

    def sources(self):
        return {key: value for key, value in self.wires.status("poses").values.items() if key.endswith("_source")}

    def kinds(self):
        return sorted({kind for _, kind in self.wires.health.issues()})


REFERENCE = {"scale.source": "reference", "scale.smoothing": 0.0, "scale.max_jump": 9.0}
LOST = {"rig_frame": "nowhere", "after": 1}
NETWORK = {"pose.source": "network"}
ODOMETRY = {"wanted": ("odometry",), "after": 1}
BUMPED = {"special": "bumped", "inference.size": 252, "after": 2}
REFINED = {"inference.size": 252, "refinement.source": "views", "scale.source": "rig", "after": 1}
# name: (what is special from the start on, value afterwards, what is looked at)
CASES = {
    "sync.window": (NETWORK, 1, Drive.views),
    "sync.window_spacing": ({**NETWORK, "sync.window": 2}, 0.25, Drive.views),
    "scale.source": ({}, "none", Drive.metric),
    "scale.value": ({}, 3.0, Drive.values),
    "scale.camera_height": ({**LOST, **NETWORK, "special": "no points", "scale.source": "auto"}, 1.5,
                            lambda d: d.scales[-1].message),
    "scale.fit": (REFERENCE, "scale", lambda d: d.scales[-1].shift != 0),
    "scale.period": (REFERENCE, 100.0, lambda d: len(set(d.values()))),
    "scale.smoothing": (REFERENCE, 100.0, Drive.values),
    "scale.hold": ({**REFERENCE, "special": "few points", "scale.max_age": 0.05}, 0, Drive.metric),
    "scale.max_jump": (REFERENCE, 0.001, Drive.values),
    "scale.confirm": ({**REFERENCE, "scale.max_jump": 0.001}, 1, Drive.values),
    "scale.min_matches": (REFERENCE, 1000000, Drive.metric),
    "scale.max_age": ({**REFERENCE, "scale.hold": 0.0}, 0.001, Drive.metric),
    "pose.source": (LOST, "network", Drive.sources),
    "pose.min_matches": (LOST, 1000000, Drive.sources),
    "min_range": ({}, 2.2, lambda d: d.share(np.isneginf)),
    "max_range": ({}, 2.2, lambda d: d.share(np.isposinf)),
    "min_confidence": ({}, 1.5, lambda d: d.share(np.isnan)),
    "rig_frame": ({}, "odom", lambda d: d.frame("left/pose")),
    "odometry_frame": ({}, "odom", Drive.sources),
    "fused_frame": ({}, "odom", lambda d: d.frame("points")),
    "cloud.voxel_size": ({}, 0.3, lambda d: d.points()[0]),
    "cloud.rate": ({}, 2.0, lambda d: len(d.points())),
    "cloud.filter_edges": ({"cloud.voxel_size": 0.0}, False, lambda d: d.points()[0]),
    "cloud.min_confidence": ({"cloud.voxel_size": 0.0}, 1.5, lambda d: d.points()[0]),
    "cloud.max_stddev": ({**REFINED, "cloud.voxel_size": 0.0}, 0.02, lambda d: d.points()[0]),
    "cloud.max_range": ({"cloud.voxel_size": 0.0}, 2.2, lambda d: d.points()[0]),
    "depth.resolution": ({}, "camera", lambda d: d.read()[-1].width),
    "relative_suffix": ({"scale.source": "none"}, "_unit", Drive.frame),
    "tf.prefix": ({}, "est_", Drive.children),
    "odometry.frame": (ODOMETRY, "vo", lambda d: d.frame("odometry")),
    "diagnostics.max_latency": ({}, 0.5, Drive.kinds),
    "diagnostics.rig_check_period": (BUMPED, 0.1, Drive.kinds),
    "diagnostics.rig_tolerance": ({**BUMPED, "diagnostics.rig_check_period": 0.1, "diagnostics.rig_tolerance": 30.0},
                                  2.0, Drive.kinds),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_value_set_live_makes_another_output(name):
    start, changed, look = CASES[name]
    assert look(Drive({}, **start)) != look(Drive({name: changed}, **start))


def test_a_reference_that_fails_for_longer_than_the_scale_is_held_is_said():
    """Points that are near no image: for two seconds that is nothing to speak of, unless the hold is shorter."""
    start = {"special": "few points", "scale.source": "auto", "scale.max_age": 0.05}
    assert "reference" not in Drive({}, **start).kinds()
    assert "reference" in Drive({"scale.hold": 0.0}, **start).kinds()


def test_no_live_parameter_is_left_out():
    assert set(CASES) | ELSEWHERE == {spec.name for spec in SPECS if spec.live}
