# SPDX-License-Identifier: Apache-2.0
"""Batches on the device: from a data loader or a studio's crew, copied beside the work of the step before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from da3_training.config import TrainConfig
from da3_training.data.batch import Batch, RawBatch
from da3_training.data.develop import develop
from da3_training.data.samples import Sampler, decode_threads
from da3_training.run.stopwatch import Stopwatch
from da3_training.shards.index import ShardSet
from da3_training.studio.crew import Crew
from da3_training.studio.sources import Source


class Feeder:
    """The batches of a run, in order. Use as a context manager: a studio has processes that must end."""

    def __init__(
        self, config: TrainConfig, sources: list[Source], device: torch.device, rank: int = 0, world: int = 1
    ) -> None:
        self._config, self._sources, self._device = config, sources, device
        self._rank, self._world = rank, world
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._loader: Iterator[RawBatch] = iter(())
        self._held: list[tuple[int, Any]] = []
        self.crew: Crew | None = None

    def __enter__(self) -> Feeder:
        if self._config.has_studio:
            self.crew = Crew(self._config, self._rank, self._world)
            if self._copies is not None:
                self.crew.slots.pin()
        return self

    def __exit__(self, *_: object) -> None:
        if self.crew is not None:
            self.crew.close()

    def start(self, step: int, stage: int, labelled: bool) -> None:
        """Go on at `step` with the samples of a stage; labelled: whether teacher labels are in force."""
        if self.crew is not None:
            self.crew.start(step, stage)
            return
        config = self._config
        samples, seed = config.stages[stage].samples, config.runtime.seed
        weights = [entry.weight for entry in config.data]
        taught = [labelled and bool(entry.labels) for entry in config.data]
        margins = [entry.margin for entry in config.data]
        workers = config.runtime.workers
        options: dict[str, Any] = {
            "batch_size": None,
            "num_workers": workers,
            "prefetch_factor": 3 if workers else None,
            "worker_init_fn": _start_worker if workers else None,
            "pin_memory": self._device.type == "cuda",
        }
        shards = [s for s in self._sources if isinstance(s, ShardSet)]
        if shards:
            from da3_training.shards.stream import StreamSampler  # needs webdataset

            stream = StreamSampler(shards, samples, seed, weights, taught, self._rank, self._world, step, margins)
            self._loader = iter(DataLoader(stream, **options))
            return
        labels = [Path(entry.labels) if use else None for entry, use in zip(config.data, taught, strict=True)]
        scenes = [s for s in self._sources if not isinstance(s, ShardSet)]
        sampler = Sampler(scenes, samples, seed, weights, labels, self._rank, self._world, margins)
        self._loader = iter(DataLoader(sampler, sampler=range(step, len(sampler)), **options))

    def take(self, watch: Stopwatch) -> Batch:
        """The next batch on the device, developed. Only data that is not there yet is waited for."""
        if self.crew is None:
            with watch.part("data", host=True):
                raw = next(self._loader)
            slot = None
        else:
            with watch.part("data", host=True):
                self._let_go(self._config.studio.slots - 1)
                raw, slot = self.crew.take()
        if self._copies is None:
            with watch.part("transfer"):
                if slot is not None:
                    raw = raw.each(Tensor.clone)
                    self._give_back(slot)
        else:
            return self._beside(raw, slot, watch)
        with watch.part("look"):
            return develop(raw)

    def _beside(self, raw: RawBatch, slot: int | None, watch: Stopwatch) -> Batch:
        """Copy and develop on a stream of their own, beside the step before. Numbers that looks take from the processor
        would wait on the main stream until that step is over.
        """
        assert self._copies is not None
        main = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copies):
            with watch.part("transfer"):
                raw = raw.to(self._device)
            copied = torch.cuda.Event()
            copied.record()
            with watch.part("look"):
                batch = develop(raw)
            developed = torch.cuda.Event()
            developed.record()
        main.wait_event(developed)
        for value in vars(batch).values():
            if isinstance(value, Tensor):
                value.record_stream(main)
        if slot is not None:
            self._held.append((slot, copied))
        return batch

    def _let_go(self, most: int) -> None:
        """Give slots back whose copies are done; wait for one where `most` are held."""
        while self._held and (self._held[0][1].query() or len(self._held) >= most):
            slot, done = self._held.pop(0)
            done.synchronize()
            self._give_back(slot)

    def _give_back(self, slot: int) -> None:
        assert self.crew is not None
        self.crew.give_back(slot)


def _start_worker(number: int) -> None:
    torch.set_num_threads(1)
    decode_threads(1)
