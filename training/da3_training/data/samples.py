# SPDX-License-Identifier: Apache-2.0
"""Training batches: which scenes, views, size and augmentation. Everything follows from (seed, step, number of the
scene in the step) alone, so that a resumed run sees the batches of an uninterrupted one, and several processes share
out the batches of a single one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from da3_training.data.look import random_look
from da3_training.data.records import BrokenSampleError, Record, Scenes
from da3_training.data.stored_labels import SUMMARY, apply_label, labelled_views
from da3_training.data.view_sampling import choose_views, image_sizes, views_of
from da3_training.data.window import mirror, normalise_image, window

log = logging.getLogger(__name__)
RETRIES = 100
"""Scenes that are drawn in place of a broken one before the step fails."""


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
    augment: bool = True
    """Whether windows, mirror images and looks are drawn at random."""
    strong_looks: float = 0.0
    """Share of the scenes whose look is changed far beyond what cameras do; with `augment`."""
    shuffle: int = 32
    """Samples of shards that are mixed in memory, in each worker."""


@dataclass
class Batch:
    """B scenes of S views; not frozen, since mixed precision sets the tensors of a copy anew."""

    images: Tensor
    """(B, S, 3, H, W), normalised."""
    depth: Tensor
    """(B, S, H, W), 0 unknown; metres where `metric`."""
    valid: Tensor
    """(B, S, H, W) bool."""
    sky: Tensor
    """(B, S, H, W) bool."""
    sky_known: Tensor
    """(B, S, H, W) bool: where it is known whether there is sky."""
    alpha: Tensor
    """(B, S, H, W) bool: False on the background of single objects."""
    intrinsics: Tensor
    """(B, S, 3, 3)."""
    pose: Tensor
    """T_world_camera (B, S, 4, 4)."""
    metric: Tensor
    """(B,) bool."""
    posed: bool
    """Whether the network is told the cameras."""
    broken: tuple[str, ...] = ()
    """What could not be read on the way; other scenes were drawn instead."""

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        moved: dict[str, Any] = {
            k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in vars(self).items()
        }
        return Batch(**moved)


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


class Sampler(torch.utils.data.Dataset[Batch]):
    """Batch number `step` of process `rank` out of `world`.

    sets, weights: data sets and how often each is drawn. labels: folders of teacher labels, one for each set or None;
    where given, they replace the depth of real data (paper section 3.2).
    """

    def __init__(
        self,
        sets: Sequence[Scenes],
        config: SampleConfig,
        seed: int,
        weights: Sequence[float] | None = None,
        labels: Sequence[Path | None] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.sets, self.config, self.seed = sets, config, seed
        self.labels = labels or [None] * len(sets)
        for folder in self.labels:
            if folder is not None and not (folder / SUMMARY).is_file():
                raise FileNotFoundError(f"{folder} holds no labels: run `da3-train label` with this output first")
        share = np.array(weights or [1.0] * len(sets), dtype=np.float64)
        self.share = share / share.sum()
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, step: int) -> Batch:
        drawn = draw(self.config, self.seed, step)
        broken: list[str] = []
        numbers = range(self.rank * drawn.scenes, (self.rank + 1) * drawn.scenes)
        return collate([self._scene(step, number, drawn, broken) for number in numbers], drawn.posed, broken)

    def _scene(self, step: int, number: int, drawn: Draw, broken: list[str]) -> tuple[NDArray[Any], ...]:
        for attempt in range(RETRIES):
            rng = np.random.default_rng((self.seed, step, number, attempt))
            which = int(rng.choice(len(self.sets), p=self.share))
            scenes = self.sets[which]
            try:
                folder = self.labels[which]
                clusters = [labelled_views(c.views, folder) for c in scenes[int(rng.integers(len(scenes)))]]
                clusters = [views for views in clusters if len(views) >= drawn.views]
                if not clusters:
                    continue
                views = clusters[rng.integers(len(clusters))]
                chosen = choose_views(rng, views, drawn.views, self.config.selection, self.config.overlap)
                records = [view.load() for view in chosen]
                if folder is not None:
                    records = [apply_label(r, folder, v.key) for r, v in zip(records, chosen, strict=True)]
                return arrays(self.config, rng, records, drawn)
            except BrokenSampleError as error:
                broken.append(str(error))
        raise BrokenSampleError(
            f"step {step}: {RETRIES} scenes in a row could not give {drawn.views} views ({broken[-3:]}): "
            "check the data, or lower view_counts"
        )


def arrays(c: SampleConfig, rng: np.random.Generator, records: list[Record], drawn: Draw) -> tuple[NDArray[Any], ...]:
    """The arrays of one scene in the order of `Batch`: windows, mirror image and look drawn with `rng`."""
    zoom = rng.uniform(*c.zoom) if c.augment else 1.0
    flip = c.augment and rng.random() < 0.5
    look = random_look(rng, strong=rng.random() < c.strong_looks) if c.augment else None
    parts = []
    for record in records:
        r = window(record, drawn.height, drawn.width, zoom)
        if flip:
            r = mirror(r)
        image = look(r.image, rng) if look else r.image
        valid = r.valid & (r.depth < c.max_depth)
        nothing, everything = np.zeros_like(valid), np.ones_like(valid)
        sky, known = (nothing, nothing) if r.sky is None else (r.sky, everything)
        alpha = everything if r.alpha is None else r.alpha
        k, pose = r.intrinsics.astype(np.float32), r.pose.astype(np.float32)
        parts.append((normalise_image(image), r.depth, valid, sky, known, alpha, k, pose))
    if not any(part[2].any() for part in parts):
        # Without a single depth the scene has no scale, so that its translations could not be normalised.
        raise BrokenSampleError(f"{records[0].source}: a sample without any depth up to {c.max_depth:g}")
    # Far from the origin single precision would blur small motions: the first view becomes the world.
    first = np.linalg.inv(records[0].pose if not flip else mirror(records[0]).pose)
    rows = [(*p[:7], (first @ _pose(r, flip)).astype(np.float32)) for p, r in zip(parts, records, strict=True)]
    return (*(np.stack(part) for part in zip(*rows, strict=True)), np.array(all(r.metric for r in records)))


def collate(scenes: list[tuple[NDArray[Any], ...]], posed: bool, broken: list[str]) -> Batch:
    """Scenes as one batch."""
    images, depth, valid, sky, known, alpha, intrinsics, pose, metric = (
        torch.from_numpy(np.stack(part)) for part in zip(*scenes, strict=True)
    )
    return Batch(images, depth, valid, sky, known, alpha, intrinsics, pose, metric, posed=posed, broken=tuple(broken))


def _pose(record: Record, flip: bool) -> NDArray[np.float64]:
    return mirror(record).pose if flip else record.pose


def decode_threads(count: int) -> None:
    """Limit the threads of image decoding in a worker process."""
    cv2.setNumThreads(count)
