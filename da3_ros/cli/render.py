# SPDX-License-Identifier: Apache-2.0
"""``da3 render``: pictures and videos of 3D Gaussians, without ROS."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.poses import read_tum
from da3_ros.files.frames import NAME as FRAME
from da3_ros.files.frames import check_place, frame_writer, writing
from da3_ros.files.gaussians import read_gaussian_ply
from da3_ros.geometry import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.render.config import RenderConfig, Rendering
from da3_ros.render.renderers import RENDERERS, choose_renderer
from da3_ros.render.trajectories import TRAJECTORIES, base_pose, fly, resample

NAME = "render"
HELP = "draw 3D Gaussians along a trajectory, as a video or as images"
FRAMES = 90
"""Of a trajectory that is computed: three seconds."""
MOST_FRAMES = 10**6
SLOWEST, FASTEST = 0.01, 1000.0
"""Frames a second; MPEG-4 has no others."""
MOST_SIDE = 8192
"""Of a frame, in pixels."""
LEAST_COVER = 0.01
"""Share of the pixels that Gaussians cover; with less, something is likely to be wrong."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "gaussians",
        type=Path,
        help="PLY file in the layout of 3D Gaussian Splatting: gaussians.ply of `da3 images --format gaussians`, or "
        "that of another program, with harmonics of degree 0 to 3",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="what is written: a video .mp4, an image .png, else a folder"
    )
    parser.add_argument(
        "--trajectory",
        default="orbit",
        metavar="|".join((*TRAJECTORIES, "FILE")),
        help="orbit: an arc of 12 degrees to either side of the first view; wobble: a small figure of eight; spiral: "
        "two turns that grow and go forward; each looks at the middle of what is seen and ends where it began. FILE: "
        "poses in TUM's format, a line a pose: seconds x y z qx qy qz qw; T_world_camera in the scene's unit, camera "
        "axes x right, y down, z forward (default: %(default)s)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help=f"how many are drawn; default: those of FILE as they are, {FRAMES} of a word, 1 for .png. Of FILE they "
        "then lie evenly between the first and the last moment, rotations by slerp",
    )
    parser.add_argument("--fps", type=float, default=30.0, help="frames a second of a video (default: %(default)g)")
    parser.add_argument(
        "--size", type=_size, default=(640, 360), metavar="WxH", help="width x height in pixels (default: 640x360)"
    )
    view = parser.add_mutually_exclusive_group()
    view.add_argument(
        "--camera",
        nargs=4,
        type=float,
        metavar=("FX", "FY", "CX", "CY"),
        help="intrinsics in pixels of --size, pixel centres at integers",
    )
    view.add_argument(
        "--fov", type=float, default=60.0, help="horizontal field of view in degrees (default: %(default)g)"
    )
    parser.add_argument(
        "--background",
        nargs=3,
        type=float,
        default=(0.0, 0.0, 0.0),
        metavar=("R", "G", "B"),
        help="colour behind everything, 0 to 1 (default: black)",
    )
    parser.add_argument(
        "--near",
        type=float,
        default=0.01,
        help="depth from which on Gaussians are drawn, in the scene's unit (default: %(default)g)",
    )
    parser.add_argument(
        "--antialiased",
        action="store_true",
        help="opacities make up for the blur of 0.3 square pixels, as in Mip-Splatting: for scenes trained so",
    )
    parser.add_argument(
        "--degree",
        type=int,
        help="of the harmonics, up to which colour depends on the direction; default: all there are",
    )
    parser.add_argument(
        "--renderer",
        default="auto",
        choices=RENDERERS,
        help="cpu: NumPy; gsplat: on a CUDA GPU, with PyTorch (never run on one yet); auto: gsplat where it can",
    )
    parser.add_argument(
        "--arrays",
        action="store_true",
        help="in a folder: beside each image depth, alpha, K and T_world_camera as .npz",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar")


@dataclass(frozen=True)
class _Flight:
    """Where the camera goes."""

    poses: NDArray[np.float64]
    """T_world_camera (N, 4, 4)."""
    notes: tuple[str, ...] = ()


def run(arguments: argparse.Namespace) -> int:
    """Draw and write; says with what, where it is, and seconds a frame."""
    from tqdm import tqdm

    camera, (width, height) = _camera(arguments), arguments.size
    config = RenderConfig(tuple(arguments.background), arguments.near, arguments.antialiased, arguments.degree)
    if not SLOWEST <= arguments.fps <= FASTEST:
        raise ValueError(f"--fps {arguments.fps:g}: allowed are {SLOWEST:g} to {FASTEST:g} frames a second")
    if arguments.frames is not None and not 1 <= arguments.frames <= MOST_FRAMES:
        raise ValueError(f"--frames {arguments.frames}: allowed are 1 to {MOST_FRAMES}")
    output: Path = arguments.output
    is_folder = output.suffix.lower() not in (".mp4", ".png")
    if arguments.arrays and not is_folder:
        raise ValueError(f"--arrays: depth and alpha are written beside images: name a folder, not {output}")
    gaussians = read_gaussian_ply(arguments.gaussians)
    if arguments.camera and not (width / 4 <= camera.cx < 3 * width / 4 and height / 4 <= camera.cy < 3 * height / 4):
        print(
            f"note: CX CY of --camera, {camera.cx:g} {camera.cy:g}, are far from the middle of {width}x{height}: "
            "are FX FY CX CY in pixels of --size, and not of a larger or smaller image?",
            file=sys.stderr,
        )
    flight = _flight(arguments, gaussians, camera)
    check_place(output, len(flight.poses), arguments.size, overwrite=arguments.overwrite)
    render, how = choose_renderer(arguments.renderer, gaussians, config)
    for note in flight.notes:
        print(f"note: {note}", file=sys.stderr)
    cover, seconds = [], 0.0
    bar = tqdm(flight.poses, unit="frame", disable=arguments.quiet, dynamic_ncols=True)
    with frame_writer(output, arguments.size, arguments.fps) as write:
        for number, pose in enumerate(bar):
            begin = time.perf_counter()
            seen = render(camera, pose)
            seconds += time.perf_counter() - begin
            cover.append(float(seen.alpha.mean()))
            write(seen.pixels())
            if arguments.arrays:
                _write_arrays(output / f"{FRAME.format(number)}.npz", seen, camera, pose)
    count = len(flight.poses)
    print(
        f"{output}: {count} frame{'s' if count > 1 else ''} of {width}x{height}, {len(gaussians.opacities)} Gaussians "
        f"{how}, {seconds / count:.2f} s a frame"
    )
    if max(cover) < LEAST_COVER:
        print(
            f"note: Gaussians cover {100 * max(cover):.1f} % of the fullest frame: is --trajectory T_world_camera, in "
            "the scene's unit, and --near in front of it?",
            file=sys.stderr,
        )
    return 0


def _size(text: str) -> tuple[int, int]:
    """Width and height of ``640x360``."""
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if not found or not all(1 <= int(side) <= MOST_SIDE for side in found.groups()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; wanted is width x height in pixels, 1 to {MOST_SIDE} each, as 640x360"
        )
    return int(found[1]), int(found[2])


def _camera(arguments: argparse.Namespace) -> CameraModel:
    width, height = arguments.size
    if arguments.camera is not None:
        return CameraModel.pinhole(width, height, *arguments.camera)
    if not 1 <= arguments.fov <= 170:
        raise ValueError(f"--fov {arguments.fov:g}: allowed are 1 to 170 degrees; more is no pinhole's")
    focal = width / 2 / math.tan(math.radians(arguments.fov) / 2)
    return CameraModel.pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def _flight(arguments: argparse.Namespace, gaussians: Gaussians, camera: CameraModel) -> _Flight:
    """Poses by the name of a trajectory, or from a file."""
    name, frames = arguments.trajectory, arguments.frames
    if not len(gaussians.opacities):
        raise ValueError(f"{arguments.gaussians} holds no Gaussian: there is nothing to draw")
    if name in TRAJECTORIES:
        tan_half = (camera.width / 2 / camera.fx, camera.height / 2 / camera.fy)
        base, distance, at_origin = base_pose(gaussians, tan_half)
        notes = (
            ()
            if at_origin
            else (
                "the origin sees little of the scene along +z, where scenes of DA3 have their first camera: it is "
                "looked at from in front of its middle; --trajectory FILE puts the camera elsewhere",
            )
        )
        count = frames or (1 if arguments.output.suffix.lower() == ".png" else FRAMES)
        return _Flight(fly(name, base, distance, count), notes)
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"--trajectory {name}: no such file; allowed are {', '.join(TRAJECTORIES)}, or a file of poses"
        )
    stamps, poses = read_tum(path)
    if not len(poses):
        raise ValueError(f"{path} has no poses: wanted is a line a pose: seconds x y z qx qy qz qw")
    if frames is None:
        return _Flight(poses)
    try:
        return _Flight(resample((stamps - stamps[0]) / 1e9, poses, frames))
    except ValueError as error:
        raise ValueError(f"{path}: {error}: leave --frames out, or give it rising seconds") from error


def _write_arrays(path: Path, seen: Rendering, camera: CameraModel, pose: NDArray[np.float64]) -> None:
    with writing(path) as stream:
        np.savez_compressed(stream, depth=seen.depth, alpha=seen.alpha, K=camera.K, T_world_camera=pose)
