# SPDX-License-Identifier: Apache-2.0
"""Does the rig still stand as it was calibrated? Poses between its cameras from matches, against the known ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.pose.epipolar import EpipolarPose, distances, epipolar_pose
from da3_ros.estimation.pose.matches import Matcher, MatchesConfig, PairMatches, SampleDepth, sample_by
from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.views import RigDeviation, View
from da3_ros.geometry.poses import invert, rotation_angle

Array = NDArray[np.float64]
_LEAST_FITS, _LEAST_SHARE = 40, 0.75
"""Of a pair's matches, that must agree: fewer of many wrong ones always agree on something."""
_NEARER = 1.5
"""Times as far from the epipolar lines of the calibration: less is the noise of a few that are wrong."""
_CAREFUL = 3.0
"""Standard deviations are so many times what residuals give: matches of one texture err together."""
_TURNED_OVER = 1.8
"""Chord between directions that are opposite: the epipolar lines are the same then."""
_SURE_PARALLAX = np.radians(0.5)
_AT_ONCE_NS = 2_000_000
"""Between stamps of cameras that are triggered together."""
_CHECKS, _SAME_TURN = 3, np.radians(0.3)
"""So many checks must agree, and so closely, where cameras are not triggered together."""


class RigCheck:
    """Checks every `period` seconds of the images' time; 0 never does. Cameras that see nothing in common are not
    checked: nothing in the images would tell.
    """

    def __init__(self, period: float, config: MatchesConfig | None = None) -> None:
        self._period_ns = round(period * 1e9)
        self._config = config or MatchesConfig()
        self._matcher = Matcher(self._config)
        self._last_ns: int | None = None
        self._turns: dict[tuple[str, str], list[Array]] = {}
        """Rotation vectors (3,) that the last checks of two cameras found, in radians."""

    def reset(self) -> None:
        """Check the next set, whatever its stamp."""
        self._last_ns = None
        self._turns = {}

    def memory(self) -> Any:
        """Of earlier checks, for `recall`."""
        return self._last_ns, dict(self._turns)

    def recall(self, memory: Any) -> None:
        """Go on where `memory` was asked for."""
        self._last_ns, turns = memory
        self._turns = dict(turns)

    def measure(self, views: tuple[View, ...], prepared: Prepared) -> list[PairMatches] | None:
        """Matches between the calibrated views of this moment; None while no check is due. Not along the epipolar
        lines of the calibration, since that is what is in question. Needs nothing of the network.
        """
        now = views[0].stamp_ns
        known = [
            i
            for i, view in enumerate(views)
            if view.body == views[0].body and view.camera is not None and view.mount is not None
        ]
        due = self._last_ns is None or not 0 <= now - self._last_ns < self._period_ns
        if self._period_ns == 0 or len(known) < 2 or not due:
            return None
        self._last_ns = now
        cameras = [view.straight_camera() if i in known else None for i, view in enumerate(views)]
        return self._matcher(prepared.rectified, cameras)

    def __call__(
        self,
        views: tuple[View, ...],
        pairs: Sequence[PairMatches],
        depths: Sequence[NDArray[np.float32]],
    ) -> tuple[RigDeviation, ...]:
        """How each pair of cameras stands against its calibration. pairs: of `measure`; depths: (h, w) of every view,
        in metres. Pairs with too few explained matches are left out.
        """
        sample = sample_by(depths)
        out = []
        for pair in pairs:
            first, second = views[pair.i], views[pair.j]
            calibrated, is_at_once = _calibrated(first, second)
            found = epipolar_pose(pair, calibrated)
            if found is None or found.fits.sum() < self._config.min_matches:
                continue
            names = first.name, second.name
            lasts = self._lasts(names, calibrated[:3, :3].T @ found.rotation)
            deviation = _deviation(names, calibrated, found, _length(pair, calibrated, sample, found))
            apart = 0.0 if is_at_once else abs(first.stamp_ns - second.stamp_ns) / 1e6
            out.append(replace(deviation, apart_ms=apart, lasts=is_at_once or lasts))
        return tuple(out)

    def _lasts(self, names: tuple[str, str], turn: Array) -> bool:
        """Whether the last checks found the same turn (3, 3): one of the whole robot between two exposures does not
        last.
        """
        vector = cv2.Rodrigues(turn)[0].ravel()
        before = self._turns.get(names, [])
        self._turns[names] = [*before, vector][1 - _CHECKS :]
        return len(before) == _CHECKS - 1 and all(np.linalg.norm(vector - other) < _SAME_TURN for other in before)


def _calibrated(first: View, second: View) -> tuple[Array, bool]:
    """T_first_second (4, 4) by the calibration, and whether that is it at the stamps of the two images: they were taken
    at once, or the odometry tells how the robot moved between them.
    """
    poses = (first.mount, second.mount)
    is_at_once = abs(first.stamp_ns - second.stamp_ns) <= _AT_ONCE_NS
    if not is_at_once and first.pose_source == second.pose_source == "odometry":
        poses, is_at_once = (first.pose, second.pose), True
    assert poses[0] is not None
    assert poses[1] is not None
    return np.asarray(invert(poses[0]) @ poses[1]), is_at_once


def _deviation(names: tuple[str, str], calibrated: Array, found: EpipolarPose, length: float) -> RigDeviation:
    angle = float(rotation_angle(calibrated[:3, :3].T @ found.rotation))
    known = float(np.linalg.norm(calibrated[:3, 3]))
    off = float(np.linalg.norm(calibrated[:3, 3] / known - found.direction))  # a chord of the unit sphere
    parallax = float(np.median(np.abs(found.parallax[found.fits])))
    fits = int(found.fits.sum())
    is_clear = fits >= _LEAST_FITS and fits > _LEAST_SHARE * len(found.fits)
    return RigDeviation(
        names,
        float(np.degrees(angle)),
        known * off,
        _CAREFUL * float(np.degrees(found.rotation_std)),
        fits,
        float(np.degrees(2 * np.arcsin(min(off / 2, 1.0)))),
        _CAREFUL * float(np.degrees(found.direction_std)),
        angle / max(parallax, 1e-6),
        length,
        bool(is_clear and (found.nearer > _NEARER or off > _TURNED_OVER)),
    )


def _length(pair: PairMatches, calibrated: Array, sample: SampleDepth, found: EpipolarPose) -> float:
    """Depth of the views over that of their matches by the calibration; 0 where these contradict it, or are few."""
    z, parallax = distances(pair, calibrated)
    near = sample(pair.i, pair.pixels_i, pair.camera_i)
    sure = found.fits & (parallax > _SURE_PARALLAX) & np.isfinite(near) & (near > 0)
    if sure.sum() < _LEAST_FITS or found.nearer > _NEARER:
        return 0.0
    return float(np.median(near[sure] / z[sure]))
