# SPDX-License-Identifier: Apache-2.0
"""The parts of `train_rate` that supply images: rooms, textures, cameras, drawing by software, photographs."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from train_rate_idle import IdleRenderer, RecordingRenderer
from train_rate_sums import Timing

from da3_training.config import TrainConfig
from da3_training.data.batch import RawScene
from da3_training.data.records import Record
from da3_training.data.samples import Draw, Sampler, draw
from da3_training.scenes.assets import Library
from da3_training.scenes.room import Scene, make_scene
from da3_training.scenes.textures import TextureBank
from da3_training.shards.codec import encode_record
from da3_training.shards.index import INDEX
from da3_training.shards.local import LocalShards
from da3_training.studio import lanes as lanes_module
from da3_training.studio.lanes import Lanes, staged
from da3_training.studio.slots import Slots, slot_size

Assets = Callable[[], tuple[Library, TextureBank]]
"""Opens the assets anew, nothing of them in memory."""
PHOTO = (336, 448)
"""Height and width of made-up photographs."""


def seconds() -> float:
    """Processor time of this thread: what else runs on the machine does not count."""
    return time.thread_time()


@dataclass
class Rooms:
    """Rooms one after the other, each another one, as a process of the studio makes them once it is warm."""

    lanes: Lanes
    library: Library
    bank: TextureBank
    side: int
    made: int = 0
    renderer: IdleRenderer = field(default_factory=lambda: IdleRenderer(iter(())))

    def one(self) -> tuple[Scene, float, float]:
        """The next room, its seconds, and those of its textures and vertices as bytes for the device."""
        begun = seconds()
        scene = make_scene(self.library, self.bank, np.random.default_rng((0x0DA3, self.made)))
        drawn = seconds()
        staged(self.renderer, scene, self.lanes.pixels, self.side)
        self.made += 1
        return scene, drawn - begun, seconds() - drawn


@dataclass(frozen=True)
class RoomTimes:
    """Of rooms, in ms a room."""

    room: Timing
    textures: Timing
    cold: float
    """Textures of the first room, with nothing in memory."""
    triangles: float
    """Of a room, in the mean."""
    layers: float
    """Textures of a room, in the mean."""


def time_rooms(assets: Assets, config: TrainConfig, count: int, passes: int) -> RoomTimes:
    """Build `count` rooms to warm up, then `count` others in each of the passes."""
    library, bank = assets()
    rooms = Rooms(
        Lanes(library, bank, config.studio, (0,), IdleRenderer(iter(()))), library, bank, config.studio.texture_size
    )
    cold = rooms.one()[2]
    for _ in range(count):
        rooms.one()
    built, told, triangles, layers = [], [], 0, 0
    for _ in range(passes):
        room = textures = 0.0
        for _ in range(count):
            scene, a, b = rooms.one()
            room, textures = room + a, textures + b
            triangles += sum(len(t) for t in (scene.mesh.opaque, scene.mesh.cutout, scene.mesh.sky))
            layers += len(scene.mesh.textures)
        built.append(1000 * room / count)
        told.append(1000 * textures / count)
    whole = count * passes
    return RoomTimes(Timing.of(built), Timing.of(told), 1000 * cold, triangles / whole, layers / whole)


@dataclass
class Walk:
    """One lane of a run, step by step, scenes copied into a slot as the studio's processes do it."""

    config: TrainConfig
    lanes: Lanes
    steps: int
    slots: Slots
    """One, of the size that the configuration takes."""
    images: int = 0
    kept: list[tuple[Draw, list[RawScene]]] = field(default_factory=list)
    """Scenes of each step, where they are kept."""

    def go(self, keep: bool = False) -> None:
        """All steps. Scenes that no room gives end it with `BrokenSampleError`."""
        samples, seed = self.config.stages[-1].samples, self.config.runtime.seed
        sampler = Sampler([self.lanes], samples, seed)
        broken: list[str] = []
        for step in range(self.steps):
            drawn = draw(samples, seed, step)
            maps = self.slots.maps(0, drawn)
            scenes = []
            for number in range(drawn.scenes):
                if self.config.studio.lane_of(step, number):
                    continue  # another lane's
                scene = sampler.scene(step, number, drawn, broken)
                np.copyto(maps.pictures[number].numpy(), scene.pictures)
                np.copyto(maps.depth[number].numpy(), scene.depth)
                np.copyto(maps.marks[number].numpy(), scene.marks)
                self.images += drawn.views
                scenes.append(scene)
            if keep:
                self.kept.append((drawn, scenes))


@dataclass(frozen=True)
class WalkTimes:
    """Of a lane, in ms an image."""

    cameras: Timing
    """The processor's work beside rooms and textures."""
    software: float
    """Everything, drawing by software included, all threads."""
    drawing: float
    """Drawing by software alone."""
    drawn: float
    """Views that were drawn for each one that was kept."""
    images: int
    rooms: float
    """Rooms that were built for each one that was due: where one has no usable views, others stand in."""
    kept: list[tuple[Draw, list[RawScene]]]
    renderer: str


