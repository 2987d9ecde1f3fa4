# SPDX-License-Identifier: Apache-2.0
"""An estimate as files for other programs: point cloud (PLY), scene with cameras (GLB), COLMAP's text model.

All are in the world of the estimate's poses, x right, y down, z forward for the first camera of an unposed set; GLB is
turned to y up, as its viewers expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import Estimate, ViewEstimate
from da3_ros.estimation.clouds import MAX_STDDEV, fuse_views
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, quaternion_from_matrix

Y_UP = np.diag([1.0, -1.0, -1.0, 1.0])
FRUSTUM_SHARE = 0.08
"""Length of a drawn camera as a share of the median depth."""


class SceneFileError(RuntimeError):
    """A file cannot be written; the message says what is missing."""


def colored_points(
    views: tuple[ViewEstimate, ...],
    min_confidence: float = 0.0,
    voxel: float = 0.0,
    max_stddev: float = MAX_STDDEV,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.intp]]:
    """Points (N, 3) of all views in the world, colours (N, 3), and the view (N,) that each comes from.

    min_confidence: least confidence of a point. voxel: side of the grid that keeps one point a cell, 0 for none.
    max_stddev: largest standard deviation of depth, as a share of it, 0 for any. Points next to a jump of depth are
    left out: they hang in the air. So are views of which no pose is known.
    """
    known = [i for i, view in enumerate(views) if view.pose.source != "none"]
    kept = [views[i] for i in known]
    poses = [view.pose.T_world_camera for view in kept]
    cloud = fuse_views(kept, poses, voxel_size=voxel, min_confidence=min_confidence, max_stddev=max_stddev)
    return cloud.points, cloud.colours, np.array(known)[cloud.view]


def write_ply(path: Path, points: NDArray[np.float32], colours: NDArray[np.uint8]) -> Path:
    """Binary PLY of points (N, 3) with RGB colours (N, 3); returns `path`."""
    kind = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows = np.empty(len(points), kind)
    rows["xyz"], rows["rgb"] = points, colours
    properties = [f"property float {axis}" for axis in "xyz"] + [
        f"property uchar {c}" for c in ("red", "green", "blue")
    ]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *properties, "end_header", ""]
    path.write_bytes("\n".join(header).encode() + rows.tobytes())
    return path


def write_glb(path: Path, estimate: Estimate, points: NDArray[np.float32], colours: NDArray[np.uint8]) -> Path:
    """GLB scene of a cloud and a wire pyramid for each camera; returns `path`.

    Raises SceneFileError where trimesh is not installed.
    """
    try:
        import trimesh
    except ImportError as error:
        raise SceneFileError(f"GLB files need trimesh ({error}): `pip install trimesh`") from error
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.PointCloud(points, colours), node_name="cloud", transform=Y_UP)
    depths = [view.depth[np.isfinite(view.depth)] for view in estimate.views]
    size = FRUSTUM_SHARE * float(np.median(np.concatenate(depths))) if any(map(len, depths)) else 1.0
    for view in estimate.views:
        if view.pose.source != "none":
            wires = trimesh.load_path(_frustum(view.camera, size))
            scene.add_geometry(wires, node_name=f"camera {view.name}", transform=Y_UP @ view.pose.T_world_camera)
    path.write_bytes(scene.export(file_type="glb"))
    return path


def _frustum(camera: CameraModel, size: float) -> NDArray[np.float64]:
    """Edges (8, 2, 3) of the pyramid from the centre of a camera to its image at depth `size`."""
    right, bottom = camera.width - 0.5, camera.height - 0.5
    right, bottom = camera.width - 0.5, camera.height - 0.5
    pixels = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    x, y = (pixels[:, 0] - camera.cx) / camera.fx, (pixels[:, 1] - camera.cy) / camera.fy
    corners = size * np.stack([x, y, np.ones(4)], axis=1)
    rays = [(np.zeros(3), corner) for corner in corners]
    return np.array(rays + [(corners[i], corners[(i + 1) % 4]) for i in range(4)])


def write_colmap(
    folder: Path,
    estimate: Estimate,
    sizes: Mapping[str, tuple[int, int]],
    files: Mapping[str, str],
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
) -> None:
    """COLMAP's text model: cameras.txt, images.txt (without keypoints) and points3D.txt (without tracks).

    sizes: width and height of each view's own image by view name, which the cameras are scaled to; files: its name, a
    path below the folder of the images. COLMAP counts pixels from the corner of the image, and its poses are
    T_camera_world. Raises SceneFileError for names with blanks, which readers of these files cut off.
    """
    blank = next((name for name in files.values() if any(c.isspace() for c in name)), None)
    if blank is not None:
        raise SceneFileError(f"COLMAP's text files cannot name {blank!r}, for its blank: rename the image")
    folder.mkdir(parents=True, exist_ok=True)
    cameras, images = [], []
    for i, view in enumerate(estimate.views, start=1):
        if view.pose.source == "none":
            continue
        camera = view.camera.scaled(*sizes[view.name])
        parameters = (camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5)
        cameras.append(f"{i} PINHOLE {camera.width} {camera.height} {_numbers(parameters)}")
        T_camera_world = invert(view.pose.T_world_camera)
        x, y, z, w = quaternion_from_matrix(T_camera_world[:3, :3])
        images += [f"{i} {_numbers((w, x, y, z, *T_camera_world[:3, 3]))} {i} {files[view.name]}", ""]
    rows = [
        f"{i} {_numbers(point)} {red} {green} {blue} 0"
        for i, (point, (red, green, blue)) in enumerate(zip(points.tolist(), colours.tolist(), strict=True), start=1)
    ]
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", rows)):
        (folder / f"{name}.txt").write_text("\n".join([f"# {len(lines)} lines", *lines, ""]), "utf-8")


def _numbers(values: tuple[float, ...] | list[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)
