# SPDX-License-Identifier: Apache-2.0
"""KISS-ICP, a LiDAR odometry that knows nothing of us, on the fused clouds of a sequence, one for each set."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

import numpy as np
from costmap import CLOUD_VOXEL
from numpy.typing import NDArray
from sequence import ALONE, REFINED, TRUE, Depths, Estimated, Sequence3D
from sheet import Table
from trajectories import TrajectoryError, absolute_error, still_error, trajectory_of

from da3_ros.estimation.clouds import MAX_STDDEV, fuse_views
from da3_ros.geometry.poses import invert

MAX_RANGE = 15.0
"""As `docs/slam.md` recommends; KISS-ICP's voxel is a hundredth of it by default."""
KINDS = (TRUE, ALONE, REFINED)


def kiss_icp_table(estimated: Estimated) -> tuple[Table, dict[str, float]]:
    """evo's error of its trajectory, after a similarity where depth has no unit."""
    sequence, figures = estimated.sequence, {}
    truth = trajectory_of(sequence.followed, sequence.stamps)
    table = Table(
        f"KISS-ICP, {sequence.title}, {len(sequence.frames)} clouds",
        ("", "ATE rmse, m", "largest, m", "clouds"),
        (".3f", ".3f", ".0f"),
        notes=[f"after a rigid motion if nothing else is said; a camera that never moved: {still_error(truth):.3f} m"],
    )
    for kind in KINDS:
        with_scale = estimated.metric[kind] < 1
        error = odometry_error(sequence, estimated.kinds[kind], with_scale)
        title = f"{kind}, after a similarity" if with_scale else kind
        table.add(title, error.rmse, error.largest, error.poses)
        figures[f"kiss_icp {sequence.name} {kind} ate"] = error.rmse
    return table, figures


def odometry_error(sequence: Sequence3D, depths: Depths, with_scale: bool) -> TrajectoryError:
    """Of KISS-ICP on the clouds of every set, in the frame of the first camera."""
    found = trajectory_of(track_clouds(clouds_of(sequence, depths)), sequence.stamps)
    return absolute_error(found, trajectory_of(sequence.followed, sequence.stamps), with_scale=with_scale)


def clouds_of(sequence: Sequence3D, depths: Depths) -> Iterable[NDArray[np.float64]]:
    """Fused clouds (N, 3) of the node's defaults in the frame of the first camera, one by one."""
    for frame, views in zip(sequence.frames, depths, strict=True):
        T_first_world = invert(frame.poses[0])
        mounts = [T_first_world @ pose for pose in frame.poses]
        yield fuse_views(views, mounts, voxel_size=CLOUD_VOXEL, max_stddev=MAX_STDDEV).points.astype(np.float64)


def why_no_kiss_icp() -> str:
    """Why it cannot be run here, and what to do; empty where it can."""
    found = importlib.util.find_spec("kiss_icp") is not None
    return "" if found else "KISS-ICP is not installed: `make env EXTRAS=interop`"


def track_clouds(clouds: Iterable[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """T_start_sensor (4, 4) after each cloud."""
    from kiss_icp.config import KISSConfig
    from kiss_icp.kiss_icp import KissICP

    config = KISSConfig()
    config.data.deskew = False
    config.data.min_range, config.data.max_range = 0.0, MAX_RANGE
    config.mapping.voxel_size = MAX_RANGE / 100
    odometry, poses = KissICP(config), []
    for cloud in clouds:
        odometry.register_frame(cloud, np.zeros(0))
        poses.append(odometry.last_pose.copy())
    return poses
