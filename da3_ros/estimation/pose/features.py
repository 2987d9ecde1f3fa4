# SPDX-License-Identifier: Apache-2.0
"""Features of images and their matches, where nothing is known of how the cameras stand to each other.

The rig's own matching (`scale.rig`) is far cheaper, since it searches along known epipolar lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.resize import resize
from da3_ros.geometry.cameras import CameraModel


@dataclass(frozen=True)
class FeatureConfig:
    """Limits of detection and matching."""

    features: int = 1000
    """Keypoints of an image at most."""
    longest: int = 640
    """Features are sought at this longest side at most, in pixels."""
    contrast: float = 0.02
    """Least contrast of a keypoint (SIFT)."""
    ratio: float = 0.8
    """Largest ratio of the best descriptor distance to the second best (Lowe 2004)."""


@dataclass(frozen=True)
class Features:
    """Keypoints of one image without distortion."""

    pixels: NDArray[np.float64]
    """(N, 2), u and v in `camera`."""
    descriptors: NDArray[np.float32]
    """(N, 128), of unit length."""
    camera: CameraModel
    """Camera of the image at the size that was searched."""


def detect(image: NDArray[np.uint8], camera: CameraModel, config: FeatureConfig) -> Features:
    """SIFT keypoints of an RGB image (H, W, 3) without distortion, with RootSIFT descriptors (Arandjelovic 2012)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    shrink = config.longest / max(grey.shape)
    if shrink < 1:
        grey = resize(grey, max(round(shrink * grey.shape[1]), 1), max(round(shrink * grey.shape[0]), 1))
    camera = camera.scaled(grey.shape[1], grey.shape[0])
    sift = cv2.SIFT.create(nfeatures=config.features, contrastThreshold=config.contrast)
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None or len(keypoints) == 0:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32), camera)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6))
    return Features(np.array([k.pt for k in keypoints], np.float64), root.astype(np.float32), camera)


def match(a: Features, b: Features, ratio: float) -> NDArray[np.int64]:
    """Indices (M, 2) into the keypoints of `a` and `b`: mutual nearest neighbours that pass the ratio test."""
    if len(a.pixels) < 2 or len(b.pixels) < 2:
        return np.zeros((0, 2), np.int64)
    # One matrix product tells the order in a fraction of the time that all distances take: -|a - b|^2 / 2.
    half_a, half_b = (-0.5 * np.square(each.descriptors).sum(axis=1, keepdims=True) for each in (a, b))
    ones_a, ones_b = np.ones_like(half_a), np.ones_like(half_b)
    alike = np.hstack([a.descriptors, half_a, ones_a]) @ np.hstack([b.descriptors, ones_b, half_b]).T
    first, back = alike.argmax(axis=1), alike.argmax(axis=0)
    rows = np.flatnonzero(back[first] == np.arange(len(first)))
    first, alike = first[rows], alike[rows]
    alike[np.arange(len(rows)), first] = -np.inf
    second = alike.argmax(axis=1)
    near, next_near = (np.linalg.norm(a.descriptors[rows] - b.descriptors[at], axis=1) for at in (first, second))
    kept = near < ratio * next_near
    found = np.stack([rows[kept], first[kept]], axis=1)
    # A place may carry several keypoints, one for each orientation: they count once.
    places = np.concatenate([a.pixels[found[:, 0]], b.pixels[found[:, 1]]], axis=1)
    return found[np.unique(places.round(2), axis=0, return_index=True)[1]] if len(found) else found
