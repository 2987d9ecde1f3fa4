# SPDX-License-Identifier: Apache-2.0
"""Sparse metric depth from a calibrated rig: features matched along epipolar lines, then triangulated.

This needs nothing of the network, so its errors are independent of the network's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.resize import resize
from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert


@dataclass(frozen=True)
class MatchConfig:
    """Limits of matching and triangulation."""

    features: int = 300
    """Keypoints of an image at most."""
    spacing: float = 9.0
    """Least distance between keypoints, in pixels: else they would all sit on one textured object."""
    longest: int = 480
    """Images are matched at this longest side at most, in pixels."""
    epipolar_px: float = 1.0
    """Largest distance of a match from its epipolar line."""
    moving_epipolar_px: float = 3.0
    """The same between frames of different times: odometry is off by tenths of a degree from one to the next."""
    ratio: float = 0.7
    """Largest ratio of the best descriptor distance to the second best."""
    min_baseline: float = 0.02
    """Cameras nearer to each other than this, in metres, are not triangulated."""
    max_relative_error: float = 0.2
    """Points whose depth would change by more than this share for one pixel of matching error are left out."""
    max_depth: float = 100.0
    """Farther points are left out, in metres."""


@dataclass(frozen=True)
class SparseDepth:
    """Triangulated points seen in one view."""

    pixels: NDArray[np.float64]
    """(N, 2), u and v at the size of the view's image."""
    depth: NDArray[np.float64]
    """(N,), metres along the optical axis."""
    relative_error: NDArray[np.float64] | None = None
    """(N,), share by which depth changes for one pixel of matching error; None: nothing was matched."""
    behind: int = 0
    """Matches that were left out, as the poses put them behind a camera."""
    far: int = 0
    """The same, beyond `max_depth`."""
    unsure: int = 0
    """The same, as one pixel changes their depth by more than `max_relative_error`."""

    @classmethod
    def empty(cls) -> SparseDepth:
        """No points."""
        return cls(np.zeros((0, 2)), np.zeros(0), np.zeros(0))


_FAR = 1000
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
_SUBPIXEL = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.02)


@dataclass(frozen=True)
class _Features:
    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    camera: CameraModel


