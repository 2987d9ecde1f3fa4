# SPDX-License-Identifier: Apache-2.0
"""Teacher labels on disk: a file a view, beside a summary of what was rejected. Made by `da3_training.labels`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_training.data.records import BrokenSampleError, Record, ViewRecord

SUMMARY = "labels.json"


def label_path(folder: Path, key: str) -> Path:
    """File of the label of view `key` (scene/cluster_view)."""
    return folder / f"{key}.npz"


def read_label(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A label (H, W) = `shape`, 0 where unknown; raises `BrokenSampleError` for one of another size."""
    with np.load(path) as file:
        depth = file["depth"].astype(np.float32)
    if depth.shape != shape:
        raise BrokenSampleError(f"{path} has size {depth.shape}, its image {shape}: label it again")
    return np.where(np.isfinite(depth), depth, 0)


def apply_label(record: Record, folder: Path, key: str) -> Record:
    """The record with its label as depth; without one (rejected) it teaches no depth at all.

    Raises `BrokenSampleError` when `folder` holds no labels.
    """
    path = label_path(folder, key)
    if not path.is_file():
        if not (folder / SUMMARY).is_file():
            raise BrokenSampleError(f"{folder} holds no labels: run `da3-train label` with this output first")
        return record._replace(depth=np.zeros_like(record.depth), valid=np.zeros_like(record.valid))
    depth = read_label(path, record.depth.shape)
    valid = depth > 0
    if record.sky is not None:
        valid &= ~record.sky
    return record._replace(depth=np.where(valid, depth, 0), valid=valid)


def labelled_views(views: tuple[ViewRecord, ...], folder: Path | None) -> tuple[ViewRecord, ...]:
    """Views whose teacher label was kept; all where no labels are in force."""
    return views if folder is None else tuple(v for v in views if label_path(folder, v.key).is_file())
