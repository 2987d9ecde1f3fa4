# SPDX-License-Identifier: Apache-2.0
"""Evidence from views of known pose: coarse sweep, small pose errors out, then stereo or a fine sweep, pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.agreement import Mask, agreeing
from da3_ros.estimation.refinement.bearings import Corrected, Offsets, beside_lines, correct_poses, offsets_between
from da3_ros.estimation.refinement.config import RefinementConfig
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Frame, Map, Projection
from da3_ros.estimation.refinement.side_by_side import side_by_side
from da3_ros.estimation.refinement.spread import spread
from da3_ros.estimation.refinement.stereo import NOISE_PX as STEREO_NOISE
from da3_ros.estimation.refinement.stereo import Disparities, Rectified, match, rectification
from da3_ros.estimation.refinement.sweep import Found, Rules, Steps, confirmed, textured
from da3_ros.estimation.refinement.sweeper import Job, Sweeper, on_the_cpu
from da3_ros.estimation.resize import resize

Pair = tuple[int, int]

COARSE = 0.5
"""Size of the first level against the network's."""
COARSE_STEP = 1.4
"""Pixels of the first level between two hypotheses."""
FINE = 3.0, 1.5, 0.15
"""The second level searches so many pixels around the first one's answer, in such steps, and by at most this much of
log depth."""
CONFIRM = Rules(window=5, score=0.5, texture=5.0)
"""What semi-global matching says must be seen in both images: where nothing is, it guesses."""
SWEEP_NOISE = 0.25
"""Standard deviation of a matched place in pixels."""
AT_ODDS = 0.15
"""Share of pixels where semi-global matching and the sweep may differ: 0.13 at most on sound rigs, 0.2 and more where a
fence fills the image."""
DIFFERENT = 0.1
"""Log depth from which on they do."""
LEAST_COMPARED = 200
LEAST_TO_SPREAD = 20
"""Pixels of the first level that the second one may lean on."""
OVERLAP = 0.05
"""Least share of a view's pixels that another one must see."""
PARALLAX = 4.0
"""Least motion of a pixel where log depth changes by 1, in pixels: below, depth is a guess."""
PARTNERS = 4
"""Views that one is compared with at most, ..."""
OF_MANY = 2
"""... and of more than five views in all: each is compared with others again."""
LARGEST_SIGMA = 0.15
"""Less sure evidence is left out."""
COMMON = 0.1
"""Share of the pixels with texture whose depth two views must agree on: where they look at the same, at poses that are
right, it is 0.15 and more (rendered rigs), elsewhere chance finds 0.05."""
SMALL_ERROR = 0.1
"""Pixels of the first level beside the epipolar lines, in the median of a pair, from which on poses are corrected."""
AGAIN = 0.35
"""The same, from which on the first level is done again with the corrected poses."""
LEFT_OVER = 0.25
"""So much may be left of it at most: else the poses are wrong in a way that no small correction mends."""
FAR_OFF = 3.0
"""Standard deviations by which a pose may be corrected; more says that it is wrong."""


@dataclass(frozen=True)
class Posed:
    """A view whose place is known."""

    frame: Frame
    """At the size of its depth map."""
    large: NDArray[np.uint8]
    """(H, W) grey, without distortion, at its own size."""
    sigma: tuple[float, float]
    """Standard deviation of the pose: radians and metres."""
    body: int
    """Views of one body were taken together."""
    wanted: bool = True
    """False: only what it tells of others counts."""


@dataclass(frozen=True)
class Seen:
    """What views say of each other."""

    evidence: list[Evidence]
    message: str = ""
    """Why some of it was thrown away."""
    wrong: frozenset[int] = frozenset()
    """Views of pairs that do not match at their poses: those that the message is about."""


