# SPDX-License-Identifier: Apache-2.0
"""What a user would pick instead for a stereo pair: OpenCV's semi-global matching, after its own rectification."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import View
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert

NEAREST, FARTHEST = 0.5, 50.0
"""Metres between which things are looked for; the estimator has the same farthest."""
BLOCK = 3


def semi_global_depth(left: View, right: View) -> NDArray[np.float32]:
    """Depth (H, W) in metres along the optical axis of the left camera, NaN where the matcher has no answer.

    Settings are those of OpenCV's own example `stereo_match.cpp`: blocks of 3, all eight directions; and the range of
    speckles that its documentation advises, which serves it better than the example's. Both views need a camera, a
    pose, and images of one size; raises ValueError where they lack them, or where the second camera is not to the
    right of the first.
    """
    if left.camera is None or right.camera is None or left.pose is None or right.pose is None:
        raise ValueError(f"views {left.name!r} and {right.name!r} need a camera and a pose each to be matched")
    T_right_left = invert(right.pose) @ left.pose
    R, t = T_right_left[:3, :3], T_right_left[:3, 3]
    if not t[0] < -0.8 * np.linalg.norm(t):
        raise ValueError(f"view {right.name!r} is not to the right of {left.name!r}: {(-t).round(3).tolist()} m")
    height, width = left.image.shape[:2]
    size = (width, height)
    if (
        np.allclose(R, np.eye(3), atol=1e-9)
        and np.allclose(t[1:], 0, atol=1e-9)
        and _same_rows(left.camera, right.camera)
    ):
        R1 = np.eye(3)
        P1, P2 = left.camera.K, right.camera.K
        pair = [left.image, right.image]
    else:
        rectified = cv2.stereoRectify(
            left.camera.K,
            _distortion(left.camera),
            right.camera.K,
            _distortion(right.camera),
            size,
            R,
            t[:, None],
            flags=cv2.CALIB_ZERO_DISPARITY,
            alpha=0,
        )
        R1, R2, P1, P2 = rectified[:4]
        pair = [
            _warped(view.image, camera, turn, P)
            for view, camera, turn, P in ((left, left.camera, R1, P1), (right, right.camera, R2, P2))
        ]
    focal, baseline = P1[0, 0], float(np.linalg.norm(t))
    # Disparity here is that of pixels; what the principal points add is taken off again.
    offset = P2[0, 2] - P1[0, 2]
    reach = int(np.ceil((focal * baseline / NEAREST - min(offset, 0)) / 16)) * 16
    least = int(np.floor(min(-offset, 0)))
    matcher = cv2.StereoSGBM.create(
        minDisparity=least,
        numDisparities=reach,
        blockSize=BLOCK,
        P1=8 * 3 * BLOCK**2,
        P2=32 * 3 * BLOCK**2,
        disp12MaxDiff=1,
        preFilterCap=63,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.StereoSGBM_MODE_HH,
    )
    # The matcher leaves out as many columns at the left as it tries disparities: they are given to it.
    margin = max(least + reach, 0)
    wide = (cv2.copyMakeBorder(image, 0, 0, margin, 0, cv2.BORDER_REPLICATE) for image in pair)
    disparity = matcher.compute(*wide)[:, margin:].astype(np.float32) / 16
    seen = np.arange(width) - disparity >= 0  # a match in the columns that were added is none
    answered = (disparity >= least) & (disparity + offset > focal * baseline / FARTHEST) & seen
    depth = np.full((height, width), np.nan, np.float32)
    depth[answered] = focal * baseline / (disparity[answered] + offset)
    return _seen_by(left.camera, R1, P1, depth)


def _same_rows(a: CameraModel, b: CameraModel) -> bool:
    return (a.fx, a.fy, a.cy) == (b.fx, b.fy, b.cy) and not a.is_distorted and not b.is_distorted


def _distortion(camera: CameraModel) -> NDArray[np.float64]:
    return np.array(camera.distortion or (0.0,) * 5, np.float64)


def _warped(image: NDArray, camera: CameraModel, turn: NDArray, P: NDArray) -> NDArray:
    height, width = image.shape[:2]
    maps = cv2.initUndistortRectifyMap(camera.K, _distortion(camera), turn, P[:, :3], (width, height), cv2.CV_32FC1)
    return cv2.remap(image, *maps, interpolation=cv2.INTER_LINEAR)


def _seen_by(camera: CameraModel, turn: NDArray, P: NDArray, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth of the rectified image, looked up for each pixel of the straight image of `camera` at the nearest pixel."""
    height, width = depth.shape
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    turned = rays @ turn.T
    x = np.rint(P[0, 0] * turned[..., 0] / turned[..., 2] + P[0, 2]).astype(int)
    y = np.rint(P[1, 1] * turned[..., 1] / turned[..., 2] + P[1, 2]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (turned[..., 2] > 0)
    out = np.full((height, width), np.nan, np.float32)
    found = depth[y[inside], x[inside]]
    out[inside] = found / turned[..., 2][inside]  # both along their own optical axis, on one ray
    return out
