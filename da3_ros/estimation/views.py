# SPDX-License-Identifier: Apache-2.0
"""What goes into an estimate and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.points import unproject_depth
from da3_ros.geometry.poses import off_rotation

POSE_SOURCES = ("calibrated", "odometry", "estimated")


@dataclass(frozen=True)
class View:
    """One image, and what is known about its camera.

    Raises ValueError for an image that is not (H, W, 3) uint8, a camera of another size, or a pose that is not a
    rigid transform.
    """

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    camera: CameraModel | None = None
    """Intrinsics of this image."""
    pose: NDArray[np.float64] | None = None
    """T_world_camera (4, 4), metres, camera axes x right, y down, z forward."""
    name: str = ""
    stamp_ns: int = 0
    pose_source: str = "calibrated"
    """Where `pose` comes from: ``calibrated`` (mounts), ``odometry`` (the robot's own, metric motion), or ``estimated``
    (by an earlier estimate: fixes the world, but says nothing about metres)."""
    body: int = 0
    """Views with the same number were taken together, from one rigid body."""
    mount: NDArray[np.float64] | None = None
    """T_body_camera (4, 4), metres; lets views of one body move together where their pose is to be found."""
    measured: NDArray[np.float32] | None = None
    """Metric points (N, 3) of another sensor in the camera's optical frame, at the time of the image."""

    def __post_init__(self) -> None:
        label = f"view {self.name!r}"
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"{label}: image must be (H, W, 3) uint8 RGB, got {self.image.shape} {self.image.dtype}")
        h, w = self.image.shape[:2]
        if self.camera is not None and (self.camera.height, self.camera.width) != (h, w):
            raise ValueError(
                f"{label}: the camera is calibrated for {self.camera.width}x{self.camera.height}, "
                f"the image is {w}x{h}: scale the calibration or fix the driver"
            )
        if self.pose_source not in POSE_SOURCES:
            raise ValueError(f"{label}: pose_source {self.pose_source!r}; allowed: {', '.join(POSE_SOURCES)}")
        if self.measured is not None and (self.measured.ndim != 2 or self.measured.shape[1] != 3):
            raise ValueError(f"{label}: measured must be (N, 3) points, got {self.measured.shape}")
        for name in ("pose", "mount"):
            given = getattr(self, name)
            if given is None:
                continue
            pose = np.asarray(given, dtype=np.float64)
            if pose.shape != (4, 4) or not np.isfinite(pose).all():
                raise ValueError(f"{label}: {name} must be a finite (4, 4) transform, got {pose.shape}")
            rotation = pose[:3, :3]
            if off_rotation(rotation) > 1e-3:
                raise ValueError(f"{label}: the rotation of the {name} is not orthonormal: {rotation.tolist()}")

    def straight_camera(self) -> CameraModel | None:
        """Camera of the image without distortion."""
        c = self.camera
        return None if c is None else CameraModel.pinhole(c.width, c.height, c.fx, c.fy, c.cx, c.cy)


@dataclass(frozen=True)
class ViewSet:
    """Views of one scene at about one time; the first is the reference."""

    views: tuple[View, ...]

    def __init__(self, views: Iterable[View]) -> None:
        object.__setattr__(self, "views", tuple(views))
        if not self.views:
            raise ValueError("a view set needs at least one view")


@dataclass(frozen=True)
class PoseEstimate:
    """A camera pose and where it comes from."""

    T_world_camera: NDArray[np.float64]
    """(4, 4)."""
    source: str
    """``calibrated``, ``odometry`` or ``estimated``: as given with the view; ``matches``, ``network``, ``rays``: found;
    ``none``: nothing tells it."""
    covariance: NDArray[np.float64]
    """(6, 6), x y z and rotation about x y z, in the units of the pose and in radians."""


@dataclass(frozen=True)
class ScaleEstimate:
    """How depth got its unit."""

    source: str
    """One of `scale.SOURCES` without ``auto``."""
    value: float = 1.0
    """Metres in one unit of the network."""
    shift: float = 0.0
    residual: float = float("nan")
    """Median relative error of the samples that the scale rests on."""
    inliers: int = 0
    metric: bool = False
    """False: depth has no unit."""
    message: str = ""
    """Why there is no scale, why it is held, or that it jumped."""


