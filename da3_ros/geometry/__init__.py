# SPDX-License-Identifier: Apache-2.0
"""Pure geometry on arrays: cameras, rays, poses, points and alignment, for NumPy and torch alike.

Read `cameras`, `poses`, `rays`, `points`; then what is estimated from them: `alignment` (scale and shift, sets of
points), `ray_camera` (cameras from ray maps), `gaussians` and `harmonics`; and `metrics`.
"""

from da3_ros.geometry.alignment import Alignment, AlignmentError, align_scale_shift, umeyama
from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.points import fuse, unproject, unproject_depth, voxel_downsample
from da3_ros.geometry.ray_camera import rays_to_camera
from da3_ros.geometry.rays import camera_to_rays

__all__ = [
    "Alignment",
    "AlignmentError",
    "CameraModel",
    "align_scale_shift",
    "camera_to_rays",
    "fuse",
    "rays_to_camera",
    "umeyama",
    "unproject",
    "unproject_depth",
    "voxel_downsample",
]
