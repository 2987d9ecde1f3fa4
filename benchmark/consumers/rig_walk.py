# SPDX-License-Identifier: Apache-2.0
"""The walk of `benchmark/walk.py` with a second camera at a known place: a stereo pair that walks through a held-out
room, with the true depth and pose of every frame.

Room, path and exposure are those of `walk.py` for the same seed; images are larger, as features of SLAM want them.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2] / "training"))

from walk import FIELD_OF_VIEW, Walk, _free_loop, _has_a_view

from da3_ros.atomic import write_atomically
from da3_ros.geometry import CameraModel

WIDTH, HEIGHT = 640, 480
BASELINE = 0.2
"""Metres from the left camera to the right one, as between the front cameras of the shipped recording."""
LAP = 150
"""Frames of the whole loop: at ten a second about 0.6 m and 24 degrees a second."""
JPEG_QUALITY = 95
TRIES = 300


class RigWalk(Walk):
    """A walk of both cameras, left then right, which have one model: images (N, 2, H, W, 3), depths (N, 2, H, W), poses
    (N, 2, 4, 4); world z is up, the floor at 0.
    """


def load_rig_walk(folder: Path, frames: int, seed: int, cache: Path, wheels: Path | None, assets: bool) -> RigWalk:
    """The first `frames` of the loop, from `folder`; rendered into it where they are not there: two seconds a frame.

    Raises RuntimeError where no room of the seed has a free loop.
    """
    path = folder / f"rig_walk_{seed}_{frames}.npz"
    if path.exists():
        return _read(path)
    walk = render(frames, seed, cache, wheels, assets)
    folder.mkdir(parents=True, exist_ok=True)
    _write(path, walk)
    return _read(path)


def render(frames: int, seed: int, cache: Path, wheels: Path | None, assets: bool) -> RigWalk:
    """The first `frames` of a loop of `LAP` frames; cache, wheels, assets: as `open_assets` takes them."""
    from tqdm import tqdm

    from da3_training.scenes.cameras import intrinsics, is_free
    from da3_training.scenes.generate import Studio
    from da3_training.scenes.room import make_scene
    from da3_training.scenes.sensor import Sensor
    from da3_training.scenes.sources import open_assets

    studio = Studio(*open_assets("heldout", cache, wheels, assets), "heldout")
    k = intrinsics(WIDTH, HEIGHT, FIELD_OF_VIEW)
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, attempt, 300])
        scene = make_scene(studio.library, studio.bank, rng, "room")
        left = _free_loop(scene, rng, LAP)
        if left is None:
            continue
        pairs = [(T, beside(T, BASELINE)) for T in left]
        if not all(is_free(scene, right[:3, 3], 0.1) for _, right in pairs):
            continue
        studio.renderer.load(scene.mesh, studio.pixels(scene.own_textures), scene.lighting, (scene.lo, scene.hi))
        small = intrinsics(64, 48, FIELD_OF_VIEW)
        if not all(_has_a_view(studio.renderer.render(small, T, 64, 48)[1]) for T in left[:: LAP // 16]):
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
        images = np.empty((frames, 2, HEIGHT, WIDTH, 3), np.uint8)
        depths = np.empty((frames, 2, HEIGHT, WIDTH), np.float32)
        for number, pair in enumerate(tqdm(pairs[:frames], desc="rendering", unit="frame")):
            for side, T in enumerate(pair):
                linear, depths[number, side] = studio.renderer.render(k, T, WIDTH, HEIGHT)
                images[number, side] = sensor.expose(linear, depths[number, side], rng)
        camera = CameraModel.from_matrix(k, WIDTH, HEIGHT)
        return RigWalk(camera, images, depths, np.array(pairs[:frames]))
    raise RuntimeError(f"seed {seed}: no room with a free loop for two cameras in {TRIES} tries; choose another seed")


def beside(T_world_camera: NDArray[np.float64], metres: float) -> NDArray[np.float64]:
    """Pose (4, 4) of a camera that looks the same way from `metres` to the right."""
    out = T_world_camera.copy()
    out[:3, 3] += T_world_camera[:3, 0] * metres
    return out


def _write(path: Path, walk: RigWalk) -> None:
    """Images as JPEG, depth in half precision (0.05 %)."""
    content: dict[str, Any] = {"K": walk.camera.K, "poses": walk.poses, "depths": walk.depths.astype(np.float16)}
    for number, pair in enumerate(walk.images):
        for side, image in enumerate(pair):
            _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            content[f"image{number}_{side}"] = jpeg
    stream = io.BytesIO()
    np.savez_compressed(stream, **content)
    write_atomically(path, stream.getvalue())


def _read(path: Path) -> RigWalk:
    with np.load(path) as content:
        poses = content["poses"]
        pixels = np.empty((len(poses), 2, HEIGHT, WIDTH, 3), np.uint8)
        for number, side in np.ndindex(len(poses), 2):
            image: Any = cv2.imdecode(content[f"image{number}_{side}"], cv2.IMREAD_COLOR)
            pixels[number, side] = image[..., ::-1]
        camera = CameraModel.from_matrix(content["K"], WIDTH, HEIGHT)
        return RigWalk(camera, pixels, content["depths"].astype(np.float32), poses)
