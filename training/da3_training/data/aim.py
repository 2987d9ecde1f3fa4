# SPDX-License-Identifier: Apache-2.0
"""A view as a camera at the same place would have it that looks elsewhere: panned, tilted, rolled, of another angle of
view.

A turn about the centre of projection needs no depth, so that what comes out is exact: a pinhole image whose principal
point is in its middle, with the depth along its own optical axis. From one photograph it makes many.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from da3_training.data.records import Record

STEP = 1.05
"""By how much a window is made smaller until it lies within the image."""
TRIES = 80


def turned(
    record: Record, height: int, width: int, zoom: float, aim: tuple[float, float], roll: float, turn: float
) -> Record:
    """The view of height x width whose optical axis goes through another pixel.

    zoom: its side as a share of the largest that lies within the image there. aim: where the axis goes, -1 to 1 in
    each direction: left or right, up or down, as a share of what the window's size leaves. roll: radians about the
    axis. turn: the largest angle between the axes, radians. Colours are averaged or interpolated; depth and masks keep
    values of single pixels. Raises ValueError for a zoom that is not in (0, 1].
    """
    if not 0 < zoom <= 1:
        raise ValueError(f"zoom is {zoom}: give more than 0, and at most 1")
    K = record.intrinsics
    h0, w0 = record.depth.shape
    R, new = _camera(K, (h0, w0), (height, width), zoom, aim, roll, turn)
    # Rays of the new view's pixels, in the frame of the old one.
    v, u = np.mgrid[0:height, 0:width].astype(np.float64)
    rays = np.stack([(u - new[0, 2]) / new[0, 0], (v - new[1, 2]) / new[1, 1], np.ones_like(u)], -1) @ R.T
    at = rays[..., :2] / rays[..., 2:] * [K[0, 0], K[1, 1]] + [K[0, 2], K[1, 2]]
    x, y = at[..., 0].astype(np.float32), at[..., 1].astype(np.float32)
    image = record.image
    shrink = float(K[0, 0] / new[0, 0])
    if shrink > 1.3:  # what is sampled too coarsely would flicker
        image = cv2.GaussianBlur(image, (0, 0), 0.35 * shrink)
    image = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rows, columns = np.rint(y).astype(int).clip(0, h0 - 1), np.rint(x).astype(int).clip(0, w0 - 1)

    def picked(values: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        return None if values is None else values[rows, columns]

    # A point at distance z along the old axis, on a ray whose part along it is r, is at z / r along the new one.
    depth = (record.depth[rows, columns] / rays[..., 2]).astype(np.float32)
    T_old_new = np.eye(4)
    T_old_new[:3, :3] = R
    valid = picked(record.valid)
    assert valid is not None
    return record._replace(
        image=image,
        depth=depth,
        valid=valid,
        sky=picked(record.sky),
        alpha=picked(record.alpha),
        intrinsics=new,
        pose=record.pose @ T_old_new,
    )


def _camera(
    K: NDArray[np.float64],
    old: tuple[int, int],
    size: tuple[int, int],
    zoom: float,
    aim: tuple[float, float],
    roll: float,
    turn: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """R_old_new (3, 3) and the new intrinsics; old, size: (height, width) of the images."""
    h0, w0 = old
    height, width = size
    side = min(w0 / width, h0 / height) * zoom
    middle = np.array([(w0 - 1) / 2, (h0 - 1) / 2])
    room = np.maximum([w0 - width * side, h0 - height * side], 0) / 2
    focal = np.array([K[0, 0], K[1, 1]])
    centre = K[:2, 2]
    axis = np.append((middle + np.array(aim) * room - centre) / focal, 1.0)
    straight = np.append((middle - centre) / focal, 1.0)
    axis, straight = axis / np.linalg.norm(axis), straight / np.linalg.norm(straight)
    angle = float(np.arccos(np.clip(axis @ straight, -1, 1)))
    if angle > turn:
        axis = (np.sin(angle - turn) * straight + np.sin(turn) * axis) / np.sin(angle)
    tilt = np.cross([0.0, 0.0, 1.0], axis)
    sine = float(np.linalg.norm(tilt))
    around = tilt / sine * np.arctan2(sine, axis[2]) if sine > 1e-9 else np.zeros(3)
    R: NDArray[np.float64] = (Rotation.from_rotvec(around) * Rotation.from_rotvec([0, 0, roll])).as_matrix()
    corners = np.array([[x, y] for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)])
    new = np.array([[focal[0] / side, 0, (width - 1) / 2], [0, focal[1] / side, (height - 1) / 2], [0, 0, 1.0]])
    for _ in range(TRIES):
        rays = np.column_stack([(corners - new[:2, 2]) / [new[0, 0], new[1, 1]], np.ones(4)]) @ R.T
        at = rays[:, :2] / rays[:, 2:] * focal + centre
        if (rays[:, 2] > 0.1).all() and (at >= -0.5).all() and (at <= [w0 - 0.5, h0 - 0.5]).all():
            break
        new[0, 0] *= STEP
        new[1, 1] *= STEP
    return R, new
