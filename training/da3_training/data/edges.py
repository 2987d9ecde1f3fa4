# SPDX-License-Identifier: Apache-2.0
"""Depth that cannot be trusted near jumps: that of cameras whose colour and depth come from two lenses."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_training.data.records import Record

JUMP, NEAR = 1.1, 2
"""Ratio of two depths from which on there is an edge between them, and within how many pixels; farther apart, floors
that are seen at a grazing angle differ as much.
"""


def away_from_jumps(record: Record, margin: float) -> Record:
    """The record without the depth that lies within `margin`, a share of the image's width, of a jump in depth.

    Registered by a calibration that is a few pixels off, a depth camera puts the edge of a thing beside where the
    photo has it: there its depth teaches the wrong. What is not known is no edge.
    """
    reach = round(margin * record.depth.shape[1])
    if reach < 1:
        return record
    near = min(reach, NEAR)
    depth = np.where(record.valid, record.depth, 0).astype(np.float32)
    highest = cv2.dilate(depth, _disc(near))
    lowest = cv2.erode(np.where(record.valid, depth, np.float32(3e38)), _disc(near))
    edge = (highest > JUMP * lowest).astype(np.uint8)
    if reach > near:
        edge = cv2.dilate(edge, _disc(reach - near))
    valid = record.valid & (edge == 0)
    return record._replace(valid=valid, depth=np.where(valid, depth, 0))


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)
