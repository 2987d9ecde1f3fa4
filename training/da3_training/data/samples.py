# SPDX-License-Identifier: Apache-2.0
"""Training batches: which scenes, views, size and augmentation. Everything follows from (seed, step, number of the
scene in the step) alone, so that a resumed run sees the batches of an uninterrupted one, and several processes share
out the batches of a single one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from da3_training.data import camera
from da3_training.data.aim import turned
from da3_training.data.batch import OBJECT, SKY, SKY_KNOWN, VALID, RawBatch, RawScene, collate
from da3_training.data.edges import away_from_jumps
from da3_training.data.look import plain_looks, random_looks
from da3_training.data.records import BrokenSampleError, Record, Scenes, ViewRecord
from da3_training.data.stored_labels import SUMMARY, apply_label, labelled_views
from da3_training.data.view_sampling import choose_views, image_sizes, views_of
from da3_training.data.window import mirror, window

log = logging.getLogger(__name__)
RETRIES = 100
"""Scenes that are drawn in place of a broken one before the step fails."""
SMALL = 10_000
"""Scenes up to which a set is gone through for one with enough views; of more, so many are tried."""


@dataclass(frozen=True)
class SampleConfig:
    """How batches are drawn."""

    views_per_batch: int = 12
    """Images of a batch in each process, whatever the number of views of a scene: a constant token budget."""
    view_counts: tuple[int, ...] = (1, 2, 2, 3, 4)
    """Numbers of views of a scene, drawn with equal probability; two rising numbers are a range (paper: 2, 18)."""
    selection: str = "random"
    """How views are chosen: ``random``, ``near`` or ``overlap``."""
    overlap: float = 0.2
    """Smallest share of a view that an earlier one shall see, with ``overlap``."""
    sizes: tuple[tuple[int, int], ...] = ((126, 168), (126, 168), (112, 196), (140, 140))
    """(height, width) of training images; multiples of 14."""
    base: int = 0
    """Instead of `sizes`: all aspects with as many tokens as a square of this side (paper: 504)."""
    pose_probability: float = 0.2
    """Share of steps that give the true cameras to the network (paper: 0.2)."""
    max_depth: float = 40.0
    """Farther pixels are not supervised, in units of the data."""
    zoom: tuple[float, float] = (0.65, 1.0)
    """Side of the window as a share of the largest one."""
    turn: float = 0.0
    """Largest angle in degrees by which the camera of a scene that lies on disk is panned and tilted within what it
    saw; its windows then lie anywhere in the image."""
    roll: float = 0.0
    """Largest angle in degrees by which it is turned about its axis."""
    augment: bool = True
    """Whether windows, mirror images and looks are drawn at random."""
    strong_looks: float = 0.0
    """Share of the scenes whose look is changed far beyond what cameras do; with `augment`."""
    shuffle: int = 32
    """Samples of shards that are mixed in memory, in each worker."""


class Draw(NamedTuple):
    """What all scenes of a step have in common, in all processes."""

    height: int
    width: int
    views: int
    scenes: int
    """Of one process."""
    posed: bool


def draw(config: SampleConfig, seed: int, step: int) -> Draw:
    """Size, views and pose-conditioning of a step."""
    sizes = image_sizes(config.base) if config.base else list(config.sizes)
    rng = np.random.default_rng((seed, step))
    height, width = sizes[rng.integers(len(sizes))]
    views = views_of(rng, config.view_counts)
    posed = bool(views > 1 and rng.random() < config.pose_probability)
    return Draw(height, width, views, max(1, config.views_per_batch // views), posed)


@runtime_checkable
class Rooms(Protocol):
    """Scenes that are made when they are asked for, in place of scenes that lie somewhere."""

    def sample(self, step: int, number: int, rng: np.random.Generator, drawn: Draw, samples: SampleConfig) -> RawScene:
        """Scene `number` of a step, drawn with `rng`; raises `BrokenSampleError`."""
        ...


class Sampler(torch.utils.data.Dataset[RawBatch]):
    """Batch number `step` of process `rank` out of `world`.

    sets, weights: data sets and how often each is drawn, among those that have as many views of one place as the step
    asks for: so single photographs are seen in the steps of one view. labels: folders of teacher labels, one for each
    set or None; where given, they replace the depth of real data (paper section 3.2). margins: of each set, the share
    of an image's width within which a jump in depth makes depth unknown (`away_from_jumps`).
    """

    def __init__(
        self,
        sets: Sequence[Scenes | Rooms],
        config: SampleConfig,
        seed: int,
        weights: Sequence[float] | None = None,
        labels: Sequence[Path | None] | None = None,
        rank: int = 0,
        world: int = 1,
        margins: Sequence[float] | None = None,
    ) -> None:
        self.sets, self.config, self.seed = sets, config, seed
        self.margins = margins or [0.0] * len(sets)
        self.labels = labels or [None] * len(sets)
        for folder in self.labels:
            if folder is not None and not (folder / SUMMARY).is_file():
                raise FileNotFoundError(f"{folder} holds no labels: run `da3-train label` with this output first")
        share = np.array(weights or [1.0] * len(sets), dtype=np.float64)
        self.share = share / share.sum()
        self.rank, self.world = rank, world
        self._shares = cache(self._shares_of)

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, step: int) -> RawBatch:
        drawn = draw(self.config, self.seed, step)
        broken: list[str] = []
        numbers = range(self.rank * drawn.scenes, (self.rank + 1) * drawn.scenes)
        return collate([self.scene(step, number, drawn, broken) for number in numbers], drawn.posed, broken)

    def scene(self, step: int, number: int, drawn: Draw, broken: list[str]) -> RawScene:
        """Scene `number` of a step, of all processes; what could not be read is added to `broken`."""
        share = self._shares(drawn.views)
        for attempt in range(RETRIES):
            rng = np.random.default_rng((self.seed, step, number, attempt))
            which = int(rng.choice(len(self.sets), p=share))
            scenes = self.sets[which]
            try:
                if isinstance(scenes, Rooms):
                    return scenes.sample(step, number, rng, drawn, self.config)
                folder = self.labels[which]
                views = self._cluster(rng, which, drawn.views)
                chosen = choose_views(rng, views, drawn.views, self.config.selection, self.config.overlap)
                records = [view.load() for view in chosen]
                if folder is not None:
                    records = [apply_label(r, folder, v.key) for r, v in zip(records, chosen, strict=True)]
                records = [away_from_jumps(r, self.margins[which]) for r in records]
                return arrays(self.config, rng, records, drawn)
            except BrokenSampleError as error:
                broken.append(str(error))
        raise BrokenSampleError(
            f"step {step}: {RETRIES} scenes in a row could not give {drawn.views} views ({broken[-3:]}): "
            "check the data, or lower view_counts"
        )

    def _shares_of(self, views: int) -> NDArray[np.float64]:
        """How often each set is drawn for a scene of so many views; raises `BrokenSampleError` where none has them."""
        serves = [isinstance(s, Rooms) or self._serves(n, views) for n, s in enumerate(self.sets)]
        return shares_among(self.share, serves, f"no data set has {views} views of one place: check the data")

    def _serves(self, which: int, views: int) -> bool:
        """Whether a scene of a set has so many views; ends at the first that has. One that cannot be read has none."""
        most = getattr(self.sets[which], "most_views", None)  # shards know
        if most is not None and self.labels[which] is None:
            return bool(most >= views)
        for index in range(len(self.sets[which])):  # type: ignore[arg-type]
            with suppress(BrokenSampleError):
                if self._clusters(which, index, views):
                    return True
        return False

    def _clusters(self, which: int, index: int, views: int) -> list[tuple[ViewRecord, ...]]:
        scenes = self.sets[which]
        assert not isinstance(scenes, Rooms)
        clusters = [labelled_views(c.views, self.labels[which]) for c in scenes[index]]
        return [cluster for cluster in clusters if len(cluster) >= views]

    def _cluster(self, rng: np.random.Generator, which: int, views: int) -> tuple[ViewRecord, ...]:
        """A cluster of at least so many views, of a random scene among those of a set that have one."""
        count = len(self.sets[which])  # type: ignore[arg-type]
        for index in rng.permutation(count) if count <= SMALL else (int(rng.integers(count)) for _ in range(RETRIES)):
            if clusters := self._clusters(which, int(index), views):
                return clusters[rng.integers(len(clusters))]
        raise BrokenSampleError(f"{RETRIES} scenes in a row have fewer than {views} views")


def shares_among(share: NDArray[np.float64], serves: Sequence[bool], none: str) -> NDArray[np.float64]:
    """How often each set is drawn for a step that not all of them can serve: `share` of those that can, to a sum of 1.
    Raises `BrokenSampleError` with the sentence `none` where no set can.
    """
    left = share * serves
    if not left.any():
        raise BrokenSampleError(f"{none}, or lower view_counts")
    return np.asarray(left / left.sum(), np.float64)


def arrays(c: SampleConfig, rng: np.random.Generator, records: list[Record], drawn: Draw) -> RawScene:
    """The arrays of one scene: windows, mirror image and look drawn with `rng`."""
    zoom = rng.uniform(*c.zoom) if c.augment else 1.0
    flip = c.augment and rng.random() < 0.5
    looks = looks_of(c, rng, len(records))
    kept = []
    for record in records:
        if c.augment and (c.turn or c.roll):
            aim = (rng.uniform(-1, 1), rng.uniform(-1, 1))
            roll = np.radians(rng.uniform(-c.roll, c.roll))
            r = turned(record, drawn.height, drawn.width, zoom, aim, float(roll), float(np.radians(c.turn)))
        else:
            r = window(record, drawn.height, drawn.width, zoom)
        kept.append(mirror(r) if flip else r)
    marks = np.stack([_marks(r, c.max_depth) for r in kept])
    if not (marks & VALID).any():
        # Without a single depth the scene has no scale, so that its translations could not be normalised.
        raise BrokenSampleError(f"{records[0].source}: a sample without any depth up to {c.max_depth:g}")
    # Far from the origin single precision would blur small motions: the first view becomes the world.
    first = np.linalg.inv(kept[0].pose)
    return RawScene(
        pictures=np.stack([r.image for r in kept]),
        depth=np.stack([r.depth for r in kept]),
        marks=marks,
        intrinsics=np.stack([r.intrinsics for r in kept]).astype(np.float32),
        pose=np.stack([first @ r.pose for r in kept]).astype(np.float32),
        looks=looks,
        sensors=np.zeros((len(kept), camera.NUMBERS), np.float32),
        metric=all(r.metric for r in records),
        rendered=False,
    )


def looks_of(c: SampleConfig, rng: np.random.Generator, views: int) -> NDArray[np.float32]:
    """Looks of the views of one scene, drawn with `rng`."""
    return random_looks(rng, views, strong=rng.random() < c.strong_looks) if c.augment else plain_looks(views)


def _marks(record: Record, max_depth: float) -> NDArray[np.uint8]:
    marks = VALID * (record.valid & (record.depth < max_depth)).astype(np.uint8)
    if record.sky is not None:
        marks |= SKY_KNOWN | SKY * record.sky.astype(np.uint8)
    marks |= OBJECT * (np.ones_like(marks) if record.alpha is None else record.alpha.astype(np.uint8))
    return marks


def decode_threads(count: int) -> None:
    """Limit the threads of image decoding in a worker process."""
    cv2.setNumThreads(count)
