# SPDX-License-Identifier: Apache-2.0
"""Cropping, scaling and mirroring of records, cameras included."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry import CameraModel
from da3_ros.network.model import IMAGE_MEAN, IMAGE_STD
from da3_training.data.records import Record

MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
Kind = TypeVar("Kind", bound=np.generic)


def window(record: Record, height: int, width: int, zoom: float = 1.0) -> Record:
    """A centred window of the view, scaled to height x width; its camera follows.

    zoom: side of the window as a share of the largest window of the wanted aspect. Images are averaged or
    interpolated; depth and masks keep values of single pixels.
    """
    h0, w0 = record.depth.shape
    camera = CameraModel.from_matrix(record.intrinsics, w0, h0)
    side = min(w0 / width, h0 / height) * zoom
    w, h = max(1, round(width * side)), max(1, round(height * side))
    x, y = (w0 - w) // 2, (h0 - h) // 2
    camera = camera.cropped(x, y, w, h).scaled(width, height)
    part = np.s_[y : y + h, x : x + w]
    smooth = cv2.INTER_AREA if side > 1 else cv2.INTER_CUBIC
    image = cv2.resize(record.image[part], (width, height), interpolation=smooth)

    def picked(values: NDArray[Kind] | None) -> NDArray[Kind] | None:
        if values is None:
            return None
        kind = values.dtype
        if kind == np.bool_:
            values = values.astype(np.uint8)
        out = cv2.resize(values[part], (width, height), interpolation=cv2.INTER_NEAREST)
        return out.astype(kind)

    depth, valid = picked(record.depth), picked(record.valid)
    assert depth is not None
    assert valid is not None
    return record._replace(
        image=image,
        depth=depth,
        valid=valid,
        sky=picked(record.sky),
        alpha=picked(record.alpha),
        intrinsics=camera.K,
    )


def mirror(record: Record) -> Record:
    """The view in a mirrored world (x -> -x in the camera and in the world frame)."""
    k = record.intrinsics.copy()
    k[0, 2] = record.image.shape[1] - 1 - k[0, 2]
    return record._replace(
        image=record.image[:, ::-1],
        depth=record.depth[:, ::-1],
        valid=record.valid[:, ::-1],
        sky=None if record.sky is None else record.sky[:, ::-1],
        alpha=None if record.alpha is None else record.alpha[:, ::-1],
        intrinsics=k,
        pose=MIRROR @ record.pose @ MIRROR,
    )


def normalise_image(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32 with ImageNet statistics."""
    mean: NDArray[np.float32] = np.array(IMAGE_MEAN, np.float32)
    spread: NDArray[np.float32] = np.array(IMAGE_STD, np.float32)
    x: NDArray[np.float32] = (image.astype(np.float32) / np.float32(255) - mean) / spread
    return np.ascontiguousarray(x.transpose(2, 0, 1))
