# SPDX-License-Identifier: Apache-2.0
"""Write rendered rooms to disk: `python -m da3_training.scenes.generate --out DIR --rooms N --seed S --split train`.

One directory a room, `<split>_<seed>_<index>/`: `view_00.jpg` ..., `view_00.depth.png` (uint16 millimetres along the
optical axis, 0 sky) and, written last, `scene.json` with intrinsics (pixel centres at integers) and
camera-to-world poses (OpenCV axes, metres). Complete rooms are left alone: an interrupted
run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import queue
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault(
    "LP_NUM_THREADS", "1"
)  # one software-rendering thread a process: the processes are the parallelism

import cv2
import numpy as np
from tqdm import tqdm

from da3_ros.atomic import write_atomically
from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.assets import Library
from da3_training.scenes.cameras import CLUSTERS, candidates, intrinsics, tells
from da3_training.scenes.lens import bend, draw_distortion, focal_factor
from da3_training.scenes.packs import Packs
from da3_training.scenes.render import Renderer
from da3_training.scenes.room import KINDS, make_scene
from da3_training.scenes.sensor import Sensor
from da3_training.scenes.sources import CACHE, open_assets
from da3_training.scenes.textures import TextureBank

if TYPE_CHECKING:
    from da3_training.scenes.worlds.world import World

log = logging.getLogger(__name__)
SIZES: tuple[tuple[tuple[int, int], float], ...] = (((336, 252), 0.6), ((336, 189), 0.25), ((252, 252), 0.15))
MAX_MM = 65_000
FIELD_OF_VIEW = (40, 110)
"""Of cameras, horizontal, in degrees."""


Result = tuple[int, int, float, str]
"""Of one room: its index, views written, seconds taken, and what went wrong."""


class Studio:
    """A renderer with the assets of one split: makes whole rooms."""

    def __init__(self, library: Library, bank: TextureBank, split: str, normals: bool = False) -> None:
        """library, bank: what `sources.open_assets` gives for `split`. normals: whether rooms get normal maps as well.

        Raises ValueError for textures of another split.
        """
        if bank.split != split:
            raise ValueError(f"textures of {bank.split!r} for a studio of {split!r}: open those of {split!r}")
        self.library, self.bank, self.split, self.normals = library, bank, split, normals
        self.renderer = Renderer()

    def pixels(self, own: dict[str, Pixels]) -> Callable[[str], Pixels]:
        return lambda key: own[key] if key in own else self.bank.pixels(key)

    def room(
        self,
        folder: Path,
        seed: int,
        index: int,
        clusters: int = 3,
        views: int = 6,
        kind: str | None = None,
        world: World | None = None,
        only: str | None = None,
    ) -> int:
        """Render one room into `folder`: of a kind, or a part of a `world`. Returns the number of views written.

        only: one of `cameras.CLUSTERS`, rather than all of them by their shares.
        """
        for attempt in range(20):
            rng = np.random.default_rng([seed, index, attempt, {"train": 0, "heldout": 1}[self.split]])
            scene = world.scene(self.bank, rng) if world else make_scene(self.library, self.bank, rng, kind)
            self.renderer.load(scene.mesh, self.pixels(scene.own_textures), scene.lighting, (scene.lo, scene.hi))
            width, height = SIZES[rng.choice(len(SIZES), p=[weight for _, weight in SIZES])][0]
            groups = []
            for _ in range(clusters):
                hfov = float(np.radians(rng.uniform(*FIELD_OF_VIEW)))
                accept = partial(self._acceptable, hfov=hfov, aspect=width / height, rng=rng)
                for cluster_kind, poses in candidates(scene, rng, views, hfov, accept, only):
                    if all(map(accept, poses)):
                        groups.append((cluster_kind, poses, hfov))
                        break
            if len(groups) == clusters:
                break
        else:
            raise RuntimeError(
                f"room {index} of seed {seed}: no usable camera views in 20 scenes; report the seed and index"
            )
        folder.mkdir(parents=True, exist_ok=True)
        described, number = [], 0
        for cluster_kind, poses, hfov in groups:
            drawn, sensor, entries = intrinsics(width, height, hfov), Sensor.draw(rng), []
            distortion = draw_distortion(rng)
            K = drawn.copy()
            K[0, 0], K[1, 1] = (drawn[i, i] * focal_factor(distortion) for i in (0, 1))
            for T in poses:
                linear, depth = bend(*self.renderer.render(drawn, T, width, height), distortion)
                name = f"view_{number:02d}"
                if self.normals:
                    normals = self.renderer.normals(drawn, T, width, height)
                    bent = [bend(linear, normals[..., i].copy(), distortion)[1] for i in range(3)]
                    write_normals(folder / f"{name}.normal.png", np.stack(bent, -1))
                photo = sensor.expose(linear, depth, rng)
                cv2.imwrite(str(folder / f"{name}.jpg"), photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])
                write_depth(folder / f"{name}.depth.png", depth)
                entries.append(
                    {
                        "image": f"{name}.jpg",
                        "depth": f"{name}.depth.png",
                        "K": K.tolist(),
                        "T_world_camera": T.tolist(),
                    }
                )
                number += 1
            described.append({"kind": cluster_kind, "distortion": distortion, "views": entries})
        content = {
            "version": 1,
            "width": width,
            "height": height,
            "split": self.split,
            "scene": scene.kind,
            "sky_is_zero": True,
            "clusters": described,
            "assets": scene.names,
        }
        write_atomically(folder / "scene.json", json.dumps(content).encode())
        return number

    def _acceptable(self, T: Floats, hfov: float, aspect: float, rng: np.random.Generator) -> bool:
        """Whether a quick small render is worth learning from."""
        width, height = 64, round(64 / aspect)
        supersample, self.renderer.supersample = self.renderer.supersample, 1
        _, depth = self.renderer.render(intrinsics(width, height, hfov), T, width, height)
        self.renderer.supersample = supersample
        return tells(depth, rng)


def write_depth(path: Path, depth: Floats) -> None:
    """Depth (H, W) metres, 0 sky -> 16-bit PNG in millimetres; too far for it (beyond 65 m): 65535, unknown."""
    mm = np.round(depth * 1000)
    mm[mm > MAX_MM] = 65535
    cv2.imwrite(str(path), mm.astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def write_normals(path: Path, normals: Floats) -> None:
    """Unit normals (H, W, 3) in the camera's frame -> 8-bit RGB PNG, 128 + 127 n; 0 0 0 for sky."""
    known = np.abs(normals).sum(-1, keepdims=True) > 0
    values = np.where(known, np.rint(128 + 127 * normals), 0).astype(np.uint8)
    cv2.imwrite(str(path), values[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _worker(options: argparse.Namespace, numbers: Queue[int | None], results: Queue[Result]) -> None:
    cv2.setNumThreads(1)
    studio = Studio(*_open(options), options.split, options.normals)
    world = _open_world(options)
    while (index := numbers.get()) is not None:
        start = time.time()
        try:
            folder, numbered = room_folder(options, index), (options.seed, index)
            views = studio.room(
                folder, *numbered, options.clusters, options.views, options.kind, world, options.cameras
            )
            results.put((index, views, time.time() - start, ""))
        except RuntimeError as error:
            results.put((index, 0, time.time() - start, str(error)))


def _open(options: argparse.Namespace) -> tuple[Library, TextureBank]:
    return open_assets(options.split, options.cache, options.wheels, options.assets != "none", options.packs)


def _open_world(options: argparse.Namespace) -> World | None:
    if options.world is None:
        return None
    from da3_training.scenes.worlds.world import World  # its readers of meshes are not on every machine that renders

    return World(options.world, options.models, options.ceiling)


def room_folder(options: argparse.Namespace, index: int) -> Path:
    return options.out / f"{options.split}_{options.seed}_{index:06d}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rooms", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("train", "heldout"), default="train")
    parser.add_argument(
        "--kind", choices=list(KINDS), help="scenes of one kind alone, rather than of all by their shares"
    )
    parser.add_argument(
        "--world", type=Path, help="rooms that are parts of a Gazebo world (.world, .sdf), not drawn ones"
    )
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="folders of models, besides Gazebo's own")
    parser.add_argument("--ceiling", type=float, help="metres: a ceiling for a world that has none")
    parser.add_argument(
        "--cameras",
        choices=list(CLUSTERS),
        help="clusters of one kind alone; rig: four cameras that look outwards, with overlap",
    )
    parser.add_argument("--clusters", type=int, default=3, help="clusters of overlapping views a room")
    parser.add_argument("--views", type=int, default=6, help="views a cluster")
    parser.add_argument("--normals", action="store_true", help="normal maps as well: view_NN.normal.png")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--assets",
        choices=("auto", "none"),
        default="auto",
        help="none: primitives and procedural textures only",
    )
    parser.add_argument(
        "--wheels",
        type=Path,
        default=None,
        help="folder with wheels of robosuite, metaworld, miniworld (textures)",
    )
    parser.add_argument(
        "--packs", type=Path, default=None, help="folder of `da3-train pack-scenes`, in place of packages and wheels"
    )
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args(arguments)
    if options.world is None and (options.models or options.ceiling is not None):
        parser.error("--models and --ceiling are for a --world")
    if options.world is not None and options.kind is not None:
        parser.error("--kind is for drawn rooms: a --world has its own")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    missing = [i for i in range(options.rooms) if not (room_folder(options, i) / "scene.json").exists()]
    log.info("%d of %d rooms to make in %s", len(missing), options.rooms, options.out)
    if options.packs is not None:
        Packs(options.packs, options.cache, check=True)  # every byte of them once, not in every process
    _open(options)  # from packages this fills the cache, before the processes look for it
    if options.world is not None:
        from da3_training.scenes.worlds.sdf import WorldError

        try:  # what is wrong with it is said once, not by every process
            world = _open_world(options)
        except WorldError as refusal:
            raise SystemExit(f"error: {refusal}") from refusal
        for note in world.notes if world else ():
            log.warning("%s", note)
    context = multiprocessing.get_context("spawn")
    numbers: Queue[int | None] = context.Queue()
    results: Queue[Result] = context.Queue()
    for i in missing:
        numbers.put(i)
    workers = [
        context.Process(target=_worker, args=(options, numbers, results), daemon=True)
        for _ in range(max(1, options.workers))
    ]
    for w in workers:
        numbers.put(None)
        w.start()
    start, images = time.time(), 0
    with tqdm(total=len(missing), unit="room", smoothing=0.05, mininterval=5) as bar:
        for _ in missing:
            while True:
                try:
                    _index, views, _seconds, error = results.get(timeout=10)
                    break
                except queue.Empty:
                    if not any(w.is_alive() for w in workers):
                        raise SystemExit("all rendering processes ended early; their messages are above") from None
            images += views
            if error:
                log.warning("%s", error)
            bar.update()
            bar.set_postfix_str(f"{images / (time.time() - start):.1f} images/s", refresh=False)
    for w in workers:
        w.join()


if __name__ == "__main__":
    main()