def triangulate_rig(
    images: list[NDArray[np.uint8]],
    cameras: list[CameraModel],
    poses: list[NDArray[np.float64]],
    config: MatchConfig | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> list[SparseDepth]:
    """Sparse metric depth of every view of a rig.

    images: (H, W, 3) RGB without distortion; cameras: of these images; poses: T_world_camera (4, 4), metres; pairs: of
    views to match, by default all. Views that overlap with no other get no points.
    """
    config = config or MatchConfig()
    wanted = None if pairs is None else {frozenset(pair) for pair in pairs}
    angles = _common_direction(poses)
    features = [_detect(*view, config) for view in zip(images, cameras, angles, strict=True)]
    pixels: list[list[NDArray]] = [[] for _ in images]
    depths: list[list[NDArray]] = [[] for _ in images]
    errors: list[list[NDArray]] = [[] for _ in images]
    left_out = np.zeros((len(images), 3), int)
    for i in range(len(images)):
        for j in range(i + 1, len(images)):
            if wanted is not None and frozenset((i, j)) not in wanted:
                continue
            T_j_i = invert(poses[j]) @ poses[i]
            if np.linalg.norm(T_j_i[:3, 3]) < config.min_baseline or not _may_overlap(features[i], features[j], T_j_i):
                continue
            a, b, depth_i, depth_j, error, out = _pair(features[i], features[j], T_j_i, config)
            left_out[[i, j]] += out
            for k, points, depth in ((i, a, depth_i), (j, b, depth_j)):
                to_full = images[k].shape[1] / features[k].camera.width
                pixels[k].append((points + 0.5) * to_full - 0.5)
                depths[k].append(depth)
                errors[k].append(error)
    return [
        SparseDepth(np.concatenate(p), np.concatenate(d), np.concatenate(e), *map(int, out))
        if p
        else SparseDepth.empty()
        for p, d, e, out in zip(pixels, depths, errors, left_out, strict=True)
    ]


def _detect(image: NDArray[np.uint8], camera: CameraModel, angle: float, config: MatchConfig) -> _Features:
    """Corners of an RGB image with descriptors that are turned by `angle` degrees, see `_common_direction`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = config.longest / max(grey.shape)
    if scale < 1:
        grey = resize(grey, max(round(scale * grey.shape[1]), 1), max(round(scale * grey.shape[0]), 1))
    camera = camera.scaled(grey.shape[1], grey.shape[0])
    corners = cv2.goodFeaturesToTrack(grey, config.features, qualityLevel=0.01, minDistance=config.spacing)
    if corners is None:
        return _Features(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8), camera)
    corners = cv2.cornerSubPix(grey, corners, (3, 3), (-1, -1), _SUBPIXEL).reshape(-1, 2)
    keypoints = [cv2.KeyPoint(float(x), float(y), 25, angle) for x, y in corners]
    describer = cv2.ORB_create(edgeThreshold=15, patchSize=25)  # type: ignore[attr-defined]  # its stubs know the newest name only
    keypoints, descriptors = describer.compute(grey, keypoints)
    points = np.array([k.pt for k in keypoints], dtype=np.float32).reshape(-1, 2)
    if descriptors is None:
        descriptors = np.zeros((0, 32), dtype=np.uint8)
    return _Features(points, descriptors, camera)


def _common_direction(poses: list[NDArray[np.float64]]) -> list[float]:
    """Angle in degrees (from u towards v) at which each image sees one and the same direction of the world.

    Descriptors turned by it agree between cameras that are rolled against each other. The direction is the one most
    perpendicular to all optical axes, where the angle is best defined.
    """
    axes = np.stack([pose[:3, 2] for pose in poses])
    direction = np.linalg.eigh(axes.T @ axes)[1][:, 0]
    seen = [pose[:3, :3].T @ direction for pose in poses]
    return [float(np.degrees(np.arctan2(d[1], d[0]))) for d in seen]


def _may_overlap(a: _Features, b: _Features, T_b_a: NDArray) -> bool:
    """Whether the two fields of view share any direction."""
    half = [np.arctan(np.hypot(f.camera.width / f.camera.fx, f.camera.height / f.camera.fy) / 2) for f in (a, b)]
    angle = np.arccos(np.clip(T_b_a[2, 2], -1, 1))
    return bool(angle < sum(half))


def _pair(a: _Features, b: _Features, T_b_a: NDArray, config: MatchConfig) -> tuple[NDArray, ...]:
    """Matched points (N, 2) in both images, their depths (N,) in both cameras, and the relative error of these (N,);
    and how many were left out, (3,): behind a camera, too far away, of a depth that is not sure.
    """
    nothing = np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(3, int)
    if len(a.points) < 8 or len(b.points) < 8:
        return nothing
    distance = _distances(a, b, T_b_a, config.epipolar_px)
    best_b = distance.argmin(axis=1)
    rows = np.arange(len(best_b))
    first = distance[rows, best_b]
    second = distance.copy()
    second[rows, best_b] = _FAR
    mutual = distance.argmin(axis=0)[best_b] == rows
    good = mutual & (first < 50) & (first < config.ratio * second.min(axis=1))
    if good.sum() < 4:
        return nothing
    points_a, points_b = a.points[good].astype(np.float64), b.points[best_b[good]].astype(np.float64)
    depth_a, depth_b, relative_error = _triangulate(points_a, points_b, a.camera, b.camera, T_b_a)
    keep = (
        (depth_a > 0.05)
        & (depth_b > 0.05)
        & (np.maximum(depth_a, depth_b) < config.max_depth)
        & (relative_error < config.max_relative_error)
    )
    clear = relative_error < config.max_relative_error  # of what is farther, the sign is noise
    behind = clear & ((depth_a <= 0) | (depth_b <= 0))
    far = clear & ~behind & (np.maximum(depth_a, depth_b) >= config.max_depth)
    out = np.array([behind.sum(), far.sum(), (~clear).sum()])
    return points_a[keep], points_b[keep], depth_a[keep], depth_b[keep], relative_error[keep], out


def _distances(a: _Features, b: _Features, T_b_a: NDArray, limit: float) -> NDArray[np.int64]:
    """Hamming distances (N, M) of descriptors within `limit` pixels of their epipolar line, `_FAR` for all others.

    Few pairs are that near. Products of large matrices are avoided here: the threads of NumPy's BLAS would spin for
    30 ms afterwards and take the processor from the engine.
    """
    line = _epipolar_lines(a, b, T_b_a)
    off_line = line[:, 0:1] * b.points[:, 0] + line[:, 1:2] * b.points[:, 1] + line[:, 2:3]
    rows, columns = np.nonzero(np.abs(off_line) < limit)
    distance = np.full(off_line.shape, _FAR)
    distance[rows, columns] = _BITS[a.descriptors[rows] ^ b.descriptors[columns]].sum(axis=1)
    return distance


def _epipolar_lines(a: _Features, b: _Features, T_b_a: NDArray) -> NDArray[np.float64]:
    """Lines (N, 3) in image b of the points of image a, scaled so that a product with (u, v, 1) is in pixels."""
    x, y, z = T_b_a[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ T_b_a[:3, :3]
    fundamental = np.linalg.inv(b.camera.K).T @ essential @ np.linalg.inv(a.camera.K)
    homogeneous = np.concatenate([a.points, np.ones((len(a.points), 1))], axis=1)
    line = homogeneous @ fundamental.T
    return line / np.maximum(np.linalg.norm(line[:, :2], axis=1, keepdims=True), 1e-12)


def _triangulate(
    points_a: NDArray, points_b: NDArray, camera_a: CameraModel, camera_b: CameraModel, T_b_a: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """Depths (N,) in both cameras, and the relative change of depth for one pixel of matching error.

    The depth along ray a is the least squares solution of ``z_a R d_a + t = z_b d_b``.
    """
    d_a = camera_a.rays(points_a) @ T_b_a[:3, :3].T
    d_b = camera_b.rays(points_b)
    t = T_b_a[:3, 3]
    aa, bb, ab = (d_a * d_a).sum(1), (d_b * d_b).sum(1), (d_a * d_b).sum(1)
    at, bt = d_a @ t, d_b @ t
    determinant = np.maximum(aa * bb - ab * ab, 1e-12)
    depth_a = (ab * bt - bb * at) / determinant
    depth_b = (aa * bt - ab * at) / determinant
    parallax = np.sqrt(determinant / (aa * bb))
    return depth_a, depth_b, 1.0 / (min(camera_a.fx, camera_b.fx) * np.maximum(parallax, 1e-9))
