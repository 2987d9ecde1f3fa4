# SPDX-License-Identifier: Apache-2.0
"""An engine whose depth is known, and what estimators and scale sources make of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from da3_ros.engines import EngineInfo, RawEstimate
from da3_ros.estimation import Estimator, EstimatorConfig, View
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale import ScaleSource
from da3_ros.geometry.poses import invert
from da3_ros.models import ModelRecord


@dataclass
class KnownDepthEngine:
    """An engine that returns given depth maps, resized to its input, in a unit of its own."""

    depths: list[np.ndarray]
    poses: np.ndarray
    unit: float = 1.0
    takes_poses: bool = True
    mixes: bool = False
    calls: list[dict] = field(default_factory=list)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("fake", "test", self.takes_poses, 14, "0" * 64, mixes=self.mixes)

    def run(self, images, extrinsics=None, intrinsics=None, known=None) -> RawEstimate:
        call = {"shape": images.shape, "extrinsics": extrinsics, "intrinsics": intrinsics, "known": known}
        self.calls.append(call)
        s, h, w = images.shape[:3]
        depth = [cv2.resize(d.astype(np.float32), (w, h), interpolation=cv2.INTER_NEAREST) for d in self.depths[:s]]
        poses = self.poses[:s].copy()
        poses[:, :3, 3] /= self.unit
        k = np.tile(np.array([[w, 0, w / 2], [0, w, h / 2], [0, 0, 1]], np.float32), (s, 1, 1))
        confidence = np.ones((s, h, w), np.float32) + np.linspace(0, 1, w, dtype=np.float32)
        depth = np.stack(depth) / np.float32(self.unit)
        return RawEstimate(depth, confidence, invert(poses)[:, :3].astype(np.float32), k)


@dataclass
class Rig:
    """Two cameras, 0.2 m apart, before a textured slanted wall."""

    views: list[View]
    depths: list[np.ndarray]
    poses: np.ndarray


RECORD = ModelRecord("fake", "da3-nano", "Apache-2.0", recommended_size=252)


def make(rig, unit=2.5, **config) -> Estimator:
    return Estimator(KnownDepthEngine(rig.depths, rig.poses, unit), RECORD, EstimatorConfig(**config))


def views_at(rig, seconds: float):
    return tuple(replace(v, stamp_ns=int(seconds * 1e9)) for v in rig.views)


def estimate(source: ScaleSource, views, rig, unit=2.0):
    prepared = prepare(views, 252, 14)
    h, w = prepared.images.shape[1:3]
    depth = [cv2.resize(d, (w, h), interpolation=cv2.INTER_NEAREST) for d in rig.depths]
    return source(views, prepared, np.stack(depth) / unit, source.measure(views, prepared))