def evidence_of_views(views: Sequence[Posed | None], config: RefinementConfig, sweeper: Sweeper = on_the_cpu) -> Seen:
    """Evidence of each view on the pixels of its depth map; none for a view whose pose is not known (None)."""
    known = [i for i, view in enumerate(views) if view is not None]
    posed = [view for view in views if view is not None]
    found = [Evidence.none() for _ in views]
    pairs = _pairs(posed)
    if not pairs:
        return Seen(found)
    coarse = [_smaller(view) for view in posed]
    rules = Rules()

    def try_all(frame: Frame, others: list[Frame]) -> Steps:
        return Steps.within(config.reach, frame, others, COARSE_STEP, config.hypotheses)

    first = _Level.of(coarse, pairs, try_all, rules, sweeper)
    sound = [pair for pair in pairs if _in_common(coarse, pair, first, rules)]
    if len(views) > 2:  # a view that shows something else spoils what others score: the rest is asked pair by pair
        rest = [pair for pair in pairs if pair not in sound]
        alone = {
            pair: _Level.of(coarse, [pair, pair[::-1]], try_all, rules, sweeper) for pair in rest if pair[0] < pair[1]
        }
        better = {pair for pair, level in alone.items() if _in_common(coarse, pair, level, rules)}
        sound = [(i, j) for i, j in pairs if (i, j) in sound or (min(i, j), max(i, j)) in better]
    if not sound:
        return Seen(found)
    if len(sound) < len(pairs):
        pairs = sound
        first = _Level.of(coarse, pairs, try_all, rules, sweeper)
    wrong: set[Pair] = set()
    corrected, new = _corrected(posed, coarse, first, pairs)
    while new:  # again without them: what is wrong with one view must not go into the poses of the others
        wrong |= new
        pairs = [pair for pair in pairs if pair not in new]
        first = _Level.of(coarse, pairs, try_all, rules, sweeper)
        corrected, new = _corrected(posed, coarse, first, pairs)
    message, told_of = _told(wrong), frozenset(known[k] for pair in wrong for k in pair)
    if not pairs:
        return Seen(found, message, told_of)
    if corrected is not None:
        posed = [replace(v, frame=replace(v.frame, pose=p)) for v, p in zip(posed, corrected.poses, strict=True)]
        if corrected.before > AGAIN:  # else the first level saw enough
            coarse = [replace(frame, pose=p) for frame, p in zip(coarse, corrected.poses, strict=True)]
            first = _Level.of(coarse, pairs, try_all, rules, sweeper)
    beside, across = _kinds(posed, pairs)
    parts: list[list[Evidence]] = [[] for _ in posed]
    for pair, turned in beside.items():
        _add_stereo(parts, posed, pair, turned, first, config)
    if across:
        _add_sweep(parts, posed, coarse, first, across, rules, sweeper)
    for k, own in zip(known, parts, strict=True):
        found[k] = Evidence.joined(own)
    return Seen(found, message, told_of)


@dataclass(frozen=True)
class _Level:
    """Frames of one size, swept."""

    found: list[Found | None]
    agreed: list[Mask]
    counts: dict[Pair, int]
    """Pixels on which each pair agrees."""

    @classmethod
    def of(
        cls,
        frames: Sequence[Frame],
        pairs: Sequence[Pair],
        steps: Callable[[Frame, list[Frame]], Steps],
        rules: Rules,
        sweeper: Sweeper,
    ) -> _Level:
        """steps: what to try for a frame with others."""

        def job(i: int) -> Job:
            others = [frames[j] for a, j in pairs if a == i]
            return Job(frames[i], others, steps(frames[i], others))

        asked = sorted({i for i, _ in pairs})
        answers = dict(zip(asked, sweeper(side_by_side(job, asked), rules), strict=True))
        found = [answers.get(i) for i in range(len(frames))]
        depths = [frame.log_depth if f is None else f.log_depth for f, frame in zip(found, frames, strict=True)]
        masks = [
            np.zeros(frame.grey.shape, bool) if f is None else f.accepted
            for f, frame in zip(found, frames, strict=True)
        ]
        tolerance = [
            np.zeros(frame.grey.shape, np.float32) if f is None else _tolerance(f)
            for f, frame in zip(found, frames, strict=True)
        ]
        return cls(found, *agreeing(frames, depths, masks, pairs, tolerance))

    def depth(self, i: int) -> Map:
        found = self.found[i]
        assert found is not None
        return found.log_depth


def _tolerance(found: Found) -> Map:
    return np.asarray(np.clip(0.75 / np.maximum(found.pixels_per_log, 1e-3), 0.01, 0.05), np.float32)


def _smaller(view: Posed) -> Frame:
    frame = view.frame
    h, w = (max(8, round(side * COARSE)) for side in frame.grey.shape)
    log_depth = cv2.resize(frame.log_depth, (w, h), interpolation=cv2.INTER_AREA)
    grey = cv2.resize(frame.grey, (w, h), interpolation=cv2.INTER_AREA)
    return Frame(grey, frame.camera.scaled(w, h), frame.pose, log_depth)


def _pairs(views: Sequence[Posed]) -> list[Pair]:
    """(i, j): j tells something about i, both ways."""
    worth: dict[Pair, float] = {}
    for i, a in enumerate(views):
        for j, b in enumerate(views):
            if i != j:
                worth[i, j] = _worth(a, b) if a.wanted or b.wanted else 0.0
    chosen: set[Pair] = set()
    for i in range(len(views)):
        both = sorted(((min(worth[i, j], worth[j, i]), j) for j in range(len(views)) if j != i), reverse=True)
        for value, j in both[: PARTNERS if len(views) <= PARTNERS + 1 else OF_MANY]:
            if value > 0:
                chosen |= {(i, j), (j, i)}
    return sorted(chosen)


def _worth(a: Posed, b: Posed) -> float:
    """How much view b can tell of a's depth: the share that it sees times its parallax, up to what is enough."""
    if np.linalg.norm(a.frame.pose[:3, 3] - b.frame.pose[:3, 3]) < 2 * max(a.sigma[1], b.sigma[1]):
        return 0.0
    depth = np.exp(a.frame.log_depth[::8, ::8])
    projection = Projection.between(a.frame, b.frame).cropped(slice(None, None, 8), slice(None, None, 8))
    here, there = projection(depth), projection(depth * np.float32(1.1))
    seen = projection.inside(*here) & projection.inside(*there)
    share = float(seen.mean())
    if share < OVERLAP:
        return 0.0
    motion = float(np.median(np.hypot(here[0] - there[0], here[1] - there[1])[seen])) / 0.0953
    return share * min(motion / 40, 1.0) if motion > PARALLAX else 0.0


