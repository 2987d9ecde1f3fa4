# SPDX-License-Identifier: Apache-2.0
"""What the consumers are given: a sequence of sets with true depth and poses, and the depth that we make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from case import Truth
from numpy.typing import NDArray
from scoring import truth_at

from da3_ros.engines import load_engine
from da3_ros.estimation import Estimator, EstimatorConfig, View, ViewEstimate, ViewSet
from da3_ros.estimation.clouds import doubt
from da3_ros.estimation.refinement import RefinementConfig
from da3_ros.estimation.refinement.choose import choose_sweeper
from da3_ros.estimation.upsample import upsample_depth
from da3_ros.models import find_model

TRUE, ALONE, REFINED = "true depth", "network alone", "refined"
"""Kinds of depth."""


@dataclass(frozen=True)
class Frame:
    """One moment."""

    stamp: float
    """Seconds."""
    views: tuple[View, ...]
    """What the estimator sees: those of this moment first, then past ones."""
    truth: tuple[Truth, ...]
    """Of the views of this moment."""
    poses: tuple[NDArray[np.float64], ...]
    """True T_world_camera (4, 4) of the views of this moment."""


@dataclass(frozen=True)
class Sequence3D:
    """Frames of one place. The first camera is the one that is followed."""

    name: str
    title: str
    frames: tuple[Frame, ...]
    level: bool
    """Whether the world's z is up and the floor at 0, so that obstacles are known from floor."""
    notes: str = ""
    """What must be known to read its figures."""

    @property
    def stamps(self) -> NDArray[np.float64]:
        """(N,) seconds."""
        return np.array([frame.stamp for frame in self.frames])

    @property
    def followed(self) -> list[NDArray[np.float64]]:
        """True poses of the first camera."""
        return [frame.poses[0] for frame in self.frames]


Depths = list[tuple[ViewEstimate, ...]]
"""Estimates of the views of each moment."""


@dataclass(frozen=True)
class Estimated:
    """Depth of a sequence by kind, and whether it is in metres."""

    sequence: Sequence3D
    kinds: dict[str, Depths]
    metric: dict[str, float]
    """Share of the frames whose depth is in metres, by kind."""


def estimate(sequence: Sequence3D, model: str) -> Estimated:
    """Every frame by the network alone and refined, as the live node with its default parameters does it: with a past,
    at the network's size. True depth stands beside them in the same form, so that what makes clouds is the same.
    """
    from tqdm import tqdm

    record, folder = find_model(model)
    engine = load_engine(folder, 0)
    sweeper = choose_sweeper(engine, record.recommended_size).sweeper
    kinds: dict[str, Depths] = {}
    metric: dict[str, float] = {}
    for kind, source in ((ALONE, "none"), (REFINED, "auto")):
        estimator = Estimator(engine, record, EstimatorConfig(refinement=RefinementConfig(source=source)), sweeper)
        found, known = [], []
        for frame in tqdm(sequence.frames, desc=f"{sequence.name}, {kind}", unit="set", mininterval=5):
            result = estimator(ViewSet(frame.views))
            # Without what refinement reports: it is four more images a view.
            found.append(tuple(replace(view, refinement=None) for view in result.views[: len(frame.truth)]))
            known.append(result.scale.metric)
        kinds[kind], metric[kind] = found, float(np.mean(known))
    kinds[TRUE], metric[TRUE] = as_estimates(sequence, kinds[ALONE]), 1.0
    return Estimated(sequence, kinds, metric)


def as_estimates(sequence: Sequence3D, like: Depths) -> Depths:
    """The true depth in the place of that of `like`: the nearest true pixel, NaN where unknown."""
    return [
        tuple(
            replace(view, depth=truth_at(truth, view.depth.shape), stddev=None)
            for view, truth in zip(views, frame.truth, strict=True)
        )
        for frame, views in zip(sequence.frames, like, strict=True)
    ]


def gated(depths: Depths, max_stddev: float) -> Depths:
    """Without the pixels whose depth may be off by more than `max_stddev` of it; those that do not say stay."""
    out = []
    for views in depths:
        kept = []
        for view in views:
            unsure = np.zeros(view.depth.shape, bool) if view.stddev is None else doubt(view) > max_stddev
            kept.append(replace(view, depth=np.where(unsure, np.float32(np.nan), view.depth)))
        out.append(tuple(kept))
    return out


def full_size(view: ViewEstimate, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Depth at the size of the image (H, W, 3), as `depth.resolution: camera` publishes it."""
    return upsample_depth(view.depth, image, view.image)


def depth_errors(sequence: Sequence3D, depths: Depths) -> tuple[float, float]:
    """AbsRel of the first camera, and the share of its pixels with truth that have depth; NaN without truth."""
    relative: list[NDArray[np.float32]] = []
    known = answered = 0
    for frame, views in zip(sequence.frames, depths, strict=True):
        truth = truth_at(frame.truth[0], views[0].depth.shape)
        with_truth = np.isfinite(truth)
        both = with_truth & np.isfinite(views[0].depth)
        relative.append(np.abs(views[0].depth[both] - truth[both]) / truth[both])
        known, answered = known + int(with_truth.sum()), answered + int(both.sum())
    if not known:
        return float("nan"), float("nan")
    every = np.concatenate(relative)
    return float(every.mean()) if len(every) else float("nan"), answered / known


def grey_images(frames: Sequence[Frame]) -> NDArray[np.uint8]:
    """(N, H, W) of the first camera."""
    return np.stack([cv2.cvtColor(frame.views[0].image, cv2.COLOR_RGB2GRAY) for frame in frames])
