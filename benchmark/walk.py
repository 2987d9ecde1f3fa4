# SPDX-License-Identifier: Apache-2.0
"""A rendered walk of one camera through a held-out room, with the truth: poses and depth of every frame.

``python benchmark/walk.py --out FOLDER`` renders one and keeps it; the other commands render theirs by themselves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))

from da3_ros.geometry import CameraModel

if TYPE_CHECKING:
    from da3_training.scenes.room import Scene

WIDTH, HEIGHT = 320, 240
FIELD_OF_VIEW = np.radians(80)
EYE = 1.2
"""Height of the camera in metres."""


@dataclass(frozen=True)
class Walk:
    """What the camera saw, and the truth."""

    camera: CameraModel
    images: NDArray[np.uint8]
    """(N, H, W, 3) RGB."""
    depths: NDArray[np.float32]
    """(N, H, W) metres along the optical axis, 0 unknown."""
    poses: NDArray[np.float64]
    """T_world_camera (N, 4, 4)."""


def load_walk(folder: Path | None, frames: int, seed: int, cache: Path, wheels: Path | None, assets: bool) -> Walk:
    """The walk of a folder, rendered first where it is not there."""
    path = None if folder is None else folder / f"walk_{seed}_{frames}.npz"
    if path is not None and path.exists():
        content = np.load(path)
        arrays = [content[name] for name in ("images", "depths", "poses")]
        return Walk(CameraModel.from_matrix(content["K"], WIDTH, HEIGHT), *arrays)
    walk = render(frames, seed, cache, wheels, assets)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path, images=walk.images, depths=walk.depths.astype(np.float16), poses=walk.poses, K=walk.camera.K
        )
    return walk


def render(frames: int, seed: int, cache: Path, wheels: Path | None, assets: bool) -> Walk:
    """A loop around the middle of a room, looking across it; tries rooms until one has a free path with a view."""
    from tqdm import tqdm

    from da3_training.scenes.cameras import intrinsics
    from da3_training.scenes.generate import Studio
    from da3_training.scenes.room import make_scene
    from da3_training.scenes.sensor import Sensor
    from da3_training.scenes.sources import open_assets

    studio = Studio(*open_assets("heldout", cache, wheels, assets), "heldout")
    k = intrinsics(WIDTH, HEIGHT, FIELD_OF_VIEW)
    for attempt in range(300):
        rng = np.random.default_rng([seed, attempt, 300])
        scene = make_scene(studio.library, studio.bank, rng, "room")
        poses = _free_loop(scene, rng, frames)
        if poses is None:
            continue
        studio.renderer.load(scene.mesh, studio.pixels(scene.own_textures), scene.lighting, (scene.lo, scene.hi))
        looks = [
            studio.renderer.render(intrinsics(64, 48, FIELD_OF_VIEW), T, 64, 48)[1] for T in poses[:: frames // 16]
        ]
        if not all(_has_a_view(depth) for depth in looks):
            continue
        sensor = Sensor(
            brightness=0.22,
            exposure_jitter=0.03,
            white_balance=np.array([1.03, 1.0, 0.96]),
            gamma=2.2,
            contrast=0.2,
            saturation=1.0,
            vignette=0.1,
            blur=0.4,
            motion=0.0,
            noise=0.006,
            shade=0.5,
            quality=90,
        )
        images, depths = [], []
        for T in tqdm(poses, desc="rendering", unit="frame"):
            linear, depth = studio.renderer.render(k, T, WIDTH, HEIGHT)
            images.append(sensor.expose(linear, depth, rng))
            depths.append(depth)
        return Walk(CameraModel.from_matrix(k, WIDTH, HEIGHT), np.stack(images), np.stack(depths), np.stack(poses))
    raise RuntimeError(f"seed {seed}: no room with a free loop in 300 tries; choose another seed")


def _free_loop(scene: Scene, rng: np.random.Generator, frames: int) -> list[NDArray[np.float64]] | None:
    from da3_training.scenes.cameras import is_free, pose_of

    centre, half = (scene.lo + scene.hi)[:2] / 2, (scene.hi - scene.lo)[:2] / 2
    if half.min() < 1.5:
        return None
    for share in rng.uniform(0.3, 0.75, 8):
        poses = list(_loop(centre, share * half, rng, frames, pose_of))
        if all(is_free(scene, T[:3, 3], 0.15) for T in poses):
            return poses
    return None


def _loop(
    centre: NDArray[np.float64],
    radii: NDArray[np.float64],
    rng: np.random.Generator,
    frames: int,
    pose_of: Callable[[NDArray[np.float64], float, float, float], NDArray[np.float64]],
) -> Iterator[NDArray[np.float64]]:
    begin, wobble = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi, 4)
    for angle in np.linspace(0, 2 * np.pi, frames, endpoint=False):
        t = begin + angle
        position = np.array([*(centre + radii * [np.cos(t), np.sin(t)]), EYE + 0.05 * np.sin(3 * angle + wobble[0])])
        inward = np.arctan2(*(centre - position[:2])[::-1])
        yaw = inward + 0.35 * np.sin(2 * angle + wobble[1])
        yield pose_of(position, yaw, -0.12 + 0.06 * np.sin(3 * angle + wobble[2]), 0.03 * np.sin(5 * angle + wobble[3]))


def _has_a_view(depth: NDArray[np.float32]) -> bool:
    valid = depth[depth > 0]
    if len(valid) < 0.9 * depth.size:
        return False
    low, middle, high = np.percentile(valid, [5, 50, 90])
    return bool(low > 0.35 and middle > 1.0 and high / low > 1.6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where a walk comes from."""
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--walk", type=Path, default=None, help="folder that keeps rendered walks")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "da3_training" / "scenes")
    parser.add_argument("--wheels", type=Path, default=None, help="folder with wheels of the texture packages")
    parser.add_argument("--assets", choices=("auto", "none"), default="auto", help="none: procedural scenes only")


def walk_of(arguments: argparse.Namespace) -> Walk:
    """The walk that the arguments ask for."""
    a = arguments
    return load_walk(a.walk, a.frames, a.seed, a.cache, a.wheels, a.assets != "none")


def main() -> int:
    """Render, and write a strip of pictures beside the walk."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    walk = walk_of(arguments)
    strip = np.hstack(list(walk.images[:: max(1, len(walk.images) // 8)][:8]))
    folder = arguments.walk or Path()
    cv2.imwrite(str(folder / f"walk_{arguments.seed}.png"), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))
    length = np.linalg.norm(np.diff(walk.poses[:, :3, 3], axis=0), axis=1).sum()
    print(f"{len(walk.images)} frames, {length:.1f} m; depth {np.median(walk.depths[walk.depths > 0]):.2f} m")
    return 0


if __name__ == "__main__":
    sys.exit(main())
