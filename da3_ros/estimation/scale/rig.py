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

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert


CELL = 40
"""Side in pixels of the cells that keypoints are spread over."""


@dataclass(frozen=True)
class MatchConfig:
    """Limits of matching and triangulation."""

    features: int = 500
    """Keypoints of an image."""
    longest: int = 480
    """Images are matched at this longest side at most, in pixels."""
    epipolar_px: float = 1.5
    """Largest distance of a match from its epipolar line."""
    ratio: float = 0.85
    """Largest ratio of the best descriptor distance to the second best."""
    min_baseline: float = 0.02
    """Cameras nearer to each other than this, in metres, are not triangulated."""
    max_relative_error: float = 0.1
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


@dataclass(frozen=True)
class _Features:
    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    camera: CameraModel


def triangulate_rig(
    images: list[NDArray[np.uint8]],
    cameras: list[CameraModel],
    poses: list[NDArray[np.float64]],
    config: MatchConfig | None = None,
) -> list[SparseDepth]:
    """Sparse metric depth of every view of a rig.

    images: (H, W, 3) RGB without distortion; cameras: of these images; poses: T_world_camera (4, 4), metres.
    Views that overlap with no other get no points.
    """
    config = config or MatchConfig()
    features = [_detect(image, camera, config) for image, camera in zip(images, cameras, strict=True)]
    pixels: list[list[NDArray]] = [[] for _ in images]
    depths: list[list[NDArray]] = [[] for _ in images]
    for i in range(len(images)):
        for j in range(i + 1, len(images)):
            T_j_i = invert(poses[j]) @ poses[i]
            if np.linalg.norm(T_j_i[:3, 3]) < config.min_baseline or not _may_overlap(features[i], features[j], T_j_i):
                continue
            a, b, depth_i, depth_j = _pair(features[i], features[j], T_j_i, config)
            for k, points, depth in ((i, a, depth_i), (j, b, depth_j)):
                to_full = images[k].shape[1] / features[k].camera.width
                pixels[k].append((points + 0.5) * to_full - 0.5)
                depths[k].append(depth)
    return [
        SparseDepth(np.concatenate(p) if p else np.zeros((0, 2)), np.concatenate(d) if d else np.zeros(0))
        for p, d in zip(pixels, depths)
    ]


def _detect(image: NDArray[np.uint8], camera: CameraModel, config: MatchConfig) -> _Features:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = config.longest / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    camera = camera.scaled(grey.shape[1], grey.shape[0])
    detector = cv2.ORB_create(nfeatures=5 * config.features, fastThreshold=7, edgeThreshold=15, patchSize=25)
    keypoints, descriptors = detector.compute(grey, _spread(detector.detect(grey, None), grey.shape, config.features))
    points = np.array([k.pt for k in keypoints], dtype=np.float32).reshape(-1, 2)
    if descriptors is None:
        descriptors = np.zeros((0, 32), dtype=np.uint8)
    return _Features(points, descriptors, grey, camera)


