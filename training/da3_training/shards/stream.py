# SPDX-License-Identifier: Apache-2.0
"""Batches from shards. Like those of `Sampler` they follow from (seed, step) alone, for a given number of processes and
workers: a resumed run computes where it was, passes over whole shards unread, and goes on with the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.gopen import gopen
from webdataset.tariterators import group_by_keys, tar_file_expander

from da3_training.data.batch import RawBatch, RawScene, collate
from da3_training.data.edges import away_from_jumps
from da3_training.data.records import BrokenSampleError
from da3_training.data.samples import RETRIES, Draw, SampleConfig, arrays, draw, shares_among
from da3_training.data.view_sampling import choose_views
from da3_training.shards.codec import ShardView, views_of_sample
from da3_training.shards.index import Order, ShardSet

Sample: TypeAlias = tuple[ShardView, ...] | BrokenSampleError


class Stream:
    """The endless sequence of samples of one reader, shuffled within blocks of `buffer` samples.

    A block is read whole and given out in random order; so the place of every sample is known without having read what
    came before it, which a buffer that is refilled one by one cannot offer.
    """

    def __init__(
        self, shards: ShardSet, stream: int, streams: int, seed: tuple[int, ...], buffer: int, labelled: bool
    ) -> None:
        if buffer < 1:
            raise ValueError(f"shuffle is {buffer}: give 1 (no shuffling) or more samples")
        self._shards, self._buffer, self._labelled, self._seed = shards, buffer, labelled, (*seed, stream)
        self._order = Order(shards.samples, stream, streams, seed)
        self._wide = cache(self._widest)
        self.spares: list[tuple[ShardView, ...]] = []
        """Readable samples that stand in for broken ones: of the same block, or, where a whole block is lost, of the
        next one that is not."""

    def start(self, position: int) -> Iterator[Sample]:
        """Samples from `position` on; what cannot be read is an error in the sample's place."""
        epoch, place = self._order.locate(position)
        while True:
            plan = self._order.epoch(epoch)
            blocks = [plan[i : i + self._buffer] for i in range(0, len(plan), self._buffer)]
            for number in range(place // self._buffer, len(blocks)):
                block = self._read(blocks[number])
                self.spares = self._readable(block, blocks, number)
                order = np.random.default_rng((*self._seed, epoch, number)).permutation(len(block))
                yield from [block[i] for i in order[max(place - number * self._buffer, 0) :]]
            epoch, place = epoch + 1, 0

    def _readable(
        self, block: list[Sample], blocks: list[list[tuple[int, int]]], number: int
    ) -> list[tuple[ShardView, ...]]:
        for offset in range(len(blocks)):
            if offset:
                block = self._read(blocks[(number + offset) % len(blocks)])
            good = [sample for sample in block if not isinstance(sample, BrokenSampleError)]
            if good:
                return good
        raise BrokenSampleError(f"{self._shards.root}: no sample can be read, for example {block[0]}")

    def spare(self, rng: np.random.Generator, views: int) -> tuple[ShardView, ...]:
        """A readable sample of at least so many views: of the block that is given out, or of the first shard that has
        any (no more of them than a block holds are kept). Raises BrokenSampleError where there is none.
        """
        good = [sample for sample in self.spares if len(sample) >= views] or self._wide(views)
        return good[rng.integers(len(good))]

    def _widest(self, views: int) -> list[tuple[ShardView, ...]]:
        for shard, count in enumerate(self._shards.samples):
            samples = [sample for _, sample in self._read_shard(shard, set(range(count)))]
            good = [s for s in samples if not isinstance(s, BrokenSampleError) and len(s) >= views]
            if good:
                return good[: self._buffer]
        raise BrokenSampleError(f"{self._shards.root}: no sample has {views} views")

    def _read(self, wanted: list[tuple[int, int]]) -> list[Sample]:
        found: dict[tuple[int, int], Sample] = {}
        for shard in dict.fromkeys(shard for shard, _ in wanted):
            numbers = {i for s, i in wanted if s == shard}
            found.update(((shard, i), sample) for i, sample in self._read_shard(shard, numbers))
        return [found[place] for place in wanted]

    def _read_shard(self, shard: int, numbers: set[int]) -> Iterator[tuple[int, Sample]]:
        """The samples with these numbers, of a shard that is read no farther than needed."""
        path = self._shards.path(self._shards.shards[shard])
        missing, why = set(numbers), "it ends too early"
        try:
            with gopen(path) as file:
                for i, sample in enumerate(group_by_keys(tar_file_expander([{"url": path, "stream": file}]))):
                    if i in missing:
                        missing.remove(i)
                        yield i, self._views(sample, path)
                    if not missing:
                        return
        except GeneratorExit:
            raise
        except Exception as error:  # tar, network and pipe errors are of many types
            why = repr(error)
        for i in missing:
            yield i, BrokenSampleError(f"{path}: sample {i} cannot be read ({why}): write the shard again")

    def _views(self, sample: dict[str, Any], path: str) -> Sample:
        try:
            views = views_of_sample(sample, path, self._labelled)
            return tuple(v for v in views if "label" in v.entry) if self._labelled else views
        except BrokenSampleError as error:
            return error


class StreamSampler(IterableDataset[RawBatch]):
    """Batches of process `rank` out of `world` from step `start` on.

    sets, weights: shards and how often each is drawn. labelled: for each, whether teacher labels are its depth.
    margins: as of `da3_training.data.samples.Sampler`. Worker processes of a data loader share the steps out among
    themselves, so that the loader gives them in order.
    """

    def __init__(
        self,
        sets: Sequence[ShardSet],
        config: SampleConfig,
        seed: int,
        weights: Sequence[float] | None = None,
        labelled: Sequence[bool] | None = None,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        margins: Sequence[float] | None = None,
    ) -> None:
        self.margins = margins or [0.0] * len(sets)
        self.sets, self.config, self.seed, self.start = sets, config, seed, start
        self.labelled = labelled or [False] * len(sets)
        for shards, wanted in zip(sets, self.labelled, strict=True):
            if wanted and not shards.labelled:
                raise ValueError(f"{shards.root} has no labels: write it with `da3-train shards --labels FOLDER`")
        share = np.array(weights or [1.0] * len(sets), dtype=np.float64)
        self.share = share / share.sum()
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[RawBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        step = self.start + worker
        residue = (
            step % workers
        )  # the worker that had this step's stream before an interruption may have another number
        streams = [
            Stream(
                shards, self.rank * workers + residue, self.world * workers, (self.seed, n), self.config.shuffle, lab
            )
            for n, (shards, lab) in enumerate(zip(self.sets, self.labelled, strict=True))
        ]
        positions = np.zeros(len(self.sets), dtype=np.int64)
        for earlier in range(residue, step, workers):
            positions += np.bincount(self._which(earlier), minlength=len(self.sets))
        readers = [stream.start(int(p)) for stream, p in zip(streams, positions, strict=True)]
        while True:
            yield self._batch(step, streams, readers)
            step += workers

    def _which(self, step: int) -> NDArray[np.intp]:
        """Set of each scene of a step, among those that have as many views of one place as it asks for."""
        drawn = draw(self.config, self.seed, step)
        most = [s.most_labelled if lab else s.most_views for s, lab in zip(self.sets, self.labelled, strict=True)]
        largest = max((m for m in most if m is not None), default=0)
        share = shares_among(
            self.share,
            [m is None or m >= drawn.views for m in most],
            f"no shards have {drawn.views} views of one place, but {largest}: check them",
        )
        rng = np.random.default_rng((self.seed, step, self.rank))
        return rng.choice(len(self.sets), size=drawn.scenes, p=share)

    def _batch(self, step: int, streams: list[Stream], readers: list[Iterator[Sample]]) -> RawBatch:
        drawn, broken = draw(self.config, self.seed, step), list[str]()
        scenes: list[RawScene] = []
        for number, which in enumerate(self._which(step)):
            seed = (self.seed, step, self.rank * drawn.scenes + number)
            scenes.append(self._scene(seed, next(readers[which]), streams[which], self.margins[which], drawn, broken))
        return collate(scenes, drawn.posed, broken)

    def _scene(
        self, seed: tuple[int, ...], sample: Sample, stream: Stream, margin: float, drawn: Draw, broken: list[str]
    ) -> RawScene:
        """Arrays of a sample; one that is broken or has too few views is replaced by a spare one."""
        for attempt in range(RETRIES):
            rng = np.random.default_rng((*seed, attempt))
            try:
                if attempt:
                    sample = stream.spare(rng, drawn.views)
                if isinstance(sample, BrokenSampleError):
                    raise sample
                if len(sample) >= drawn.views:
                    chosen = choose_views(rng, sample, drawn.views, self.config.selection, self.config.overlap)
                    records = [away_from_jumps(view.load(), margin) for view in chosen]
                    return arrays(self.config, rng, records, drawn)
            except BrokenSampleError as error:
                broken.append(str(error))
        raise BrokenSampleError(
            f"{RETRIES} samples in a row could not give {drawn.views} views ({broken[-3:]}): check the shards, or "
            "lower view_counts"
        )
