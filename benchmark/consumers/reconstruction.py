# SPDX-License-Identifier: Apache-2.0
"""Surfaces by Open3D's TSDF, from depth at true poses: reconstruction, as nvblox does it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from costmap import RATE, STRICT, spaced
from numpy.typing import NDArray
from sequence import ALONE, REFINED, TRUE, Depths, Estimated, Sequence3D, gated
from sheet import Table

from da3_ros.estimation.clouds import MAX_STDDEV

sys.path.append(str(Path(__file__).resolve().parents[1] / "accuracy"))

from tsdf import CloudScore, Fusion, compare_clouds, fuse, open3d

THRESHOLD = 0.05
"""Metres within which a point counts as right."""
FUSION = Fusion(voxel=0.02, truncation=0.08, max_depth=8.0, points=200_000)
ROWS = ((TRUE, 0.0), (ALONE, 0.0), (REFINED, 0.0), (REFINED, MAX_STDDEV), (REFINED, STRICT))
"""Depth, and the largest standard deviation of a pixel that is used, as a share of its depth; 0: all are."""


def why_no_open3d() -> str:
    """Why it cannot be run here, and what to do; empty where it can."""
    try:
        open3d()
    except RuntimeError as error:
        return str(error)
    return ""


def tsdf_table(estimated: Estimated) -> tuple[Table, dict[str, float]]:
    """Distances of the surfaces from that of true depth at its full size."""
    sequence = estimated.sequence
    chosen = spaced(sequence, 1 / RATE)
    table = Table(
        f"Open3D's TSDF, {sequence.title}, {len(chosen)} sets",
        ("", "accuracy, m", "completeness, m", "Chamfer, m", "precision", "recall", "F1"),
        (".3f", ".3f", ".3f", ".3f", ".3f", ".3f"),
        notes=[
            f"voxels of {FUSION.voxel:g} m, at most {FUSION.max_depth:g} m away; precision, recall and F1 within "
            f"{THRESHOLD:g} m; true depth at the network's size and the same poses is the best there can be"
        ],
    )
    reference, figures = true_surface(sequence, chosen), {}
    for kind, gate in ROWS:
        depths = gated(estimated.kinds[kind], gate) if gate else estimated.kinds[kind]
        score = surface_score(sequence, depths, chosen, reference)
        title = f"{kind}, gate {gate:g}" if gate else kind
        table.add(title, score.accuracy, score.completeness, score.chamfer, score.precision, score.recall, score.f1)
        figures[f"tsdf {sequence.name} {title} chamfer"] = score.chamfer
        figures[f"tsdf {sequence.name} {title} f1"] = score.f1
    return table, figures


def true_surface(sequence: Sequence3D, chosen: list[int]) -> NDArray[np.float64]:
    """Points (N, 3) on the surface of true depth at its full size."""
    frames = [sequence.frames[i] for i in chosen]
    depths = [np.nan_to_num(truth.depth, nan=0.0) for frame in frames for truth in frame.truth]
    intrinsics = np.stack([truth.camera.K for frame in frames for truth in frame.truth])
    return fuse(depths, intrinsics, np.stack([pose for frame in frames for pose in frame.poses]), FUSION)


def surface_score(
    sequence: Sequence3D, depths: Depths, chosen: list[int], reference: NDArray[np.float64]
) -> CloudScore:
    """Of the surface of our depth at true poses."""
    views = [view for i in chosen for view in depths[i]]
    poses = np.stack([pose for i in chosen for pose in sequence.frames[i].poses])
    clean = [np.where(np.isfinite(view.depth), view.depth, np.float32(0)) for view in views]
    found = fuse(clean, np.stack([view.camera.K for view in views]), poses, FUSION)
    return compare_clouds(found, reference, THRESHOLD, FUSION.voxel)
