# SPDX-License-Identifier: Apache-2.0
"""Processes that make batches together: each works on its share of the scenes of every step.

A step's scenes are shared out by lane, not by process, so that what a step sees does not depend on how many processes
there are. Pixels go through memory that all of them share; a few numbers for every scene go through a queue.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import queue
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from da3_training.config import STUDIO, TrainConfig
from da3_training.data.batch import RawBatch, RawScene
from da3_training.data.records import Scenes
from da3_training.data.samples import Rooms, Sampler, decode_threads, draw
from da3_training.studio.slots import Maps, Slots, slot_size
from da3_training.studio.sources import open_rooms, open_sources, open_studio

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds after which a process that waits looks whether the others still live."""


FIRST_SILENCE, LEAST_SILENCE, SLOWER = 180.0, 30.0, 10.0
"""Seconds without an answer after which the processes are taken for hung: until the first answer, and after it, or so
many times the longest that an answer has taken."""


class Task(NamedTuple):
    """One step, for all processes of the crew."""

    step: int
    stage: int
    labelled: bool
    """Whether teacher labels are in force."""
    slot: int


@dataclass
class Part:
    """What one process made of a step: what its scenes have beside their pixels, by their number in the batch."""

    task: Task
    member: int
    scenes: dict[int, RawScene] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""


def open_all(config: TrainConfig, rank: int) -> list[Scenes | Rooms]:
    """Data sets on disk, and the studio, in the order of `config.data`."""
    on_disk = iter(open_sources(config))
    return [open_rooms(e, config, rank) if e.dataset == STUDIO else next(on_disk) for e in config.data]  # type: ignore[misc]


