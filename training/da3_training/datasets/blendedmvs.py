# SPDX-License-Identifier: Apache-2.0
"""BlendedMVS (Yao et al., CVPR 2020): renders of reconstructed scenes. Licence CC BY 4.0."""

from __future__ import annotations

from pathlib import Path

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import inverse, read_mvsnet_camera

LAYOUT = "<project>/{blended_images/NNNNNNNN.jpg,cams/NNNNNNNN_cam.txt,rendered_depth_maps/NNNNNNNN.pfm}"


def find_scenes(root: Path) -> list[Path]:
    """Projects."""
    return [path.parent for path in root.glob("*/cams")]


def load_scene(folder: Path) -> list[Cluster]:
    """All views of one project; its unit is arbitrary."""
    views = []
    for camera in sorted((folder / "cams").glob("*_cam.txt")):
        name = camera.name.removesuffix("_cam.txt")
        image, depth = folder / "blended_images" / f"{name}.jpg", folder / "rendered_depth_maps" / f"{name}.pfm"
        if image.is_file() and depth.is_file():
            T_camera_world, k = read_mvsnet_camera(camera)
            pose = inverse(T_camera_world)
            views.append(ViewRecord(image, depth, k, pose, codec="pfm", source="blendedmvs", metric=False))
    return [Cluster("orbit", tuple(views))]