def _in_common(frames: Sequence[Frame], pair: Pair, level: _Level, rules: Rules) -> bool:
    """Whether the two agree on more than chance would have it."""
    shares = []
    for i, j in (pair, pair[::-1]):
        projection = Projection.between(frames[i], frames[j])
        seen = projection.inside(*projection(np.exp(frames[i].log_depth)))
        shares.append(level.counts[i, j] / max(int((seen & textured(frames[i], rules)).sum()), 1))
    return max(shares) > COMMON


def _corrected(
    views: Sequence[Posed], frames: Sequence[Frame], level: _Level, pairs: Sequence[Pair]
) -> tuple[Corrected | None, set[Pair]]:
    """Corrected poses, where they need it, and pairs that cannot be right."""

    def told(k: int) -> Offsets | None:
        i, j = pairs[k]
        return offsets_between(frames, i, j, level.depth(i), level.agreed[i], 7)

    offsets = [found for found in side_by_side(told, range(len(pairs))) if found is not None]
    if not offsets or max(beside_lines(frames, pair) for pair in offsets) < SMALL_ERROR:
        return None, set()
    corrected = correct_poses(frames, offsets, [view.sigma for view in views])
    off = {k for k in range(len(views)) if corrected.off[k] > FAR_OFF}
    wrong = {pair for pair in pairs if pair[0] in off or pair[1] in off or max(_of(corrected.left, pair)) > LEFT_OVER}
    return corrected, wrong


def _of(values: dict[Pair, float], pair: Pair) -> list[float]:
    i, j = pair
    return [values[p] for p in ((i, j), (j, i)) if p in values] or [0.0]


def _told(wrong: set[Pair]) -> str:
    if not wrong:
        return ""
    return f"{len(wrong) // 2 or 1} pair(s) of views do not match at their poses: calibrate anew"


def _kinds(views: Sequence[Posed], pairs: Sequence[Pair]) -> tuple[dict[Pair, Rectified], list[Pair]]:
    """Pairs of one moment that stand side by side, (left, right), and all others."""
    beside: dict[Pair, Rectified] = {}
    for i, j in pairs:
        if views[i].body == views[j].body:
            turned = rectification(views[i].frame.pose, views[j].frame.pose)
            if turned is not None:
                beside[i, j] = turned
    return beside, [(i, j) for i, j in pairs if (i, j) not in beside and (j, i) not in beside]


def _add_stereo(
    parts: list[list[Evidence]],
    views: Sequence[Posed],
    pair: Pair,
    turned: Rectified,
    first: _Level,
    config: RefinementConfig,
) -> None:
    """Evidence of a pair that stands side by side; none where what is found there and in the sweep are at odds."""
    a, b = (views[k] for k in pair)
    large_a, large_b = (_at_most(view, config) for view in (a, b))
    both = match(a.frame, b.frame, large_a, large_b, turned, config.reach)
    if max(_at_odds(told, first, k) for k, told in zip(pair, both, strict=True)) > AT_ODDS:
        return
    ratio = large_a.shape[1] / a.frame.grey.shape[1]
    for k, view, other, told in ((pair[0], a, b, both[0]), (pair[1], b, a, both[1])):
        sigma = _sigma(told.pixels_per_log / ratio, STEREO_NOISE / ratio, view.frame.camera.fx, view.sigma[0])
        accepted = told.accepted & confirmed(view.frame, other.frame, told.log_depth, CONFIRM)
        swept = first.found[k]
        if swept is not None:
            accepted &= ~_at_size(swept.ambiguous, accepted.shape)
        parts[k].append(
            _pieces(
                told.log_depth, accepted, sigma, _common(view, told.pixels_per_log / ratio, accepted, turned.baseline)
            )
        )


def _at_odds(told: Disparities, first: _Level, k: int) -> float:
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


def _add_sweep(
    parts: list[list[Evidence]],
    views: Sequence[Posed],
    coarse: Sequence[Frame],
    first: _Level,
    pairs: Sequence[Pair],
    rules: Rules,
    sweeper: Sweeper,
) -> None:
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
    level = _Level.of(frames, pairs, lambda frame, others: Steps.around(frame, others, *FINE), rules, sweeper)
    for i, view in enumerate(views):
        found = level.found[i]
        if found is not None and view.wanted:
            baseline = min(
                np.linalg.norm(view.frame.pose[:3, 3] - views[j].frame.pose[:3, 3]) for a, j in pairs if a == i
            )
            sigma = _sigma(found.pixels_per_log, SWEEP_NOISE, view.frame.camera.fx, view.sigma[0])
            common = _common(view, found.pixels_per_log, level.agreed[i], float(baseline))
            parts[i].append(_pieces(found.log_depth, level.agreed[i], sigma, common))


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
