# SPDX-License-Identifier: Apache-2.0
"""Visual odometry: the motion of the cameras since the start, from matches with a key frame and estimated depth.

The key frame stays as long as enough of it is seen, so that errors add up from key frame to key frame, not from image
to image.

Lengths are those of the depth. Once it was in metres they stay in metres: a set whose depth has no unit is measured
by the last key frame that had one, and never becomes a key frame itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.filters import median_depth
from da3_ros.estimation.pose.matches import (
    MatchedPose,
    Matcher,
    MatchesConfig,
    PairMatches,
    poses_from_matches,
    sample_by,
)
from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.views import OdometryEstimate, View
from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert, rotation_angle

Array = NDArray[np.float64]

KEEP_SHARE = 0.5
"""The key frame is replaced when its explained matches fall below this share of the first ones."""
KEEP_TURN = np.radians(15.0)
KEEP_SHIFT = 0.2
"""... or when the cameras turned by more than this, or moved by more than this share of the median depth."""
_UNIT_ROUNDS = 5
_SAME_UNIT = 0.01
"""Share by which the unit of a set's depth may still be off when its motion is told."""


@dataclass(frozen=True)
class _Frame:
    """One moment: the views that are followed, at their own size."""

    stamp_ns: int
    names: tuple[str, ...]
    images: tuple[NDArray[np.uint8], ...]
    cameras: tuple[CameraModel, ...]
    mounts: tuple[Array, ...]
    """T_body_camera."""


@dataclass
class _Key:
    frame: _Frame
    depths: list[NDArray[np.float32]]
    metric: bool
    """Whether `depths` and `T_start_body` are in metres."""
    T_start_body: Array
    covariance: Array
    first_inliers: int = 0


