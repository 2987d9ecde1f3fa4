# SPDX-License-Identifier: Apache-2.0
"""Evidence from views of known pose: coarse sweep, small pose errors out, then stereo or a fine sweep, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from da3_ros.estimation.refinement.agreement import Mask
from da3_ros.estimation.refinement.bearings import Corrected, Offsets, beside_lines, correct_poses, offsets_between
from da3_ros.estimation.refinement.config import RefinementConfig
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Frame, Projection
from da3_ros.estimation.refinement.level import COARSE_STEP, Level, smaller
from da3_ros.estimation.refinement.pairs import Pair, Posed, worthwhile
from da3_ros.estimation.refinement.side_by_side import side_by_side
from da3_ros.estimation.refinement.sweep import Rules, Steps, textured
from da3_ros.estimation.refinement.sweeper import Sweeper, on_the_cpu
from da3_ros.estimation.refinement.told import by_stereo, by_sweep, kinds

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
class Seen:
    """What views say of each other."""

    evidence: list[Evidence]
    hints: list[Evidence]
    """What semi-global matching goes on to say where no texture confirms it: it counts where the rest agrees."""
    message: str = ""
    """Why some of it was thrown away."""
    wrong: frozenset[int] = frozenset()
    """Views of pairs that do not match at their poses: those that the message is about."""


def evidence_of_views(views: Sequence[Posed | None], config: RefinementConfig, sweeper: Sweeper = on_the_cpu) -> Seen:
    """Evidence of each view on the pixels of its depth map; none for a view whose pose is not known (None)."""
    known = [i for i, view in enumerate(views) if view is not None]
    posed = [view for view in views if view is not None]
    found, hints = [Evidence.none() for _ in views], [Evidence.none() for _ in views]
    pairs = worthwhile(posed)
    if not pairs:
        return Seen(found, hints)
    coarse = [smaller(view) for view in posed]
    rules = Rules()

    def try_all(frame: Frame, others: list[Frame]) -> Steps:
        return Steps.within(config.reach, frame, others, COARSE_STEP, config.hypotheses)

    first = Level.of(coarse, pairs, try_all, rules, sweeper)
    texture = side_by_side(lambda i: textured(coarse[i], rules), range(len(coarse)))
    sound = [pair for pair in pairs if _in_common(coarse, pair, first, texture)]
    if len(views) > 2:  # a view that shows something else spoils what others score: the rest is asked pair by pair
        rest = [pair for pair in pairs if pair not in sound]
        alone = {
            pair: Level.of(coarse, [pair, pair[::-1]], try_all, rules, sweeper) for pair in rest if pair[0] < pair[1]
        }
        better = {pair for pair, level in alone.items() if _in_common(coarse, pair, level, texture)}
        sound = [(i, j) for i, j in pairs if (i, j) in sound or (min(i, j), max(i, j)) in better]
    if not sound:
        return Seen(found, hints)
    if len(sound) < len(pairs):
        pairs = sound
        first = Level.of(coarse, pairs, try_all, rules, sweeper)
    wrong: set[Pair] = set()
    corrected, new = _corrected(posed, coarse, first, pairs)
    while new:  # again without them: what is wrong with one view must not go into the poses of the others
        wrong |= new
        pairs = [pair for pair in pairs if pair not in new]
        first = Level.of(coarse, pairs, try_all, rules, sweeper)
        corrected, new = _corrected(posed, coarse, first, pairs)
    message, told_of = _told(wrong), frozenset(known[k] for pair in wrong for k in pair)
    if not pairs:
        return Seen(found, hints, message, told_of)
    if corrected is not None:
        posed = [replace(v, frame=replace(v.frame, pose=p)) for v, p in zip(posed, corrected.poses, strict=True)]
        if corrected.before > AGAIN:  # else the first level saw enough
            coarse = [replace(frame, pose=p) for frame, p in zip(coarse, corrected.poses, strict=True)]
            first = Level.of(coarse, pairs, try_all, rules, sweeper)
    beside, across = kinds(posed, pairs)
    told = [own for pair, turned in beside.items() for own in by_stereo(posed, pair, turned, first, config)]
    if across:
        told += by_sweep(posed, coarse, first, across, rules, sweeper)
    for k, place in enumerate(known):
        found[place] = Evidence.joined([own.evidence for own in told if own.view == k])
        hints[place] = Evidence.joined([own.hints for own in told if own.view == k])
    return Seen(found, hints, message, told_of)


def _in_common(frames: Sequence[Frame], pair: Pair, level: Level, texture: Sequence[Mask]) -> bool:
    """Whether the two agree on more than chance would have it."""
    shares = []
    for i, j in (pair, pair[::-1]):
        projection = Projection.between(frames[i], frames[j])
        seen = projection.inside(*projection(np.exp(frames[i].log_depth)))
        shares.append(level.counts[i, j] / max(int((seen & texture[i]).sum()), 1))
    return max(shares) > COMMON


def _corrected(
    views: Sequence[Posed], frames: Sequence[Frame], level: Level, pairs: Sequence[Pair]
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
