# SPDX-License-Identifier: Apache-2.0
"""Depth maps to a surface and its points, by Open3D; and how close two clouds are."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree


def open3d() -> Any:
    """The module; raises RuntimeError that says how to get it."""
    try:
        try:
            import libusb_package

            # Open3D is linked to libusb, which bare machines lack; one that is loaded already will do.
            ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        except ImportError:
            pass
        import open3d
    except ImportError as error:
        raise RuntimeError(f"reconstruction needs Open3D ({error}): `make env EXTRAS=accuracy`") from error
    return open3d


BLOCKS = 10_000
"""Blocks of 16^3 voxels for which memory is set aside at first; it grows."""


@dataclass(frozen=True)
class Fusion:
    """How depth becomes a surface; metres."""

    voxel: float = 4 / 512
    truncation: float = 0.04
    max_depth: float = 10.0
    points: int = 1_000_000
    """Sampled on the surface."""


def fuse(
    depths: Sequence[NDArray[np.float32]],
    intrinsics: NDArray[np.floating],
    poses: NDArray[np.floating],
    fusion: Fusion,
) -> NDArray[np.float64]:
    """Points (N, 3) on the surface of all depth maps (h, w), metres, 0 unknown; empty where there is no surface.

    intrinsics: (S, 3, 3) of the depth maps, pixel centres at integers. poses: T_world_camera (S, 4, 4).
    """
    o3d = open3d()
    one = o3d.core.float32
    grid = o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight"), (one, one), ((1), (1)), fusion.voxel, 16, BLOCKS)
    multiplier, farthest = float(fusion.truncation / fusion.voxel), float(fusion.max_depth)
    for depth, k, pose in zip(depths, intrinsics, poses, strict=True):
        clean = np.where((depth > 0) & (depth < farthest), depth, 0).astype(np.float32)
        if not (clean > 0).any():
            continue
        image = o3d.t.geometry.Image(o3d.core.Tensor(np.ascontiguousarray(clean)))
        camera = o3d.core.Tensor(np.asarray(k, np.float64))
        T_camera_world = o3d.core.Tensor(np.linalg.inv(np.asarray(pose, np.float64)))
        blocks = grid.compute_unique_block_coordinates(image, camera, T_camera_world, 1.0, farthest, multiplier)
        if len(blocks):
            grid.integrate(blocks, image, camera, T_camera_world, 1.0, farthest, multiplier)
    if grid.hashmap().size() == 0:
        return np.zeros((0, 3))
    mesh = grid.extract_triangle_mesh(weight_threshold=0.5).to_legacy()
    if len(mesh.triangles) == 0:
        return np.zeros((0, 3))
    o3d.utility.random.seed(42)
    return np.asarray(mesh.sample_points_uniformly(fusion.points).points)


def thinned(points: NDArray[np.floating], voxel: float) -> NDArray[np.float64]:
    """One point (the mean) for each voxel of a cloud (N, 3)."""
    o3d = open3d()
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.asarray(points, np.float64)))
    return np.asarray(cloud.voxel_down_sample(voxel).points)


@dataclass(frozen=True)
class CloudScore:
    """Two surfaces compared; metres."""

    accuracy: float
    """Mean distance of the found points from the true surface."""
    completeness: float
    """Mean distance of the true points from the found surface."""
    precision: float
    recall: float
    f1: float

    @property
    def chamfer(self) -> float:
        """Mean of accuracy and completeness."""
        return (self.accuracy + self.completeness) / 2


def compare_clouds(
    found: NDArray[np.floating], truth: NDArray[np.floating], threshold: float, voxel: float = 0.0
) -> CloudScore:
    """Score of a cloud (N, 3) against the true one (M, 3): F1 is that of the points nearer than `threshold`.

    voxel: both are thinned to it first; 0: not. An empty cloud scores 0 and infinity.
    """
    if voxel and len(found) and len(truth):
        found, truth = thinned(found, voxel), thinned(truth, voxel)
    if not len(found) or not len(truth):
        return CloudScore(float("inf"), float("inf"), 0.0, 0.0, 0.0)
    to_truth = KDTree(truth).query(found)[0]
    to_found = KDTree(found).query(truth)[0]
    precision, recall = float(np.mean(to_truth < threshold)), float(np.mean(to_found < threshold))
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return CloudScore(float(to_truth.mean()), float(to_found.mean()), precision, recall, f1)