class Crew:
    """Batches of a run from a step on, in order. Use as a context manager, or call `close`.

    Raises RuntimeError, from `take`, when one of its processes fails or ends.
    """

    def __init__(self, config: TrainConfig, rank: int = 0, world: int = 1) -> None:
        count = max(1, config.runtime.workers)
        for entry in config.data:
            if entry.dataset == STUDIO:
                open_studio(entry, config.studio)
        self._config, self._rank, self._world = config, rank, world
        self.slots = Slots.allocate(config.studio.slots, slot_size(config))
        context = multiprocessing.get_context("spawn")
        self._tasks = [context.SimpleQueue() for _ in range(count)]
        self._parts: multiprocessing.Queue[Part] = context.Queue()
        self._next = self._asked = 0
        self._part = (0, False)
        self._open: dict[int, list[Part]] = {}
        self._free = list(range(config.studio.slots))
        self.made = 0
        """Images so far."""
        self._silence = FIRST_SILENCE
        self.busy = 0.0
        """Seconds that all processes together have worked on them."""
        self._members: list[BaseProcess] = [
            context.Process(
                target=_work,
                args=(config, rank, world, number, count, self._tasks[number], self._parts, self.slots),
                daemon=True,
            )
            for number in range(count)
        ]
        for member in self._members:
            member.start()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes. They have nothing to lose; asked to end, each would wait until its results are read."""
        for member in self._members:
            member.kill()
        for member in self._members:
            member.join()
        self.slots.close()

    def start(self, step: int, stage: int, labelled: bool = False) -> None:
        """From now on give the batches from `step` on, with the samples of `stage`; what is under way is dropped.

        labelled: whether teacher labels are the depth of the sets that have some.
        """
        while self._open:  # the memory of a dropped step is free when everyone has let go of it
            self._collect()
            for task_step in [s for s, parts in self._open.items() if len(parts) == len(self._members)]:
                self._free.append(self._open.pop(task_step)[0].task.slot)
        self._next = self._asked = step
        self._part = (stage, labelled)

    def take(self) -> tuple[RawBatch, int]:
        """The next batch, whose tensors lie in the slot that comes with it until `give_back`."""
        self._ask()
        while len(self._open.get(self._next, ())) < len(self._members):
            if not self._open:
                raise RuntimeError(f"all {self._config.studio.slots} slots are held: give some back")
            self._collect()
        parts = self._open.pop(self._next)
        self._next += 1
        return self._batch(parts), parts[0].task.slot

    def give_back(self, slot: int) -> None:
        """The batch of this slot is not needed any more."""
        self._free.append(slot)
        self._ask()

    def _ask(self) -> None:
        while self._free:
            task = Task(self._asked, *self._part, self._free.pop())
            self._open[task.step] = []
            self._asked += 1
            for tasks in self._tasks:
                tasks.put(task)

    def _collect(self) -> None:
        silent_since = time.monotonic()
        while True:
            try:
                part = self._parts.get(timeout=PATIENCE)
                break
            except queue.Empty:
                for number, member in enumerate(self._members):
                    if not member.is_alive():
                        raise RuntimeError(
                            f"process {number} of the studio ended with code {member.exitcode}; what it said is above"
                        ) from None
                if time.monotonic() - silent_since > self._silence:
                    owed = {m for parts in self._open.values() for m in self._missing(parts)}
                    raise RuntimeError(
                        f"processes {sorted(owed)} of the studio have not answered for {self._silence:.0f} s"
                    ) from None
        if part.error:
            raise RuntimeError(f"process {part.member} of the studio failed at step {part.task.step}: {part.error}")
        self._silence = max(LEAST_SILENCE, SLOWER * part.seconds, self._silence if self.busy else 0.0)
        self.busy += part.seconds
        self._open[part.task.step].append(part)

    def _missing(self, parts: list[Part]) -> set[int]:
        return set(range(len(self._members))) - {part.member for part in parts}

    def _batch(self, parts: list[Part]) -> RawBatch:
        task = parts[0].task
        drawn = draw(self._config.stages[task.stage].samples, self._config.runtime.seed, task.step)
        maps = self.slots.maps(task.slot, drawn)
        scenes = dict(sorted(item for part in parts for item in part.scenes.items())).values()
        self.made += drawn.scenes * drawn.views

        def stacked(name: str) -> np.ndarray:
            return np.stack([getattr(scene, name) for scene in scenes])

        return RawBatch(
            *maps,
            torch.from_numpy(stacked("intrinsics")),
            torch.from_numpy(stacked("pose")),
            stacked("looks"),
            stacked("sensors"),
            torch.from_numpy(stacked("metric")),
            stacked("rendered"),
            posed=drawn.posed,
            broken=tuple(line for part in parts for line in part.broken),
        )


def _work(
    config: TrainConfig,
    rank: int,
    world: int,
    number: int,
    count: int,
    tasks: multiprocessing.SimpleQueue[Task],
    parts: multiprocessing.Queue[Part],
    shared: Slots,
) -> None:
    """What process `number` of `count` does: its scenes of every task, until it is ended."""
    os.environ["LP_NUM_THREADS"] = "1"  # where software renders, the processes are the parallelism
    for signum in (signal.SIGINT, signal.SIGTERM):  # who trains ends, and then this process
        signal.signal(signum, signal.SIG_IGN)
    _die_with_parent()
    torch.set_num_threads(1)
    decode_threads(1)
    slots = shared.opened()
    part = Part(Task(0, 0, False, 0), number)
    try:
        sets = open_all(config, rank)
        samplers: dict[tuple[int, bool], Sampler] = {}
        while True:
            task = tasks.get()
            part = Part(task, number)
            begun = time.monotonic()
            if task[1:3] not in samplers:
                samplers[task[1:3]] = _sampler(config, sets, task, rank, world)
            sampler = samplers[task[1:3]]
            drawn = draw(sampler.config, config.runtime.seed, task.step)
            maps = slots.maps(task.slot, drawn)
            for i in range(drawn.scenes):
                whole = rank * drawn.scenes + i
                if config.studio.lane_of(task.step, whole) % count == number:
                    scene = sampler.scene(task.step, whole, drawn, part.broken)
                    _store(scene, maps, i)
                    part.scenes[i] = scene._replace(pictures=_NOTHING, depth=_NO_DEPTH, marks=_NOTHING)
            part.seconds = time.monotonic() - begun
            parts.put(part)
    except Exception as error:
        log.exception("process %d of the studio", number)
        part.error = f"{type(error).__name__}: {error}"
        parts.put(part)


def _die_with_parent() -> None:
    """End with the process that trains, however that ends (Linux)."""
    parent_death = 1  # PR_SET_PDEATHSIG
    try:
        ctypes.CDLL(None).prctl(parent_death, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() == 1:  # it ended before it could be told
        os._exit(1)


def _sampler(config: TrainConfig, sets: list[Scenes | Rooms], task: Task, rank: int, world: int) -> Sampler:
    weights = [entry.weight for entry in config.data]
    labels = [Path(entry.labels) if task.labelled and entry.labels else None for entry in config.data]
    samples = config.stages[task.stage].samples
    margins = [entry.margin for entry in config.data]
    return Sampler(sets, samples, config.runtime.seed, weights, labels, rank=rank, world=world, margins=margins)


_NOTHING, _NO_DEPTH = np.zeros(0, np.uint8), np.zeros(0, np.float32)


def _store(scene: RawScene, maps: Maps, at: int) -> None:
    np.copyto(maps.pictures[at].numpy(), scene.pictures)
    np.copyto(maps.depth[at].numpy(), scene.depth)
    np.copyto(maps.marks[at].numpy(), scene.marks)
