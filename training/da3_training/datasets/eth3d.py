# SPDX-License-Identifier: Apache-2.0
"""ETH3D (Schöps et al., CVPR 2017), DSLR images with laser depth. Licence CC BY-NC-SA 4.0: evaluation only here."""

from __future__ import annotations

from pathlib import Path

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import camera_matrix, read_colmap

LAYOUT = "<scene>/{dslr_calibration_jpg/{cameras,images}.txt,images/dslr_images,ground_truth_depth/dslr_images}"


def find_scenes(root: Path) -> list[Path]:
    """Scenes with laser depth."""
    return [path.parents[1] for path in root.glob("*/ground_truth_depth/dslr_images")]


def load_scene(folder: Path) -> list[Cluster]:
    """One scene: the distorted originals, to which the published depth belongs.

    The lens (COLMAP's THIN_PRISM_FISHEYE) is taken as a pinhole of the same focal lengths: exact in the centre and
    off by up to some per cent of the image's width at its corners.
    """
    views = []
    for name, (pose, model, numbers, (width, height)) in sorted(read_colmap(folder / "dslr_calibration_jpg").items()):
        image, depth = folder / "images" / name, folder / "ground_truth_depth" / name
        if image.is_file() and depth.is_file():
            if model in ("THIN_PRISM_FISHEYE", "PINHOLE"):
                fx, fy, cx, cy = numbers[:4]
            else:
                raise ValueError(f"camera model {model}; known: THIN_PRISM_FISHEYE, PINHOLE")
            k = camera_matrix(fx, fy, cx, cy, corner=True)
            size: dict[str, float] = {"height": height, "width": width}
            views.append(ViewRecord(image, depth, k, pose, codec="raw_float", source="eth3d", extra=size))
    return [Cluster("walk", tuple(views))]
