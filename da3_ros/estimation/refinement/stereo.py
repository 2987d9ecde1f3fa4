# SPDX-License-Identifier: Apache-2.0
"""A pair that stands side by side: rectified, then matched by OpenCV's semi-global matching (Hirschmueller 2008)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Frame, Map
from da3_ros.geometry.poses import invert, rotation_angle

Matrix = NDArray[np.float64]
Grey = NDArray[np.uint8]
Maps = tuple[NDArray[np.int16], NDArray[np.uint16]]

LARGEST_TURN = np.radians(6)
"""Cameras are turned by at most this much to look along one axis: more would stretch the images."""
BLOCK = 3
LARGEST_RANGE = 256
"""Disparities that are searched at most, in pixels; images are made smaller for more."""
LEAST_DISPARITY = 1.0
NOISE_PX = 0.3
"""Standard deviation of a disparity, in pixels of the images that are matched."""


@dataclass(frozen=True)
class Rectified:
    """How a pair is turned so that rows become epipolar lines."""

    turn_a: Matrix
    """R_common_a (3, 3)."""
    turn_b: Matrix
    baseline: float
    """Metres from a to b along the common x axis, positive."""


@dataclass(frozen=True)
class Disparities:
    """Depth that a pair tells of one of its views, on the pixels of a frame."""

    log_depth: Map
    """(h, w)."""
    accepted: NDArray[np.bool_]
    """(h, w)."""
    pixels_per_log: Map
    """(h, w), change of disparity, in pixels of the matched images, where the logarithm of depth changes by 1."""


def rectification(pose_a: Matrix, pose_b: Matrix) -> Rectified | None:
    """For a to the left of b (T_world_camera, (4, 4)); None where they do not stand side by side."""
    T_a_b = invert(pose_a) @ pose_b
    t = T_a_b[:3, 3]
    length = float(np.linalg.norm(t))
    if length == 0 or t[0] <= 0:
        return None
    x = t / length
    # The mean of both optical axes, made perpendicular to the baseline.
    z = np.array([0, 0, 1.0]) + T_a_b[:3, 2]
    z -= (z @ x) * x
    norm = float(np.linalg.norm(z))
    if norm < 1e-6:
        return None
    z /= norm
    turn_a = np.stack([x, np.cross(z, x), z])
    turn_b = turn_a @ T_a_b[:3, :3]
    if max(float(rotation_angle(turn_a)), float(rotation_angle(turn_b))) > LARGEST_TURN:
        return None
    return Rectified(turn_a, turn_b, length)


def match(
    a: Frame, b: Frame, image_a: Grey, image_b: Grey, turned: Rectified, reach: float
) -> tuple[Disparities, Disparities]:
    """Depth for the frames a (left) and b from their larger grey images (H, W) uint8.

    turned: of their poses. reach: the search goes beyond the depths of the frames by this much of their logarithm.
    """
    size, focal, centre = _common(a, image_a)
    map_a, map_b = (
        _maps(frame, image, turn, size, focal, centre)
        for frame, image, turn in ((a, image_a, turned.turn_a), (b, image_b, turned.turn_b))
    )
    left, right = (
        cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image, maps in ((image_a, map_a), (image_b, map_b))
    )
    low, high = (focal * turned.baseline / np.exp(q) for q in _range(a, b, reach))
    # cv2 takes whole pixels, and ranges in multiples of 16.
    first = int(np.floor(max(low, 0.0)))
    count = int(np.clip(16 * np.ceil((high - first) / 16), 16, LARGEST_RANGE))
    matcher = cv2.StereoSGBM.create(
        minDisparity=first,
        numDisparities=count,
        blockSize=BLOCK,
        P1=8 * BLOCK**2,
        P2=32 * BLOCK**2,
        disp12MaxDiff=1,
        preFilterCap=63,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    # Columns on the left have no partner for the whole range: they get a border, and lose it again.
    edge = first + count
    wide = [cv2.copyMakeBorder(image, 0, 0, edge, 0, cv2.BORDER_REPLICATE) for image in (left, right)]
    disparity = matcher.compute(*wide)[:, edge:].astype(np.float32) / 16
    disparity[(disparity < max(low, LEAST_DISPARITY)) | ~_both_see(disparity, map_a, map_b, image_a, image_b)] = 0
    back = _seen_from_b(disparity)
    strength = focal * turned.baseline
    return (
        _at_pixels(a, turned.turn_a, disparity, strength, focal, centre),
        _at_pixels(b, turned.turn_b, back, strength, focal, centre),
    )


def _common(frame: Frame, image: Grey) -> tuple[tuple[int, int], float, tuple[float, float]]:
    """Size (width, height), focal length and principal point of both turned images: those of a's large image."""
    height, width = image.shape
    camera = frame.camera.scaled(width, height)
    return (width, height), (camera.fx + camera.fy) / 2, (camera.cx, camera.cy)


