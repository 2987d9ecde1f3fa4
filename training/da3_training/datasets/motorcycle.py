# SPDX-License-Identifier: Apache-2.0
"""The Motorcycle pair of Middlebury's stereo images, of which scikit-image has a copy."""

from __future__ import annotations

import numpy as np

from da3_training.data.records import Record


def motorcycle_records() -> list[Record]:
    """Both views, 500 x 741; depth is that of the left one."""
    from skimage.data import stereo_motorcycle

    left, right, disparity = stereo_motorcycle()
    focal, cx, cy, doffs, baseline = 994.978, 311.193, 254.877, 31.086, 0.193001
    known = np.isfinite(disparity)
    depth = np.where(known, focal * baseline / (np.where(known, disparity, 1) + doffs), 0).astype(np.float32)
    records = []
    for i, image in enumerate((left, right)):
        k = np.array([[focal, 0, cx + i * doffs], [0, focal, cy], [0, 0, 1]])
        pose = np.eye(4)
        pose[0, 3] = i * baseline
        own = depth if i == 0 else np.zeros_like(depth)
        records.append(Record(image, own, own > 0, None, None, k, pose, "motorcycle", True))
    return records
