# SPDX-License-Identifier: Apache-2.0
"""Lanes of rooms: which room, cameras and light a step sees. All of it follows from seed, step and lane.

Building a room costs as much as rendering dozens of views of it. So every lane keeps a room for some steps before it
builds the next; lanes change rooms in turn, not all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_training.config import StudioConfig
from da3_training.data.batch import OBJECT, SKY, SKY_KNOWN, VALID, RawScene
from da3_training.data.records import BrokenSampleError
from da3_training.data.samples import Draw, SampleConfig, looks_of
from da3_training.data.window import MIRROR
from da3_training.scenes.arrays import Pixels
from da3_training.scenes.assets import Library
from da3_training.scenes.cameras import candidates, intrinsics, tells
from da3_training.scenes.generate import FIELD_OF_VIEW
from da3_training.scenes.lens import draw_distortion, focal_factor
from da3_training.scenes.render import Renderer, Stage
from da3_training.scenes.room import Scene, make_scene
from da3_training.scenes.sensor import Sensor
from da3_training.scenes.textures import TextureBank

Kind = TypeVar("Kind", bound=np.generic)
ROOMS = 20
"""Rooms that are built in place of one without usable views before a sample is given up."""
KEPT = 1 << 28
"""Bytes of textures that a process keeps at the size of the studio: at 256 x 256 all 815 that packages have."""
CLUSTER = 6
"""Poses of a cluster, of which a sample takes some: like those on disk."""


class Lanes:
    """The lanes of one process, on one renderer; stands for a data set in `da3_training.data.samples.Sampler`."""

    def __init__(
        self,
        library: Library,
        bank: TextureBank,
        config: StudioConfig,
        seed: tuple[int, ...],
        renderer: Renderer | None = None,
    ) -> None:
        """seed: of the run and of the training process. renderer: what draws; default: one of its own."""
        self._config, self._seed = config, seed
        self._library, self._bank = library, bank
        self._renderer = Renderer() if renderer is None else renderer
        self._lanes: dict[int, Lane] = {}
        self.pixels = lru_cache(maxsize=max(1, KEPT // (4 * config.texture_size**2)))(self._resized)
        """The image of a key of the bank at the studio's size, RGBA uint8 (texture_size, texture_size, 4)."""

    def sample(self, step: int, number: int, rng: np.random.Generator, drawn: Draw, samples: SampleConfig) -> RawScene:
        """Scene `number` of a step; raises BrokenSampleError where 20 rooms gave no usable views."""
        lane = self._config.lane_of(step, number)
        if lane not in self._lanes:
            self._lanes[lane] = Lane(
                self._renderer, self._library, self._bank, self.pixels, self._config, self._seed, lane
            )
        return self._lanes[lane].scene(step, rng, drawn, samples)

    def _resized(self, key: str) -> Pixels:
        return resized(self._bank.pixels(key), self._config.texture_size)


