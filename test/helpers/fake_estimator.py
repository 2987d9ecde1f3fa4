# SPDX-License-Identifier: Apache-2.0
"""An estimator without a network: depth that a test knows. For the tests of the node's wiring only."""

import time

import cv2
import numpy as np

from da3_ros.estimation import Estimate, InOneStep, OdometryEstimate, PoseEstimate, ScaleEstimate, ViewEstimate
from da3_ros.estimation.refinement.sweeper import on_the_cpu
from da3_ros.geometry import CameraModel

WIDTH, HEIGHT = 84, 56
CAMERA = CameraModel.pinhole(168, 112, 150.0, 151.0, 80.0, 60.0)


class FakeEstimator(InOneStep):
    """A slope from 2 to 3 m, invalid in one corner, sky in another; metric where two views have poses."""

    sweeper = staticmethod(on_the_cpu)

    def __init__(self, model, config, delay=0.0):
        self.model, self.config, self.delay = model, config, delay
        self.sets, self.resets, self.fail = [], 0, None
        self.motion, self.lost, self.rig = np.eye(4), "", None
        self.faults = ()

    def describe(self):
        return {"model": self.model, "engine": "fake", "size": str(self.config.size)}

    def reset(self):
        self.resets += 1

    def memory(self):
        return len(self.sets)

    def recall(self, memory):
        self.recalled = memory

    def depth(self):
        depth = np.linspace(2, 3, WIDTH, dtype=np.float32)[None].repeat(HEIGHT, axis=0)
        depth[:4, :4], depth[:4, -4:], depth[-4:, :4] = np.nan, np.inf, -np.inf
        return depth

    def check(self, config):
        if config.pose.source == "rays":
            raise ValueError("no rays in this one")

    def reconfigure(self, config):
        for name in ("size", "threads", "condition_on_poses"):  # as the real one
            if getattr(config, name) != getattr(self.config, name):
                raise ValueError(f"{name} cannot change while the engine runs")
        self.config = config

    def __call__(self, view_set, *, odometry=False):
        self.sets.append(view_set)
        time.sleep(self.delay)
        if self.fail:
            raise self.fail
        metric = sum(view.pose is not None and view.camera is not None for view in view_set.views) >= 2
        views = []
        for index, view in enumerate(view_set.views):
            known = view.pose is not None
            source = view.pose_source if known else "network"
            pose = PoseEstimate(view.pose if known else np.eye(4), source, 0.01 * np.eye(6))
            camera = (view.straight_camera() or CAMERA).scaled(WIDTH, HEIGHT)
            image = cv2.resize(view.image, (WIDTH, HEIGHT))
            confidence = np.full((HEIGHT, WIDTH), 1.5 + index, np.float32)
            depth = self.depth()
            stddev = np.where(np.isfinite(depth), 0.1 * depth, np.nan).astype(np.float32) if metric else None
            views.append(ViewEstimate(view.name, view.stamp_ns, image, depth, confidence, camera, pose, stddev))
        scale = ScaleEstimate("rig", 1.25, 0.0, 0.03, 120, True) if metric else ScaleEstimate("none", message="no rig")
        timing = {"preprocess": 1.0, "engine": 2.0, "scale": 0.5, "poses": 0.1, "post": 0.25}
        motion = OdometryEstimate(self.motion, 0.01 * np.eye(6), 50, self.lost, metric) if odometry else None
        return Estimate(tuple(views), scale, timing, motion, self.rig, faults=self.faults)