def time_walk(assets: Assets, config: TrainConfig, rooms: int, passes: int, textures: Timing) -> WalkTimes:
    """Draw so many rooms of a lane by software, then go the same way with a device that answers at once.

    textures: of a room, to be taken off what drawing takes.
    """
    library, bank = assets()
    steps = rooms * config.studio.steps_per_room
    recorder = RecordingRenderer()
    warm = Rooms(Lanes(library, bank, config.studio, (0,), recorder), library, bank, config.studio.texture_size)
    for _ in range(4 * rooms):
        warm.one()
    slots = Slots.allocate(1, slot_size(config))
    slots.close()  # what is mapped stays
    walk, built = Walk(config, warm.lanes, steps, slots), _Told()
    with mock.patch.object(lanes_module, "make_scene", built.room(make_scene)):
        begun = time.process_time()
        walk.go(keep=True)
        whole = 1000 * (time.process_time() - begun) / walk.images
    cameras = []
    for _ in range(passes + 1):
        told = _Told()
        lanes = Lanes(library, bank, config.studio, (0,), _Timed(told, iter(recorder.views)))
        again = Walk(config, lanes, steps, slots)
        with mock.patch.object(lanes_module, "make_scene", told.room(make_scene)):
            begun = seconds()
            again.go()
            cameras.append(1000 * (seconds() - begun - told.seconds) / again.images)
    timing = Timing.of(cameras[1:])
    drawing = whole - timing.ms - (1000 * built.seconds + textures.ms * built.rooms) / walk.images
    return WalkTimes(
        timing,
        software=whole,
        drawing=drawing,
        drawn=len(recorder.views) / walk.images,
        images=walk.images,
        rooms=built.rooms / rooms,
        kept=walk.kept,
        renderer=str(recorder.context.info["GL_RENDERER"]),
    )


@dataclass
class _Told:
    """Seconds that went into rooms and their textures."""

    seconds: float = 0.0
    rooms: int = 0

    def room(self, make: Callable[..., Scene]) -> Callable[..., Scene]:
        def timed(*arguments: object) -> Scene:
            begun = seconds()
            scene = make(*arguments)
            self.seconds += seconds() - begun
            self.rooms += 1
            return scene

        return timed


class _Timed(IdleRenderer):
    def __init__(self, told: _Told, views: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        super().__init__(views)
        self._told = told

    def upload(self, *arguments: object, **named: object) -> lanes_module.Stage:
        begun = seconds()
        stage = super().upload(*arguments, **named)  # type: ignore[arg-type]
        self._told.seconds += seconds() - begun
        return stage


def time_photos(shards: LocalShards, config: TrainConfig, steps: int, passes: int) -> Timing:
    """Read, decode and cut out views of shards, in ms an image; files are in the system's memory."""
    samples, seed = config.stages[-1].samples, config.runtime.seed
    sets: list[Any] = [shards]  # which stand for scenes
    sampler = Sampler(sets, samples, seed)
    times = []
    for number in range(passes + 1):
        begun, images = seconds(), 0
        for step in range(number * steps, (number + 1) * steps):
            drawn = draw(samples, seed, step)
            for scene in range(max(1, 12 // drawn.views)):
                sampler.scene(step, scene, drawn, [])
                images += drawn.views
        times.append(1000 * (seconds() - begun) / images)
    return Timing.of(times[1:])


def write_photos(folder: Path, samples: int, views: int) -> LocalShards:
    """A shard of made-up photographs of PHOTO pixels: blurred noise, and depth that changes slowly."""
    rng = np.random.default_rng(0)
    height, width = PHOTO
    with tarfile.open(folder / "000000.tar", "w") as tar:
        for number in range(samples):
            files: dict[str, bytes] = {}
            entries = []
            for view in range(views):
                image = cv2.resize(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8), (width, height))
                depth = cv2.resize(rng.uniform(1, 8, (6, 8)).astype(np.float32), (width, height))
                k = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]], np.float64)
                pose = np.eye(4)
                pose[0, 3] = 0.1 * view
                record = Record(image, depth, depth > 0, None, None, k, pose, "rooms", True)
                stored, entry = encode_record(record, f"{number:04d}/{view:02d}", view, None, None)
                files.update(stored)
                entries.append(entry)
            files["json"] = json.dumps({"kind": "photo", "views": entries}).encode()
            for ending, data in files.items():
                member = tarfile.TarInfo(f"{number:04d}.{ending}")
                member.size = len(data)
                tar.addfile(member, BytesIO(data))
    listed = [{"name": "000000.tar", "samples": samples}]
    index = {"version": 1, "dataset": "rooms", "labelled": False, "shards": listed}
    (folder / INDEX).write_text(json.dumps(index))
    return LocalShards(folder)
