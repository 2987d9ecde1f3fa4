# SPDX-License-Identifier: Apache-2.0
"""Does the rig still stand as it was calibrated? Poses between its cameras from matches, against the known ones."""

from __future__ import annotations

from collections.abc import Sequence

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


class RigCheck:
    """Checks every `period` seconds of the images' time; 0 never does. Cameras that see nothing in common are not
    checked: nothing in the images would tell.
    """

    def __init__(self, period: float, config: MatchesConfig | None = None) -> None:
        self._period_ns = round(period * 1e9)
        self._config = config or MatchesConfig()
        self._matcher = Matcher(self._config)
        self._last_ns: int | None = None

    def reset(self) -> None:
        """Check the next set, whatever its stamp."""
        self._last_ns = None

    def memory(self) -> int | None:
        """Stamp (ns) of the last check, for `recall`."""
        return self._last_ns

    def recall(self, memory: int | None) -> None:
        """Go on where `memory` was asked for."""
        self._last_ns = memory

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
            mount_i, mount_j = views[pair.i].mount, views[pair.j].mount
            assert mount_i is not None
            assert mount_j is not None
            calibrated = invert(mount_i) @ mount_j
            found = epipolar_pose(pair, calibrated)
            if found is None or found.fits.sum() < self._config.min_matches:
                continue
            names = views[pair.i].name, views[pair.j].name
            out.append(_deviation(names, calibrated, found, _length(pair, calibrated, sample, found)))
        return tuple(out)


def _deviation(names: tuple[str, str], calibrated: Array, found: EpipolarPose, length: float) -> RigDeviation:
    angle = float(rotation_angle(calibrated[:3, :3].T @ found.rotation))
    known = float(np.linalg.norm(calibrated[:3, 3]))
    off = float(np.linalg.norm(calibrated[:3, 3] / known - found.direction))  # a chord of the unit sphere
    parallax = float(np.median(np.abs(found.parallax[found.fits])))
    fits = int(found.fits.sum())
    turned_over = off > _TURNED_OVER and found.nearer < _NEARER
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
        bool(is_clear and (found.nearer > _NEARER or turned_over)),
    )


def _length(pair: PairMatches, calibrated: Array, sample: SampleDepth, found: EpipolarPose) -> float:
    """Depth of the views over that of their matches by the calibration; 0 where these contradict it, or are few."""
    z, parallax = distances(pair, calibrated)
    near = sample(pair.i, pair.pixels_i, pair.camera_i)
    sure = found.fits & (parallax > _SURE_PARALLAX) & np.isfinite(near) & (near > 0)
    if sure.sum() < _LEAST_FITS or found.nearer > _NEARER:
        return 0.0
    return float(np.median(near[sure] / z[sure]))
