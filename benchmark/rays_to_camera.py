# SPDX-License-Identifier: Apache-2.0
"""Cameras from ray maps, ours beside upstream's function on the same maps: ``python benchmark/rays_to_camera.py``.

Four cameras whose principal points lie off the centre, as ray maps of 280 x 504 images (160 x 288 rays each): exact,
and with 30 % of the rays replaced by nonsense. Prints the largest errors and the median times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from da3_ros.geometry import camera_to_rays, rays_to_camera
from da3_ros.geometry.poses import from_rotation_translation, invert, matrix_from_quaternion, rotation_angle

HEIGHT, WIDTH = 280, 504
ROWS, COLUMNS = 160, 288
Array = NDArray[np.floating[Any]]
Recover = Callable[[NDArray[np.float32]], tuple[Array, Array]]
"""Poses and focal lengths from a ray map."""


def measure(off: float = 0.2, repeat: int = 7) -> dict[str, dict[str, tuple[float, float, list[float]]]]:
    """Largest error of rotation (degrees) and focal length (percent), and seconds, by case and by whose function.

    off: principal point's offset from the centre, in image sizes. Raises ImportError without upstream's package.
    """
    from depth_anything_3.utils.ray_utils import get_extrinsic_from_camray

    rng = np.random.default_rng(0)
    turn = np.array([[1.0, 0, 0, 0]]) + 0.15 * rng.normal(size=(4, 4))
    pose = from_rotation_translation(matrix_from_quaternion(turn), rng.normal(size=(4, 3)))
    cx, cy = (0.5 + off) * COLUMNS, (0.5 - off) * ROWS
    k = np.array([[0.9 * COLUMNS, 0, cx], [0, 0.9 * COLUMNS, cy], [0, 0, 1]]) + np.zeros((4, 1, 1))
    exact = camera_to_rays(k, pose, ROWS, COLUMNS).astype(np.float32)
    spoilt = exact.copy()
    where = rng.random(exact.shape[:-1]) < 0.3
    spoilt[where] = rng.normal(size=(int(where.sum()), 6))

    def upstream(ray: NDArray[np.float32]) -> tuple[Array, Array]:
        rays, confidence = torch.from_numpy(ray)[None], torch.ones(1, *ray.shape[:-1])
        world, focal, _ = get_extrinsic_from_camray(rays, confidence, ROWS, COLUMNS)
        # It gives focal lengths as a share of half the image, and the pose as T_camera_world or its inverse by version.
        return world[0].double().numpy(), focal[0].double().numpy() * np.array([COLUMNS, ROWS]) / 2

    def ours(ray: NDArray[np.float32]) -> tuple[Array, Array]:
        world, intrinsics = rays_to_camera(ray, np.ones(ray.shape[:-1], np.float32), ROWS, COLUMNS)
        return world, intrinsics[:, [0, 1], [0, 1]]

    found: dict[str, dict[str, tuple[float, float, list[float]]]] = {}
    for name, ray in (("exact", exact), ("30 % outliers", spoilt)):
        found[name] = {}
        for label, function in (("upstream", upstream), ("ours", ours)):
            (world, focal), seconds = _timed(function, ray, repeat)
            angle = min(_rotation(world, pose), _rotation(invert(_square(world)), pose))
            error = 100 * float(np.abs(focal / k[:, [0, 1], [0, 1]] - 1).max())
            found[name][label] = angle, error, seconds
    return found


def main() -> int:
    """Print the table; exit code 1 where upstream's package is not installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--off-centre", type=float, default=0.2, help="principal point's offset, in image sizes")
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    try:
        found = measure(arguments.off_centre, arguments.repeat)
    except ImportError as error:
        print(f"upstream's package is not here ({error}): make env installs it", file=sys.stderr)
        return 1
    print(
        f"4 views, {ROWS} x {COLUMNS} rays each, principal point off by {100 * arguments.off_centre:.0f} % of the image"
    )
    print(f"{'':<26}{'rotation':>12}{'focal':>10}{'time':>12}")
    for name, ways in found.items():
        times = {}
        for label, (angle, focal, seconds) in ways.items():
            times[label] = statistics.median(seconds)
            print(f"{name + ', ' + label:<26}{angle:9.4f} deg{focal:8.3f} %{1e3 * times[label]:9.1f} ms")
        print(f"{name}: ours is {times['upstream'] / times['ours']:.0f} times as fast")
    return 0


def _timed(function: Recover, ray: NDArray[np.float32], repeat: int) -> tuple[tuple[Array, Array], list[float]]:
    torch.manual_seed(0)
    result = function(ray)
    seconds = []
    for _ in range(repeat):
        begin = time.perf_counter()
        function(ray)
        seconds.append(time.perf_counter() - begin)
    return result, seconds


def _square(world: Array) -> Array:
    return from_rotation_translation(world[:, :3, :3], world[:, :3, 3])


def _rotation(world: Array, pose: Array) -> float:
    return float(np.degrees(rotation_angle(np.swapaxes(world[:, :3, :3], 1, 2) @ pose[:, :3, :3])).max())


if __name__ == "__main__":
    sys.exit(main())
