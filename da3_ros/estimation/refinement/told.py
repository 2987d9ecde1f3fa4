# SPDX-License-Identifier: Apache-2.0
"""What views tell of each other, and how sure it is: by semi-global matching side by side, else by a fine sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.agreement import Mask
from da3_ros.estimation.refinement.config import RefinementConfig
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Frame, Map
from da3_ros.estimation.refinement.level import Level
from da3_ros.estimation.refinement.outlines import beside_outline, changes_along_rows
from da3_ros.estimation.refinement.pairs import Pair, Posed
from da3_ros.estimation.refinement.side_by_side import side_by_side
from da3_ros.estimation.refinement.spread import spread
from da3_ros.estimation.refinement.stereo import NOISE_PX as STEREO_NOISE
from da3_ros.estimation.refinement.stereo import Disparities, Rectified, match, rectification
from da3_ros.estimation.refinement.sweep import Rules, Steps, confirmed
from da3_ros.estimation.refinement.sweeper import Sweeper
from da3_ros.estimation.resize import resize

FINE = 3.0, 1.5, 0.15
"""The fine sweep searches so many pixels around the first level's answer, in such steps, and by at most this much of
log depth."""
CONFIRM = Rules(window=5, score=0.5, texture=5.0)
"""What semi-global matching says must be seen in both images: where nothing is, it guesses."""
OUTLINE = 2
"""Pixels from outlines within which it may tell the depth of the thing in front."""
SWEEP_NOISE = 0.25
"""Standard deviation of a matched place in pixels."""
AT_ODDS = 0.15
"""Share of pixels where semi-global matching and the sweep may differ: 0.13 at most on sound rigs, 0.2 and more where a
fence fills the image."""
DIFFERENT = 0.1
"""Log depth from which on they do."""
LEAST_COMPARED = 200
LEAST_TO_SPREAD = 20
"""Pixels of the first level that the fine sweep may lean on."""
LARGEST_SIGMA = 0.15
"""Less sure evidence is left out."""


@dataclass(frozen=True)
class Told:
    """Of one view."""

    view: int
    evidence: Evidence
    hints: Evidence
    """What counts where the rest agrees."""


def kinds(views: Sequence[Posed], pairs: Sequence[Pair]) -> tuple[dict[Pair, Rectified], list[Pair]]:
    """Pairs of one moment that stand side by side, (left, right), and all others."""
    beside: dict[Pair, Rectified] = {}
    for i, j in pairs:
        if views[i].body == views[j].body:
            turned = rectification(views[i].frame.pose, views[j].frame.pose)
            if turned is not None:
                beside[i, j] = turned
    return beside, [(i, j) for i, j in pairs if (i, j) not in beside and (j, i) not in beside]


def by_stereo(
    views: Sequence[Posed], pair: Pair, turned: Rectified, first: Level, config: RefinementConfig
) -> list[Told]:
    """Of a pair that stands side by side, (left, right); nothing where what is found and the sweep are at odds."""
    a, b = (views[k] for k in pair)
    large_a, large_b = (_at_most(view, config) for view in (a, b))
    both = match(a.frame, b.frame, large_a, large_b, turned, config.reach)
    if max(_at_odds(told, first, k) for k, told in zip(pair, both, strict=True)) > AT_ODDS:
        return []
    ratio = large_a.shape[1] / a.frame.grey.shape[1]
    out = []
    for k, view, other, told in ((pair[0], a, b, both[0]), (pair[1], b, a, both[1])):
        sigma = _sigma(told.pixels_per_log / ratio, STEREO_NOISE / ratio, view.frame.camera.fx, view.sigma[0])
        sure = told.accepted & confirmed(view.frame, other.frame, told.log_depth, CONFIRM)
        swept = first.found[k]
        if swept is not None:
            sure &= ~_at_size(swept.ambiguous, sure.shape)
        grey = view.frame.grey
        sure &= changes_along_rows(grey) & ~beside_outline(grey, told.log_depth, told.accepted, OUTLINE)
        common = _common(view, told.pixels_per_log / ratio, sure, turned.baseline)
        own, hints = (_pieces(told.log_depth, mask, sigma, common) for mask in (sure, told.accepted & ~sure))
        out.append(Told(k, own, hints))
    return out


def _at_odds(told: Disparities, first: Level, k: int) -> float:
    """Share of the pixels that both ways of matching tell where they differ: they do where textures repeat."""
    swept = first.found[k]
    if swept is None:
        return 0.0
    size = swept.log_depth.shape[::-1]
    small = cv2.resize(told.log_depth, size, interpolation=cv2.INTER_NEAREST)
    both = first.agreed[k] & (cv2.resize(told.accepted.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)
    if both.sum() < LEAST_COMPARED:
        return 0.0
    return float((np.abs(small - swept.log_depth)[both] > DIFFERENT).mean())


def _at_size(mask: Mask, shape: tuple[int, ...]) -> Mask:
    return cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def _at_most(view: Posed, config: RefinementConfig) -> NDArray[np.uint8]:
    most = config.size or 3 * max(view.frame.grey.shape)
    h, w = view.large.shape
    scale = most / max(h, w)
    return view.large if scale >= 1 else resize(view.large, round(w * scale), round(h * scale))


def by_sweep(
    views: Sequence[Posed],
    coarse: Sequence[Frame],
    first: Level,
    pairs: Sequence[Pair],
    rules: Rules,
    sweeper: Sweeper,
) -> list[Told]:
    """Of all other pairs, at the size of the depth maps; coarse: the frames of the first level."""

    def nearer(i: int) -> Frame:
        view, base = views[i], views[i].frame.log_depth
        swept = first.found[i]
        if swept is None:
            return view.frame
        agreed = first.agreed[i]
        if agreed.sum() >= LEAST_TO_SPREAD:
            change = spread(swept.log_depth - coarse[i].log_depth, agreed)
            base = base + cv2.resize(change, base.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return replace(view.frame, log_depth=np.ascontiguousarray(base, np.float32))

    frames = side_by_side(nearer, range(len(views)))
    level = Level.of(frames, pairs, lambda frame, others: Steps.around(frame, others, *FINE), rules, sweeper)
    out = []
    for i, view in enumerate(views):
        found = level.found[i]
        if found is not None and view.wanted:
            baseline = min(
                np.linalg.norm(view.frame.pose[:3, 3] - views[j].frame.pose[:3, 3]) for a, j in pairs if a == i
            )
            sigma = _sigma(found.pixels_per_log, SWEEP_NOISE, view.frame.camera.fx, view.sigma[0])
            common = _common(view, found.pixels_per_log, level.agreed[i], float(baseline))
            out.append(Told(i, _pieces(found.log_depth, level.agreed[i], sigma, common), Evidence.none()))
    return out


def _common(view: Posed, pixels_per_log: Map, accepted: Mask, baseline: float) -> float:
    """Standard deviation of log depth that the pose's errors give all evidence of a view alike."""
    if not accepted.any():
        return 0.0
    turned = view.frame.camera.fx * view.sigma[0] / float(np.median(pixels_per_log[accepted]))
    return float(np.hypot(turned, view.sigma[1] / max(baseline, 1e-6)))


def _sigma(pixels_per_log: Map, noise: float, focal: float, angle: float) -> Map:
    """Standard deviation of log depth: of matching, in pixels, and of the angle between the cameras."""
    return np.asarray(np.hypot(noise, focal * angle) / np.maximum(pixels_per_log, 1e-3), np.float32)


def _pieces(log_depth: Map, accepted: Mask, sigma: Map, common: float = 0.0) -> Evidence:
    rows, columns = np.nonzero(accepted & (sigma < LARGEST_SIGMA))
    return Evidence.of(rows, columns, log_depth[rows, columns], sigma[rows, columns], "views", common)