class Lane:
    """One room at a time, on a renderer that it shares with the other lanes of its process."""

    def __init__(
        self,
        renderer: Renderer,
        library: Library,
        bank: TextureBank,
        pixels: Callable[[str], Pixels],
        config: StudioConfig,
        seed: tuple[int, ...],
        number: int,
    ) -> None:
        """pixels: textures of the bank at the studio's size; seed: of the run; number: which lane this is."""
        self._renderer, self._library, self._bank, self._config = renderer, library, bank, config
        self._pixels, self._seed, self._number = pixels, (*seed, number), number
        self._block = -1
        self._room: tuple[Scene, Stage] | None = None

    def block(self, step: int) -> int:
        """Number of the room that `step` sees; lanes change theirs at different steps."""
        period = self._config.steps_per_room
        return (step + self._number * period // self._config.lanes) // period

    def scene(self, step: int, rng: np.random.Generator, drawn: Draw, samples: SampleConfig) -> RawScene:
        """Views of the room of `step`, drawn with `rng`; raises BrokenSampleError where 20 rooms gave none."""
        block = self.block(step)
        if block != self._block:
            self._open(block, 0)
        for attempt in range(1, ROOMS + 1):
            assert self._room is not None
            found = self._views(*self._room, rng, drawn, samples)
            if found is not None:
                return found
            # The room that stands in serves this sample alone: what the next step sees must follow from its number.
            self._open(block, attempt)
            self._block = -1
        raise BrokenSampleError(f"studio, lane {self._number}, step {step}: {ROOMS} rooms gave no usable views")

    def _open(self, block: int, attempt: int) -> None:
        if self._room is not None:
            self._room[1].release()
        rng = np.random.default_rng((*self._seed, block, attempt))
        scene = make_scene(self._library, self._bank, rng)
        self._room, self._block = (scene, staged(self._renderer, scene, self._pixels, self._config.texture_size)), block

    def _views(
        self, scene: Scene, stage: Stage, rng: np.random.Generator, drawn: Draw, samples: SampleConfig
    ) -> RawScene | None:
        """One sample of a room; None where no cluster of cameras sees enough."""
        self._renderer.show(stage)
        height, width, views = drawn.height, drawn.width, drawn.views
        hfov = float(np.radians(rng.uniform(*FIELD_OF_VIEW)))
        if samples.augment:
            hfov = 2 * float(np.arctan(np.tan(hfov / 2) * rng.uniform(*samples.zoom)))
        K = intrinsics(width, height, hfov)
        pictures = np.empty((views, height, width, 3), np.uint8)
        depth = np.empty((views, height, width), np.float32)
        for _, poses in candidates(scene, rng, max(CLUSTER, views), hfov, lambda T: True):
            chosen = [poses[i] for i in rng.permutation(len(poses))[:views]]
            for i, T in enumerate(chosen):
                self._renderer.queue(K, T, width, height, i)
            for i in range(views):
                self._renderer.fetch(width, height, i, pictures[i], depth[i])
            if all(tells(view[::3, ::3], rng) for view in depth):
                break
        else:
            return None
        distortion = draw_distortion(rng)
        K[0, 0], K[1, 1] = (K[i, i] * focal_factor(distortion) for i in (0, 1))
        pose = np.stack(chosen)
        if samples.augment and rng.random() < 0.5:
            pictures, depth = mirrored(pictures), mirrored(depth)
            K[0, 2] = width - 1 - K[0, 2]
            pose = MIRROR @ pose @ MIRROR
        # As bytes: times whole numbers they would become eight bytes a pixel on the way.
        sky = (depth == 0).view(np.uint8)
        near = ((depth > 0) & (depth < samples.max_depth)).view(np.uint8)
        return RawScene(
            pictures=pictures,
            depth=depth,
            marks=near * np.uint8(VALID) | sky * np.uint8(SKY) | np.uint8(SKY_KNOWN | OBJECT),
            intrinsics=np.tile(K, (views, 1, 1)).astype(np.float32),
            pose=(np.linalg.inv(pose[0]) @ pose).astype(np.float32),
            looks=looks_of(samples, rng, views),
            sensors=Sensor.draw(rng).rows(rng, views, distortion),
            metric=True,
            rendered=True,
        )


def staged(renderer: Renderer, scene: Scene, pixels: Callable[[str], Pixels], side: int) -> Stage:
    """A scene put on the renderer's device. pixels: textures that are not its own, RGBA (side, side, 4)."""

    def image(key: str) -> Pixels:
        own = scene.own_textures.get(key)
        return pixels(key) if own is None else resized(own, side)

    return renderer.upload(scene.mesh, image, scene.lighting, (scene.lo, scene.hi), side)


def mirrored(views: NDArray[Kind]) -> NDArray[Kind]:
    """Views (S, H, W) or (S, H, W, 3), left and right changed over; contiguous, which later copies are fast with."""
    out = np.empty_like(views)
    for view, other in zip(views, out, strict=True):
        cv2.flip(view, 1, other)
    return out


def resized(image: Pixels, side: int) -> Pixels:
    """A square texture at `side` x `side`."""
    if image.shape[0] == side:
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
