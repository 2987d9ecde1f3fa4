# SPDX-License-Identifier: Apache-2.0
"""Pictures without lens distortion, and which of their pixels no photograph shows.

The straight picture keeps K. Beyond the border of the photograph it is black; beyond the angle at which the polynomial
of a lens turns back, it shows the inner picture a second time.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import FISHEYE, CameraModel

_STEPS = 2000
"""Angles at which a lens is followed from its axis to the corner."""
_ROUNDS = 20
_PIXEL = 1.0
"""Interpolation reaches so far beyond the last pixel's centre without leaving it black."""


def rectify(image: NDArray[np.uint8], camera: CameraModel | None) -> tuple[NDArray[np.uint8], CameraModel | None]:
    """The image without lens distortion and its camera, whose K stays the same."""
    if camera is None or not camera.is_distorted:
        return image, camera
    maps = _rectification(camera)
    straight = CameraModel.pinhole(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    return cv2.remap(image, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), straight


@lru_cache(maxsize=32)
def _rectification(camera: CameraModel) -> tuple[NDArray, NDArray]:
    """Remap tables of one calibration; cached, since they are the same for every frame."""
    coefficients = np.array(camera.distortion, dtype=np.float64)
    size = (camera.width, camera.height)
    if camera.distortion_model in ("plumb_bob", "rational_polynomial", ""):
        return cv2.initUndistortRectifyMap(camera.K, coefficients, np.eye(3), camera.K, size, cv2.CV_16SC2)
    if camera.distortion_model in FISHEYE:
        return cv2.fisheye.initUndistortRectifyMap(camera.K, coefficients[:4], np.eye(3), camera.K, size, cv2.CV_16SC2)
    raise ValueError(
        f"unknown distortion model {camera.distortion_model!r}; "
        "allowed: plumb_bob, rational_polynomial, equidistant, or rectify the image before"
    )


@lru_cache(maxsize=32)
def blind(camera: CameraModel, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Which pixels of the straight picture, at `size` (h, w), the photograph does not show; None: it shows all."""
    if not camera.is_distorted:
        return None
    height, width = size
    rays = camera.scaled(width, height).rays(_pixels(width, height))
    column, row = _projected(rays[:, None], camera).reshape(height, width, 2).transpose(2, 0, 1)
    radius = np.hypot(rays[:, 0], rays[:, 1]).reshape(height, width)
    found = (column < -_PIXEL) | (column > camera.width - 1 + _PIXEL) | ~np.isfinite(column + row)
    found |= (row < -_PIXEL) | (row > camera.height - 1 + _PIXEL) | (radius >= _turning(camera, float(radius.max())))
    return found if found.any() else None


@lru_cache(maxsize=4)
def straight_rays(camera: CameraModel) -> NDArray[np.float32]:
    """Directions (H, W, 3) with z = 1 of the pixels of a photograph, as the lens took it; NaN where there is none."""
    pixels = _pixels(camera.width, camera.height)[:, None]
    coefficients = np.array(camera.distortion, np.float64)
    if camera.distortion_model in FISHEYE:
        found = cv2.fisheye.undistortPoints(pixels, camera.K, coefficients[:4])
    else:
        found = cv2.undistortPoints(pixels, camera.K, coefficients)
    focal = np.array([camera.fx, camera.fy])
    rays = np.concatenate([found, np.ones_like(found[..., :1])], axis=-1)
    for _ in range(_ROUNDS):  # OpenCV stops after a few
        rays[:, 0, :2] += (pixels[:, 0] - _projected(rays, camera)) / focal
    radius = np.hypot(rays[:, 0, 0], rays[:, 0, 1])
    off = np.abs(_projected(rays, camera) - pixels[:, 0]).max(axis=1)
    with np.errstate(invalid="ignore"):
        bad = ~(off < 0.1 * _PIXEL) | ~(radius < _turning(camera, float(np.nanmax(radius, initial=1.0))))
    rays[bad.reshape(-1, 1).repeat(3, axis=1).reshape(rays.shape)] = np.nan
    return rays.reshape(camera.height, camera.width, 3).astype(np.float32)


def _pixels(width: int, height: int) -> NDArray[np.float64]:
    """u and v (H W, 2) of every pixel, row by row."""
    u, v = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    return np.stack([u, v], axis=-1).reshape(-1, 2)


def _projected(points: NDArray[np.float64], camera: CameraModel) -> NDArray[np.float64]:
    """Pixels (N, 2), as the lens takes them, of points (N, 1, 3) in the camera's frame."""
    coefficients, still = np.array(camera.distortion, np.float64), np.zeros(3)
    if camera.distortion_model in FISHEYE:
        places, _ = cv2.fisheye.projectPoints(points, still, still, camera.K, coefficients[:4])
    else:
        places, _ = cv2.projectPoints(points, still, still, camera.K, coefficients)
    return np.asarray(places).reshape(-1, 2)


def _turning(camera: CameraModel, farthest: float) -> float:
    """Tangent of the angle at which the picture of a lens, followed outwards, turns back or has no end; infinity where
    it does not up to `farthest`.
    """
    radius = np.linspace(0.0, farthest, _STEPS)[1:]
    if camera.distortion_model in FISHEYE:
        angle = np.arctan(radius)
        squared = angle**2
        seen = angle * _polynomial(squared, camera.distortion[:4])
    else:
        k = np.zeros(8)
        k[: min(len(camera.distortion), 8)] = camera.distortion[:8]
        squared = radius**2
        below = _polynomial(squared, k[5:])
        with np.errstate(all="ignore"):
            seen = np.where(below > 0, radius * _polynomial(squared, k[[0, 1, 4]]) / below, 0.0)
    back = np.flatnonzero(~(np.diff(seen, prepend=0.0) > 0))
    return float(radius[back[0]]) if back.size else float("inf")


def _polynomial(x: NDArray[np.float64], coefficients: NDArray[np.float64] | tuple[float, ...]) -> NDArray[np.float64]:
    """1 + c0 x + c1 x^2 + ..."""
    return np.polynomial.polynomial.polyval(x, [1.0, *coefficients])