@dataclass(frozen=True)
class ViewRefinement:
    """What measured depth did to a view."""

    applied: bool
    message: str = ""
    """Why it was not."""
    pixels: dict[str, int] = field(default_factory=dict)
    """Pieces of evidence by source: ``views``, ``measured``, ``matches``."""
    share: float = 0.0
    """Of the view's pixels with evidence."""
    before: float = float("nan")
    """Median |residual| of log depth of evidence that was held back, against the network's depth; NaN: too little."""
    after: float = float("nan")
    """The same against the refined depth, which was not shown that evidence."""
    evidence: NDArray[np.float32] | None = None
    """(h, w) depth of the evidence, NaN where there is none; at the network's size."""
    unrefined: NDArray[np.float32] | None = None
    """(h, w) the network's own depth in the unit of the evidence; at the network's size."""
    mismatch: bool = False
    """Whether the images of a pair that this view is one of do not match at their poses: one of the two poses is wrong.
    Other evidence may have refined the view all the same."""


@dataclass(frozen=True)
class ViewEstimate:
    """Geometry of one view, at the size the network worked at, or at that of its image."""

    name: str
    stamp_ns: int
    image: NDArray[np.uint8]
    """(h, w, 3) RGB, the same pixels as `depth`."""
    depth: NDArray[np.float32]
    """(h, w) along the optical axis; NaN unknown, +Inf beyond the range, -Inf nearer than it."""
    confidence: NDArray[np.float32]
    """(h, w), at least 1."""
    camera: CameraModel
    """Camera of the depth image, without distortion; estimated by the network where none was given."""
    pose: PoseEstimate
    stddev: NDArray[np.float32] | None = None
    """(h, w), standard deviation of depth in its unit, NaN where depth is not finite; None while depth has no unit, or
    with the refinement's source ``none``."""
    refinement: ViewRefinement | None = None
    """None where none was asked for, or none can be: depth has no unit."""
    sky: float = 0.0
    """Share of the pixels that the network takes for sky, of those that are +Inf."""

    def points(self) -> NDArray[np.float32]:
        """Points (h, w, 3) in the camera's optical frame, NaN where depth is not finite."""
        depth = np.where(np.isfinite(self.depth), self.depth, np.float32(np.nan))
        return unproject_depth(depth, self.camera.K)


@dataclass(frozen=True)
class OdometryEstimate:
    """Motion of the cameras' body since the start (of the first camera itself where no mounts are known)."""

    T_start_body: NDArray[np.float64]
    """(4, 4)."""
    covariance: NDArray[np.float64]
    """(6, 6) of position and rotation about the start's axes; grows from key frame to key frame."""
    inliers: int
    """Explained matches with the key frame; 0 at the start and where the motion is lost."""
    message: str = ""
    """Why the motion since the last key frame is not known, or that it starts anew."""
    metric: bool = False
    """Whether lengths are in metres; False: they have no unit."""


@dataclass(frozen=True)
class RigDeviation:
    """How two cameras stand to each other, against their calibration."""

    cameras: tuple[str, str]
    angle_deg: float
    """Angle between the rotation that the images show and the calibrated one."""
    distance_m: float
    """By how much the direction that the images show moves the second camera, at its calibrated distance."""
    angle_std_deg: float
    inliers: int
    direction_deg: float = 0.0
    """Angle between the direction in which the images show the second camera from the first one and the calibrated
    direction.
    """
    direction_std_deg: float = 0.0
    depth_share: float = 0.0
    """By how much the turn of `angle_deg` alone would change depth that the two cameras triangulate."""
    length: float = 0.0
    """How many times as far as they are calibrated the cameras would have to stand for the depth of the views to be
    right; 0 where that is not told.
    """
    is_sure: bool = True
    """Whether matches are clearly nearer to the epipolar lines of what was found than to those of the calibration."""
    apart_ms: float = 0.0
    """Between the stamps of the two images, where the motion of the robot between them is not known."""
    lasts: bool = True
    """Whether the last checks found the same turn, or the images were taken at once."""


@dataclass(frozen=True)
class EngineFault:
    """What was wrong with an engine's answer for one view, and what was done without it."""

    index: int
    """Of the view in its set."""
    view: str
    """Its name."""
    share: float
    """Of its pixels whose depth is unknown for that."""
    text: str
    """What was found, and what to do."""


@dataclass(frozen=True)
class Estimate:
    """Geometry of a view set, in the order of its views."""

    views: tuple[ViewEstimate, ...]
    scale: ScaleEstimate
    timing: dict[str, float] = field(default_factory=dict)
    """Milliseconds of preprocess, engine, scale, poses, refinement, post."""
    odometry: OdometryEstimate | None = None
    """Where it was asked for."""
    rig: tuple[RigDeviation, ...] | None = None
    """Where the rig's calibration was checked with this set."""
    gaussians: Gaussians | None = None
    """3D Gaussians (N, ...) of all views in the world of the poses and the unit of depth, where they were asked for."""
    faults: tuple[EngineFault, ...] = ()
    """What the engine said that cannot be; empty: nothing."""