def _maps(
    frame: Frame, image: Grey, turn: Matrix, size: tuple[int, int], focal: float, centre: tuple[float, float]
) -> Maps:
    camera = frame.camera.scaled(image.shape[1], image.shape[0])
    k = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    return cv2.initUndistortRectifyMap(camera.K, np.zeros(5), turn, k, size, cv2.CV_16SC2)


def _range(a: Frame, b: Frame, reach: float) -> tuple[float, float]:
    """Largest and smallest log depth to search."""
    both = np.concatenate([a.log_depth[::4, ::4].ravel(), b.log_depth[::4, ::4].ravel()])
    near, far = np.percentile(both, (1, 99))
    return float(far) + reach, float(near) - reach


def _both_see(disparity: Map, map_a: Maps, map_b: Maps, image_a: Grey, image_b: Grey) -> NDArray[np.bool_]:
    """Pixels (h, w) of the turned left image that come from image a, and whose partners come from image b."""
    here, there = (
        cv2.remap(np.full_like(image, 255), *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
        for image, maps in ((image_a, map_a), (image_b, map_b))
    )
    partner = np.rint(np.arange(disparity.shape[1], dtype=np.float32) - disparity).astype(np.intp)
    inside = here & (partner >= 0) & (partner < disparity.shape[1])
    return np.asarray(inside & np.take_along_axis(there, np.where(inside, partner, 0), axis=1))


def _seen_from_b(disparity: Map) -> Map:
    """Disparity (h, w) of the right image from that of the left: the nearest surface wins."""
    out = np.zeros_like(disparity)
    rows, columns = np.nonzero(disparity)
    d = disparity[rows, columns]
    there = np.rint(columns - d).astype(np.intp)
    np.maximum.at(out, (rows, there), d)
    # Surfaces that are wider there leave lines free.
    filled = cv2.dilate(out, np.ones((1, 3), np.uint8))
    return np.asarray(np.where(out > 0, out, filled))


def _at_pixels(
    frame: Frame, turn: Matrix, disparity: Map, strength: float, focal: float, centre: tuple[float, float]
) -> Disparities:
    h, w = frame.grey.shape
    x = (np.arange(w, dtype=np.float32) - np.float32(frame.camera.cx)) / np.float32(frame.camera.fx)
    y = ((np.arange(h, dtype=np.float32) - np.float32(frame.camera.cy)) / np.float32(frame.camera.fy))[:, None]
    rx, ry, rz = (row[0] * x + (row[1] * y + row[2]) for row in turn.astype(np.float32))
    u = np.rint(np.float32(focal) * rx / rz + np.float32(centre[0])).astype(np.intp)
    v = np.rint(np.float32(focal) * ry / rz + np.float32(centre[1])).astype(np.intp)
    inside = (rz > 0) & (u >= 0) & (u < disparity.shape[1]) & (v >= 0) & (v < disparity.shape[0])
    d = np.where(inside, disparity[np.where(inside, v, 0), np.where(inside, u, 0)], 0)
    accepted = d > 0
    depth = np.float32(strength) / np.where(accepted, d, 1) / np.where(rz > 0, rz, 1)
    return Disparities(np.log(depth).astype(np.float32), accepted, d.astype(np.float32))
