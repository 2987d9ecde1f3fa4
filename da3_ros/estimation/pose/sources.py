# SPDX-License-Identifier: Apache-2.0
"""Camera poses of an estimate: as known, else from matches, else from the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines import RawEstimate
from da3_ros.estimation.filters import median_depth
from da3_ros.estimation.pose.config import PoseConfig
from da3_ros.estimation.pose.matches import MatchedPose, Matcher, PairMatches, poses_from_matches, sample_by
from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.views import PoseEstimate, View
from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert
from da3_ros.geometry.ray_camera import rays_to_camera
from da3_ros.models import PoseAccuracy

CALIBRATED_STD = (0.005, 0.002)
"""Assumed standard deviation of known poses: metres and radians of a careful extrinsic calibration."""

NO_IDEA_STD = (1e3, np.pi)
"""Standard deviation of a pose that nothing tells."""


NO_RAYS = "pose.source: rays needs a graph with rays, and this one has none: `da3 export NAME --rays`"


class PoseSource:
    """Finds the poses of a set; remembers features of frames that come again."""

    def __init__(self, config: PoseConfig) -> None:
        self.config = config
        self._matcher = Matcher(config.matches)

    def measure(self, views: tuple[View, ...], prepared: Prepared) -> list[PairMatches]:
        """Matches between views; empty where no pose is to be found. Needs nothing of the network."""
        unknown = [view.pose is None for view in views]
        if self.config.source not in ("auto", "matches") or len(views) < 2 or not any(unknown):
            return []
        cameras = [view.straight_camera() for view in views]
        # Images without a stamp cannot be told from those of the next set.
        stamped = all(view.stamp_ns for view in views)
        keys = [(view.name, view.stamp_ns) for view in views] if stamped else None
        # A pair tells nothing new where both poses are known, or where both cameras sit on one body.
        known = [-1 if view.pose is not None else i for i, view in enumerate(views)]
        bodies = [view.body if view.mount is not None else -1 - i for i, view in enumerate(views)]
        return self._matcher(prepared.rectified, cameras, keys, [known, bodies])

    def __call__(
        self,
        views: tuple[View, ...],
        raw: RawEstimate,
        depths: Sequence[NDArray[np.float32]],
        scale: float,
        accuracy: PoseAccuracy,
        pairs: Sequence[PairMatches],
        single_view: bool = False,
        usable: NDArray[np.bool_] | None = None,
    ) -> list[PoseEstimate]:
        """Pose of every view; the world is that of the known poses, or else the first camera's frame.

        depths: (h, w) of every view, in metres; scale: metres in one unit of the network. accuracy: how far the
        network's poses are off on held-out scenes, which is what their covariance states. pairs: what `measure`
        returned. Unknown cameras that no match places hang on the first known one by the network's relative pose.
        single_view: the network knows of no poses; those of such cameras then have the source ``none``. usable: (S,) of
        which views the network's pose can be used; None: of all.
        """
        placed = np.full(len(views), not single_view) if usable is None or single_view else usable
        network = invert(np.asarray(raw.extrinsics, dtype=np.float64))
        network[:, :3, 3] *= scale
        matched: list[MatchedPose | None] = [None] * len(views)
        if pairs:
            known = [view.pose for view in views]
            mounts = [None if view.mount is None else (view.body, view.mount) for view in views]
            guess = None if single_view else network
            matched = poses_from_matches(pairs, sample_by(depths), known, guess, self.config.matches, mounts)
        unknown = (0.0, accuracy.rotation_rad)
        if any(view.pose is None for view in views):
            unknown = (accuracy.translation_ratio * scale * median_depth(raw.depth), accuracy.rotation_rad)
        return self._assemble(views, network, matched, unknown, placed)

    def _assemble(
        self,
        views: tuple[View, ...],
        network: NDArray[np.float64],
        matched: list[MatchedPose | None],
        network_std: tuple[float, float],
        placed: NDArray[np.bool_],
    ) -> list[PoseEstimate]:
        """placed: (S,) of which views the network tells the pose."""
        poses = [view.pose for view in views]
        known = [i for i, pose in enumerate(poses) if pose is not None]
        anchor = known[0] if known else 0
        # The network's poses hang on a camera that both know.
        joint = next((i for i in known or [0] if placed[i]), None)
        to_world = np.eye(4)
        if joint is not None:
            joint_pose = np.eye(4) if poses[joint] is None else np.asarray(poses[joint], np.float64)
            to_world = joint_pose @ invert(network[joint])
        use_network = self.config.source in ("auto", "network", "rays") and joint is not None
        told = "rays" if self.config.source == "rays" else "network"
        out = []
        for i, view in enumerate(views):
            found = matched[i]
            if view.pose is not None:
                pose = np.asarray(view.pose, np.float64)
                out.append(PoseEstimate(pose, view.pose_source, _covariance(CALIBRATED_STD)))
            elif i == anchor:  # nothing is known: this camera is the world
                source = "matches" if any(matched) else told
                out.append(PoseEstimate(np.eye(4), source, np.zeros((6, 6))))
            elif found is not None:
                out.append(PoseEstimate(found.T_world_camera, "matches", found.covariance))
            elif use_network and placed[i]:
                out.append(PoseEstimate(to_world @ network[i], told, _covariance(network_std)))
            else:
                out.append(PoseEstimate(np.eye(4), "none", _covariance(NO_IDEA_STD)))
        return out


def cameras_from_rays(raw: RawEstimate, windows: Sequence[tuple[int, int]]) -> RawEstimate:
    """The estimate with the cameras that its ray map describes in place of the camera head's (paper eq. 1 and 2).

    windows: height and width of each view's content in the network's input, whose rays alone are looked at. Raises
    ValueError for an estimate without rays.
    """
    if raw.rays is None or raw.ray_confidence is None:
        raise ValueError(NO_RAYS)
    height, width = raw.depth.shape[1:]
    rows, columns = raw.rays.shape[1:3]
    extrinsics, intrinsics = raw.extrinsics.copy(), raw.intrinsics.copy()
    for i, (h, w) in enumerate(windows):
        if not np.isfinite(raw.rays[i]).all():  # too many of them were bad: no camera
            extrinsics[i] = intrinsics[i] = np.nan
            continue
        end = round(h * rows / height), round(w * columns / width)
        ray, confidence = raw.rays[i, : end[0], : end[1]], raw.ray_confidence[i, : end[0], : end[1]]
        pose, k = rays_to_camera(ray.astype(np.float64), confidence.astype(np.float64), h, w)
        extrinsics[i], intrinsics[i] = invert(pose)[:3], k
        intrinsics[i, :2, 2] += 0.5  # the network counts pixels from the image corner
    return dataclasses.replace(raw, extrinsics=extrinsics, intrinsics=intrinsics)


def network_camera(raw: RawEstimate, index: int, window: tuple[int, int]) -> CameraModel:
    """The camera that the network sees in view `index`, for the content window (h, w) of its input.

    The network counts pixels from the image corner; `CameraModel` counts from the first pixel's centre.
    """
    k = raw.intrinsics[index].astype(np.float64)
    h, w = window
    return CameraModel.pinhole(w, h, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]) - 0.5, float(k[1, 2]) - 0.5)


def _covariance(std: tuple[float, float]) -> NDArray[np.float64]:
    position, rotation = std
    return np.diag([position**2] * 3 + [rotation**2] * 3)