class Odometry:
    """Follows one rigid body of cameras; time is that of the images."""

    def __init__(self, config: MatchesConfig | None = None) -> None:
        self._config = config or MatchesConfig()
        self.reset()

    def reset(self) -> None:
        """Start anew, for example after a jump in time."""
        self._matcher = Matcher(self._config)
        self._key: _Key | None = None
        self._last: Array = np.eye(4)

    def memory(self) -> tuple[Any, Array]:
        """Key frame and last pose, for `recall`."""
        return replace(self._key) if self._key is not None else None, self._last

    def recall(self, memory: tuple[Any, Array]) -> None:
        """Go on where `memory` was asked for."""
        self.reset()
        self._key, self._last = memory

    def measure(self, views: tuple[View, ...], prepared: Prepared) -> tuple[_Frame, list[PairMatches]] | None:
        """Matches with the key frame; None where no camera is known. Needs nothing of the network."""
        frame = _frame(views, prepared)
        if frame is None or self._key is None:
            return None if frame is None else (frame, [])
        key = self._key.frame
        count = len(frame.names)
        groups = [[0] * count + [1] * len(key.names)]  # one moment tells nothing of the motion
        names = [(name, frame.stamp_ns, "now") for name in frame.names]
        names += [(name, key.stamp_ns, "key") for name in key.names]
        pairs = self._matcher([*frame.images, *key.images], [*frame.cameras, *key.cameras], names, groups)
        return frame, pairs

    def __call__(
        self,
        measured: tuple[_Frame, list[PairMatches]] | None,
        depths: Sequence[NDArray[np.float32]],
        metric: bool,
    ) -> OdometryEstimate:
        """Motion since the start. measured: of `measure`; depths: (h, w) of every view of the set, in metres where they
        are `metric`.
        """
        key = self._key
        if measured is None:
            reason = "a camera whose CameraInfo is known is needed"
            return OdometryEstimate(self._last, _lost(), 0, reason, metric if key is None else key.metric)
        frame, pairs = measured
        own = list(depths[: len(frame.names)])
        if key is None or (metric and not key.metric):
            # A way without a unit tells nothing of one in metres.
            reason = "" if key is None else "depth is in metres from here on: the motion starts anew"
            self._last = np.eye(4)
            self._key = _Key(frame, own, metric, self._last, np.zeros((6, 6)))
            return OdometryEstimate(self._last, self._key.covariance, 0, reason, metric)
        if metric == key.metric:
            found = self._motion(frame, pairs, [*own, *key.depths])
        else:
            found = self._motion_by_key(frame, pairs, own)
        if found is None:
            return self._loses(key, frame, own, metric)
        T_key_body = found.T_world_camera @ invert(frame.mounts[0])
        self._last = key.T_start_body @ T_key_body
        turn = np.kron(np.eye(2), key.T_start_body[:3, :3])
        covariance = key.covariance + turn @ found.covariance @ turn.T
        key.first_inliers = max(key.first_inliers, found.inliers)
        if metric == key.metric and self._leaves(key, T_key_body, found.inliers, own):
            self._key = _Key(frame, own, metric, self._last, covariance)
        return OdometryEstimate(self._last, covariance, found.inliers, "", key.metric)

    def _loses(self, key: _Key, frame: _Frame, depths: list[NDArray[np.float32]], metric: bool) -> OdometryEstimate:
        """The body goes on from where it was seen last; what lies between is not known."""
        covariance = key.covariance + _lost()
        few = f"fewer than {self._config.min_matches} matches with the last key frame"
        if metric == key.metric:
            self._key = _Key(frame, depths, metric, self._last, covariance)
            reason = f"{few}: the motion between is lost"
        else:
            reason = f"{few} in metres, and depth has no unit: the motion is lost"
        return OdometryEstimate(self._last, covariance, 0, reason, key.metric)

    def _motion(self, frame: _Frame, pairs: list[PairMatches], depths: list[NDArray[np.float32]]) -> MatchedPose | None:
        """T_key_camera of the first view; the world is the key frame's body."""
        assert self._key is not None
        key = self._key.frame
        known = [None] * len(frame.names) + list(key.mounts)
        mounts = [(0, mount) for mount in frame.mounts] + [None] * len(key.names)
        return poses_from_matches(pairs, sample_by(depths), known, None, self._config, mounts)[0]

    def _motion_by_key(
        self, frame: _Frame, pairs: list[PairMatches], depths: list[NDArray[np.float32]]
    ) -> MatchedPose | None:
        """As `_motion`, in the unit of the key frame, whatever that of `depths` is: their points are as far away as the
        key frame's are, seen from where the motion leads.
        """
        assert self._key is not None
        T_key_body, unit, found = np.eye(4), 0.0, None
        for _ in range(_UNIT_ROUNDS):
            ratios = [self._ratios(frame, pair, depths, T_key_body) for pair in pairs]
            ratio = np.concatenate([np.zeros(0), *ratios])
            if len(ratio) < self._config.min_matches:
                return None
            before, unit = unit, float(np.median(ratio))
            found = self._motion(frame, pairs, [*(depth * np.float32(unit) for depth in depths), *self._key.depths])
            if found is None or abs(before / unit - 1) < _SAME_UNIT:
                return found
            T_key_body = found.T_world_camera @ invert(frame.mounts[0])
        return found

    def _ratios(self, frame: _Frame, pair: PairMatches, depths: list[NDArray[np.float32]], T_key_body: Array) -> Array:
        """Units of the key frame in one of `depths` (N,), by each match of a view of now with one of the key frame that
        has depth in both.
        """
        assert self._key is not None
        at = pair.j - len(frame.names)
        z = sample_by(depths)(pair.i, pair.pixels_i, pair.camera_i)
        key_z = sample_by(self._key.depths)(at, pair.pixels_j, pair.camera_j)
        T_camera_key = invert(T_key_body @ frame.mounts[pair.i]) @ self._key.frame.mounts[at]
        points = pair.camera_j.rays(pair.pixels_j) * key_z[:, None]
        away = points @ T_camera_key[2, :3] + T_camera_key[2, 3]
        good = np.isfinite(z) & np.isfinite(away) & (z > 0) & (key_z > 0) & (away > 0)
        return np.asarray(away[good] / z[good])

    def _leaves(self, key: _Key, T_key_body: Array, inliers: int, depths: list[NDArray[np.float32]]) -> bool:
        shift = float(np.linalg.norm(T_key_body[:3, 3]))
        return bool(
            inliers < KEEP_SHARE * key.first_inliers
            or float(rotation_angle(T_key_body[:3, :3])) > KEEP_TURN
            or shift > KEEP_SHIFT * median_depth(depths[0])
        )


def _frame(views: tuple[View, ...], prepared: Prepared) -> _Frame | None:
    """The views of this moment that belong to one body and whose cameras are known, from the first on."""
    chosen: list[int] = []
    for i, view in enumerate(views):
        if view.body != views[0].body or view.camera is None:
            break
        if i > 0 and (views[0].mount is None or view.mount is None):
            break  # nothing says how these stand to each other
        chosen.append(i)
    if not chosen:
        return None
    cameras = [camera for i in chosen if (camera := views[i].straight_camera()) is not None]
    mounts = [np.eye(4) if (mount := views[i].mount) is None else np.asarray(mount, np.float64) for i in chosen]
    images = tuple(prepared.rectified[i] for i in chosen)
    return _Frame(views[0].stamp_ns, tuple(views[i].name for i in chosen), images, tuple(cameras), tuple(mounts))


def _lost() -> Array:
    """Covariance of a step that nothing tells, but that a robot between two images can make: a metre, half a turn."""
    return np.diag([1.0] * 3 + [np.pi**2] * 3)
