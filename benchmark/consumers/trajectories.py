# SPDX-License-Identifier: Apache-2.0
"""How far a trajectory is off the truth, by evo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from evo.core.trajectory import PoseTrajectory3D

APART = 0.01
"""Seconds between stamps that are taken for the same."""
LEAST = 3
"""Poses that an alignment needs."""
NAN = float("nan")


@dataclass(frozen=True)
class TrajectoryError:
    """Absolute error of the position after alignment; NaN where too few poses can be compared, or lie on one line."""

    rmse: float
    """In the truth's metres."""
    largest: float
    poses: int
    """Compared."""
    scale: float
    """Metres in one unit of what was found, where that was sought; else 1."""


def trajectory_of(
    poses: Sequence[NDArray[np.float64]], stamps: Sequence[float] | NDArray[np.float64]
) -> PoseTrajectory3D:
    """evo's trajectory. poses: T_world_camera (4, 4); stamps: seconds."""
    from evo.core.trajectory import PoseTrajectory3D

    return PoseTrajectory3D(poses_se3=[np.asarray(T, np.float64) for T in poses], timestamps=np.asarray(stamps))


def read_tum(path: Path) -> PoseTrajectory3D | None:
    """A file in TUM's format; None for one without a pose, which evo refuses."""
    from evo.tools.file_interface import read_tum_trajectory_file

    return read_tum_trajectory_file(str(path)) if path.read_text().strip() else None


def absolute_error(
    found: PoseTrajectory3D | None, truth: PoseTrajectory3D, *, with_scale: bool = False
) -> TrajectoryError:
    """evo's APE of the translation after the best rigid motion (Umeyama, TPAMI 1991).

    with_scale: after the best similarity, for depth without a unit. Neither trajectory is changed.
    """
    from evo.core import metrics, sync
    from evo.core.geometry import GeometryException

    if found is None or found.num_poses < LEAST:
        return TrajectoryError(NAN, NAN, 0 if found is None else found.num_poses, NAN)
    try:
        there, here = sync.associate_trajectories(truth, found, max_diff=APART)
    except sync.SyncException:
        return TrajectoryError(NAN, NAN, 0, NAN)
    if here.num_poses < LEAST:
        return TrajectoryError(NAN, NAN, here.num_poses, NAN)
    try:
        _, _, scale = here.align(there, correct_scale=with_scale)
    except GeometryException:  # all on one line, or in one place: any turn about it would do
        return TrajectoryError(NAN, NAN, here.num_poses, NAN)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((there, here))
    rmse, largest = (ape.get_statistic(s) for s in (metrics.StatisticsType.rmse, metrics.StatisticsType.max))
    return TrajectoryError(float(rmse), float(largest), here.num_poses, float(scale))


def still_error(truth: PoseTrajectory3D) -> float:
    """RMSE in metres of a camera that never moves: what any trajectory has to be compared with."""
    positions = truth.positions_xyz
    return float(np.sqrt(((positions - positions.mean(axis=0)) ** 2).sum(axis=1).mean()))
