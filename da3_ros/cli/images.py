# SPDX-License-Identifier: Apache-2.0
"""``da3 images``: geometry of image files, without ROS."""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.cli.bag import positive
from da3_ros.cli.shots import Shot, read_shots
from da3_ros.estimation import (
    Estimate,
    Estimator,
    EstimatorConfig,
    RefinementConfig,
    ScaleConfig,
    ViewEstimate,
    ViewSet,
)
from da3_ros.estimation.clouds import MAX_STDDEV
from da3_ros.estimation.refinement import SOURCES as REFINEMENTS
from da3_ros.files.gaussians import write_gaussian_ply
from da3_ros.files.kinds import marked
from da3_ros.files.names import names_below, without_blanks
from da3_ros.files.scenes import colored_points, write_colmap, write_glb, write_ply
from da3_ros.files.upright import turned_estimate, turned_view
from da3_ros.messages.images import depth_to_millimetres
from da3_ros.visual import depth_to_color

NAME = "images"
HELP = "estimate depth, confidence, cameras and a cloud of image files of one scene"
FORMATS = ("npz", "png", "ply", "glb", "colmap", "gaussians")
LOST = 3
"""Exit code where a part of the engine's answer could not be used."""
COLMAP_GRID = 0.005
"""Grid of COLMAP's points as a share of the median depth: its text files are large."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        help="files, folders of them, or patterns, of which photographs are taken, not depth, masks or results; their "
        "stored pixels count. Or one recording: a video, a COLMAP project, a folder of EuRoC (ASL), KITTI or TUM "
        "RGB-D, with its calibration and poses",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--model", default="da3-nano", help="name or folder of the model")
    parser.add_argument("--size", type=int, default=0, help="longest side of the network's input, 0: recommended")
    parser.add_argument(
        "--camera",
        nargs=4,
        type=float,
        metavar=("FX", "FY", "CX", "CY"),
        help="intrinsics of all images, in stored pixels, whatever Exif says of their orientation",
    )
    parser.add_argument(
        "--poses",
        type=Path,
        metavar="FILE",
        help="where the images were taken, in TUM's format: a line an image, in their order: "
        "seconds x y z qx qy qz qw; T_world_camera in metres, camera axes x right, y down, z forward. Needs --camera; "
        "gives metres and refined depth",
    )
    parser.add_argument(
        "--refinement",
        default="auto",
        choices=REFINEMENTS,
        help="what corrects depth where images of known pose see the same; none: nothing",
    )
    parser.add_argument("--fps", type=float, help="of a video: pictures a second that are taken (default: 5)")
    parser.add_argument("--metres-per-unit", type=float, help="known scale; else only a metric model has metres")
    parser.add_argument(
        "--format",
        nargs="+",
        default=["npz", "png", "ply"],
        choices=FORMATS,
        help="npz: arrays of depth, its standard deviation where it has a unit, confidence and camera; png: depth in "
        "16 bits and in colours; ply: cloud; glb: cloud and cameras; colmap: text; "
        "gaussians: 3D Gaussians as PLY, from a graph of `da3 export --gaussians`",
    )
    parser.add_argument("--min-confidence", type=float, default=0.0, help="least confidence of a point in a cloud")
    parser.add_argument(
        "--max-stddev",
        type=float,
        default=MAX_STDDEV,
        help="largest standard deviation of a point in a cloud, as a share of its depth; 0: any (default: %(default)s)",
    )
    parser.add_argument("--voxel", type=float, default=0.0, help="grid of the cloud in its own unit, 0: every pixel")


JOINT = ("ply", "glb", "colmap", "gaussians")
"""Formats that put all views into one scene."""


def run(arguments: argparse.Namespace) -> int:
    """Estimate and write what was asked for; says where it is and whether it is in metres. 0: done; 3: done, but a part
    of what the engine said could not be used, or views that do not fit together were not put into one scene.
    """
    given = positive("--metres-per-unit", arguments.metres_per_unit) or None
    fps = positive("--fps", arguments.fps)
    found = read_shots(arguments.images, arguments.camera, arguments.poses, fps)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    shots, are_posed = found.shots, found.are_posed
    if "colmap" in arguments.format and not found.in_files:
        raise ValueError(
            "--format colmap needs images that are files, upright and without distortion: `da3 bag ... --colmap` "
            "writes such beside its model"
        )
    output = arguments.output
    _check_output(output, shots)
    scale = ScaleConfig() if given is None else ScaleConfig(source="given", value=given)
    refinement = RefinementConfig(source=arguments.refinement)
    gaussians_too = "gaussians" in arguments.format
    config = EstimatorConfig(size=arguments.size, scale=scale, refinement=refinement, gaussians=gaussians_too)
    estimator = Estimator.from_model(arguments.model, config)
    estimate = estimator(ViewSet([turned_view(shot.view, shot.turns) for shot in shots]))
    turned = tuple(turned_estimate(v, -shot.turns) for v, shot in zip(estimate.views, shots, strict=True))
    estimate = dataclasses.replace(estimate, views=turned)
    output.mkdir(parents=True, exist_ok=True)
    unit = "metres" if estimate.scale.metric else "relative: no unit, give --metres-per-unit or a metric model"
    known = {shot.view.name: shot.view.camera for shot in shots}
    for view in estimate.views:
        refined = _refined(view) if are_posed else ""
        print(f"{view.name}: {view.depth.shape[1]}x{view.depth.shape[0]}, {unit}{refined}")
        if estimator.engine.info.single_view and known[view.name] is None:
            print(f"{view.name}: its camera is assumed to see 60 degrees, since {estimator.record.name} cannot tell")
    for fault in estimate.faults:
        print(f"{fault.view}: {fault.text}", file=sys.stderr)
    # Poses in metres and depth without a unit make no scene.
    withheld = JOINT if are_posed and len(shots) > 1 and not estimate.scale.metric else ()
    if are_posed and not estimate.scale.metric:
        print(f"note: depth is relative although poses are given: {estimate.scale.message}", file=sys.stderr)

    def cloud(voxel: float = arguments.voxel) -> tuple:
        return colored_points(estimate.views, arguments.min_confidence, voxel, arguments.max_stddev)[:2]

    def colmap() -> Path:
        grid = arguments.voxel or COLMAP_GRID * _median_depth(estimate)
        sizes = {shot.view.name: (shot.view.image.shape[1], shot.view.image.shape[0]) for shot in shots}
        write_colmap(output / "colmap", estimate, sizes, _colmap_names(shots, output / "colmap"), *cloud(grid))
        return output / "colmap"

    def gaussians() -> Path:
        assert estimate.gaussians is not None
        write_gaussian_ply(output / "gaussians.ply", estimate.gaussians)
        return output / "gaussians.ply"

    writers: dict[str, Callable[[], Path]] = {
        "npz": lambda: _write_arrays(output, estimate),
        "png": lambda: _write_pictures(output, estimate),
        "ply": lambda: write_ply(output / "cloud.ply", *cloud()),
        "glb": lambda: write_glb(output / "scene.glb", estimate, *cloud()),
        "colmap": colmap,
        "gaussians": gaussians,
    }
    origin = arguments.poses or arguments.images[0]
    for name in dict.fromkeys(arguments.format):
        if name in withheld:
            print(
                f"{name}: withheld, since depth is relative and the poses are in metres: correct {origin} "
                "(T_world_camera, a line an image in their order), give --metres-per-unit, or leave --poses out",
                file=sys.stderr,
            )
        else:
            print(f"{name}: {writers[name]()}")
    return LOST if estimate.faults or set(withheld) & set(arguments.format) else 0


def _check_output(output: Path, shots: Sequence[Shot]) -> None:
    """Raise ValueError where a result would be written over an image, or the folder is a file."""
    file = next((place for place in (output, *output.parents) if place.exists() and not place.is_dir()), None)
    if file is not None:
        raise ValueError(f"-o {output}: {file} is a file: name a folder for the results")
    sources = {shot.path.resolve() for shot in shots}
    for name in (shot.view.name for shot in shots):
        for end in (".png", ".depth.png", ".npz"):
            if (output / (name + end)).resolve() in sources:
                raise ValueError(f"{output / (name + end)} is one of the images: choose another folder for the results")


def _colmap_names(shots: Sequence[Shot], folder: Path) -> dict[str, str]:
    """Name of each view's image for COLMAP: its path below what the images have in common. Where such names have
    blanks, which COLMAP's text files cannot hold, all images are laid beside the model under other ones.
    """
    names = names_below([shot.path for shot in shots])
    safe = without_blanks(names)
    if safe != names:
        for shot, name in zip(shots, safe, strict=True):
            (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(shot.path, folder / "images" / name)
        print(
            f"note: COLMAP's files cannot name images with blanks: copies with _ for them lie in {folder / 'images'}",
            file=sys.stderr,
        )
    return {shot.view.name: name for shot, name in zip(shots, safe, strict=True)}


def _refined(view: ViewEstimate) -> str:
    """What the refinement did to a view, in words."""
    told = view.refinement
    if told is None:
        return ""
    if not told.applied:
        return f", not refined: {told.message}"
    residual = "" if math.isnan(told.after) else f", residual {told.before:.3f} before and {told.after:.3f} after"
    return f", refined: {100 * told.share:.0f} % of its pixels measured{residual}"


def _write_arrays(output: Path, estimate: Estimate) -> Path:
    """NAME.npz with depth, confidence, K, T_world_camera and whether depth is in metres; stddev where it is known."""
    for view in estimate.views:
        arrays: dict[str, NDArray[Any]] = {
            "depth": view.depth,
            "confidence": view.confidence,
            "K": view.camera.K,
            "T_world_camera": view.pose.T_world_camera,
            "metric": np.array(estimate.scale.metric),
        }
        if view.stddev is not None:
            arrays["stddev"] = view.stddev
        np.savez_compressed(output / f"{view.name}.npz", **arrays)  # type: ignore[arg-type]  # takes them for its flag
    return output / "*.npz"


def _write_pictures(output: Path, estimate: Estimate) -> Path:
    """NAME.png for people, and NAME.depth.png in thousandths of the unit (millimetres of metric depth), 0 for none."""
    for view in estimate.views:
        colours = cv2.cvtColor(depth_to_color(view.depth), cv2.COLOR_RGB2BGR)
        for end, pixels in ((".png", colours), (".depth.png", depth_to_millimetres(view.depth))):
            (output / f"{view.name}{end}").write_bytes(marked(cv2.imencode(".png", pixels)[1].tobytes()))
    return output / "*.depth.png"


def _median_depth(estimate: Estimate) -> float:
    depths = np.concatenate([view.depth[np.isfinite(view.depth)] for view in estimate.views])
    return float(np.median(depths)) if len(depths) else 1.0
