# SPDX-License-Identifier: Apache-2.0
"""What is taken from a recording, and which of it is good enough."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BagOptions:
    """Times in seconds, lengths in metres, angles in degrees."""

    cameras: tuple[str, ...] = ()
    """Names of the cameras to use; none: all that have depth."""
    depth: tuple[tuple[str, str], ...] = ()
    """Camera and its depth topic, where the topics do not tell."""
    cloud: str = ""
    """Topic of a LiDAR for cameras without a depth topic; empty: the only cloud, if no camera has a depth topic."""
    world: str = ""
    """Fixed frame of the poses; empty: odom, map or world, the first that TF connects with the cameras."""
    pose_topic: str = ""
    """Odometry, PoseStamped or PoseWithCovarianceStamped that moves `pose_frame` in place of TF."""
    pose_frame: str = ""
    """Frame that `pose_topic` is the pose of; empty: its child_frame_id (Odometry) or base_link."""
    longest: int = 640
    """Longest side of the stored images; smaller ones stay as they are."""
    max_depth: float = 60.0
    """Farther depth is unknown. Beyond 65 m, steps of stored depth grow in proportion from 1 mm."""
    max_skew: float = 0.02
    """Between the stamps of an image and of depth that is registered to its pixels."""
    max_age: float = 0.1
    """Between the stamps of an image and of a cloud, or of a depth camera elsewhere; the motion between is undone."""
    max_gap: float = 0.3
    """Between the two poses that the pose of an image is interpolated from."""
    motion: float = 0.05
    """A camera that has moved less than this since its last record ..."""
    turn: float = 3.0
    """... and turned less than this stands still: no new record."""
    least_depth: float = 0.002
    """Smallest share of pixels with depth."""
    views: int = 24
    """Most views of a cluster, among which training samples are drawn."""
    pause: float = 2.0
    """A longer time without a record begins a new cluster."""

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that make no sense, naming them."""
        for name in ("longest", "max_depth", "max_gap", "views", "pause"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give a number above 0")
        for name in ("max_skew", "max_age", "motion", "turn", "least_depth"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more")
