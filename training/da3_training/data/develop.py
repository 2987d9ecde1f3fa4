# SPDX-License-Identifier: Apache-2.0
"""From raw batches to what a network sees: photos of rendered scenes, looks, normalisation; on any device."""

from __future__ import annotations

import numpy as np
import torch

from da3_ros.network.model import IMAGE_MEAN, IMAGE_STD
from da3_training.data.batch import OBJECT, SKY, SKY_KNOWN, VALID, Batch, RawBatch
from da3_training.data.exposure import exposed
from da3_training.data.look import with_looks


def develop(raw: RawBatch) -> Batch:
    """The batch on the device where `raw` lies. Nothing waits for a result of the device."""
    scenes, views = raw.depth.shape[:2]
    device = raw.depth.device
    pictures, depth, marks = (t.flatten(0, 1) for t in (raw.pictures, raw.depth, raw.marks))
    sensors, looks = (rows.reshape(scenes * views, -1) for rows in (raw.sensors, raw.looks))
    made = np.repeat(raw.rendered, views)
    with torch.no_grad():
        if made.all():
            photos, depth, marks = exposed(pictures, depth, marks, sensors)
        else:
            photos = pictures.permute(0, 3, 1, 2).to(torch.float32) / 255
            if made.any():
                at = torch.from_numpy(np.flatnonzero(made)).to(device, non_blocking=True)
                taken, seen, marked = exposed(pictures[at], depth[at], marks[at], sensors[made])
                photos, depth, marks = (
                    whole.index_copy(0, at, part) for whole, part in ((photos, taken), (depth, seen), (marks, marked))
                )
        images = with_looks(photos, looks)
        mean, spread = (
            torch.tensor(values, dtype=torch.float32).to(device, non_blocking=True)[:, None, None]
            for values in (IMAGE_MEAN, IMAGE_STD)
        )
        maps = [(images - mean) / spread, depth, *((marks & bit) > 0 for bit in (VALID, SKY, SKY_KNOWN, OBJECT))]
    images, depth, valid, sky, known, alpha = (t.unflatten(0, (scenes, views)) for t in maps)
    return Batch(
        images,
        depth,
        valid,
        sky,
        known,
        alpha,
        raw.intrinsics,
        raw.pose,
        raw.metric,
        posed=raw.posed,
        broken=raw.broken,
    )