def _spread(keypoints: Sequence[cv2.KeyPoint], shape: tuple[int, ...], count: int) -> list[cv2.KeyPoint]:
    """About `count` keypoints, the strongest of each cell of a grid: else they all sit on one textured object."""
    rows, columns = -(-shape[0] // CELL), -(-shape[1] // CELL)
    quota = -(-count // (rows * columns))
    taken: dict[tuple[int, int], int] = {}
    chosen = []
    for k in sorted(keypoints, key=lambda k: -k.response):
        cell = int(k.pt[0]) // CELL, int(k.pt[1]) // CELL
        if taken.get(cell, 0) < quota:
            taken[cell] = taken.get(cell, 0) + 1
            chosen.append(k)
    return chosen


def _may_overlap(a: _Features, b: _Features, T_b_a: NDArray) -> bool:
    """Whether the two fields of view share any direction."""
    half = [np.arctan(np.hypot(f.camera.width / f.camera.fx, f.camera.height / f.camera.fy) / 2) for f in (a, b)]
    angle = np.arccos(np.clip(T_b_a[2, 2], -1, 1))
    return bool(angle < sum(half))


def _pair(a: _Features, b: _Features, T_b_a: NDArray, config: MatchConfig):
    """Matched points (N, 2) in both images and their depths (N,) in both cameras."""
    nothing = np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), np.zeros(0)
    if len(a.points) < 8 or len(b.points) < 8:
        return nothing
    line = _epipolar_lines(a, b, T_b_a)
    homogeneous = np.concatenate([b.points, np.ones((len(b.points), 1), np.float32)], axis=1)
    off_line = np.abs(line @ homogeneous.T)
    distance = np.where(off_line < 2 * config.epipolar_px + 1, _hamming(a.descriptors, b.descriptors), 1000.0)
    best_b = distance.argmin(axis=1)
    rows = np.arange(len(best_b))
    first = distance[rows, best_b]
    second = distance.copy()
    second[rows, best_b] = 1000
    mutual = distance.argmin(axis=0)[best_b] == rows
    good = mutual & (first < 70) & (first < config.ratio * second.min(axis=1))
    if good.sum() < 4:
        return nothing
    points_a, points_b = a.points[good], b.points[best_b[good]]
    # Keypoints sit on pixels of an image pyramid; optical flow brings the second one to a fraction of a pixel.
    refined, status, _ = cv2.calcOpticalFlowPyrLK(
        a.grey,
        b.grey,
        points_a[:, None],
        points_b[:, None].copy(),
        winSize=(15, 15),
        maxLevel=0,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    refined = refined[:, 0]
    stayed = (status[:, 0] > 0) & (np.linalg.norm(refined - points_b, axis=1) < 4)
    points_b = np.where(stayed[:, None], refined, points_b)
    line = line[good]
    near = np.abs((line[:, :2] * points_b).sum(1) + line[:, 2]) < config.epipolar_px
    points_a, points_b = points_a[near].astype(np.float64), points_b[near].astype(np.float64)
    depth_a, depth_b, relative_error = _triangulate(points_a, points_b, a.camera, b.camera, T_b_a)
    keep = (
        (depth_a > 0.05)
        & (depth_b > 0.05)
        & (np.maximum(depth_a, depth_b) < config.max_depth)
        & (relative_error < config.max_relative_error)
    )
    return points_a[keep], points_b[keep], depth_a[keep], depth_b[keep]


def _hamming(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Hamming distances (N, M) of bit strings (N, 32) and (M, 32) by one matrix product."""
    bits_a, bits_b = (np.unpackbits(x, axis=1).astype(np.float32) for x in (a, b))
    return bits_a.sum(1)[:, None] + bits_b.sum(1)[None] - 2 * bits_a @ bits_b.T


def _epipolar_lines(a: _Features, b: _Features, T_b_a: NDArray) -> NDArray[np.float64]:
    """Lines (N, 3) in image b of the points of image a, scaled so that a product with (u, v, 1) is in pixels."""
    x, y, z = T_b_a[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ T_b_a[:3, :3]
    fundamental = np.linalg.inv(b.camera.K).T @ essential @ np.linalg.inv(a.camera.K)
    homogeneous = np.concatenate([a.points, np.ones((len(a.points), 1))], axis=1)
    line = homogeneous @ fundamental.T
    return line / np.maximum(np.linalg.norm(line[:, :2], axis=1, keepdims=True), 1e-12)


def _triangulate(points_a, points_b, camera_a: CameraModel, camera_b: CameraModel, T_b_a: NDArray):
    """Depths (N,) in both cameras, and the relative change of depth for one pixel of matching error.

    The depth along ray a is the least squares solution of ``z_a R d_a + t = z_b d_b``.
    """
    d_a = _directions(points_a, camera_a) @ T_b_a[:3, :3].T
    d_b = _directions(points_b, camera_b)
    t = T_b_a[:3, 3]
    aa, bb, ab = (d_a * d_a).sum(1), (d_b * d_b).sum(1), (d_a * d_b).sum(1)
    at, bt = d_a @ t, d_b @ t
    determinant = np.maximum(aa * bb - ab * ab, 1e-12)
    depth_a = (ab * bt - bb * at) / determinant
    depth_b = (aa * bt - ab * at) / determinant
    parallax = np.sqrt(determinant / (aa * bb))
    return depth_a, depth_b, 1.0 / (min(camera_a.fx, camera_b.fx) * np.maximum(parallax, 1e-9))


def _directions(points: NDArray, camera: CameraModel) -> NDArray[np.float64]:
    """Rays (N, 3) with z = 1."""
    return np.stack(
        [
            (points[:, 0] - camera.cx) / camera.fx,
            (points[:, 1] - camera.cy) / camera.fy,
            np.ones(len(points)),
        ],
        axis=1,
    )
