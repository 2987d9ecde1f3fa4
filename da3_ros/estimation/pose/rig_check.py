# SPDX-License-Identifier: Apache-2.0
"""Does the rig still stand as it was calibrated? Poses between its cameras from matches, against the known ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.pose.matches import Matcher, MatchesConfig, PairMatches, pair_pose, sample_by
from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.views import RigDeviation, View
from da3_ros.geometry.poses import invert, rotation_angle

Array = NDArray[np.float64]
_LEAST_BASELINE = 0.02
"""Metres between cameras below which no direction is told."""
_LEAST_SHARE = 0.1
"""Of the calibrated distance that the found one has at least, in a unit that need not be the metre."""


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
            guess = {pair.i: np.eye(4), pair.j: calibrated}
            found = pair_pose(pair, sample, guess, self._config)
            if found is None:
                continue
            difference = invert(calibrated) @ found.T_i_j
            angle = float(rotation_angle(difference[:3, :3]))
            away = float(np.nanmedian(sample(pair.i, pair.pixels_i, pair.camera_i)))
            position = _position(calibrated[:3, 3], found.T_i_j[:3, 3], found.covariance[:3, :3], angle * away)
            out.append(
                RigDeviation(
                    (views[pair.i].name, views[pair.j].name),
                    float(np.degrees(angle)),
                    float(np.linalg.norm(difference[:3, 3])),
                    float(np.degrees(np.sqrt(np.trace(found.covariance[3:, 3:])))),
                    round(found.explained),
                    *position,
                )
            )
        return tuple(out)


def _position(calibrated: Array, found: Array, covariance: Array, moved: float) -> tuple[float, ...]:
    """The last five fields of a RigDeviation, for two positions (3,) of a camera as seen from another one, the second
    one with its covariance (3, 3). moved: angle times distance, how far the turn moves what is seen.
    """
    length, known = float(np.linalg.norm(found)), float(np.linalg.norm(calibrated))
    if known < _LEAST_BASELINE or length < _LEAST_SHARE * known:
        return (0.0,) * 5
    cosine = float(np.clip(found @ calibrated / (length * known), -1, 1))
    across = np.eye(3) - np.outer(found, found) / length**2
    spread = float(np.sqrt(np.trace(across @ covariance @ across))) / length
    along = float(np.sqrt(found @ covariance @ found)) / length
    off = float(np.degrees(np.arccos(cosine)))
    return off, float(np.degrees(spread)), length / known, along / known, moved / length
