# SPDX-License-Identifier: Apache-2.0
"""Frames of one size, swept at once, and what they agree on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from da3_ros.estimation.refinement.agreement import Mask, agreeing
from da3_ros.estimation.refinement.frame import Frame, Map
from da3_ros.estimation.refinement.pairs import Pair, Posed
from da3_ros.estimation.refinement.side_by_side import side_by_side
from da3_ros.estimation.refinement.sweep import Found, Rules, Steps
from da3_ros.estimation.refinement.sweeper import Job, Sweeper

COARSE = 0.5
"""Size of the first level against the network's."""
COARSE_STEP = 1.4
"""Pixels of the first level between two hypotheses."""


@dataclass(frozen=True)
class Level:
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
    ) -> Level:
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


def smaller(view: Posed) -> Frame:
    """The view's frame at the size of the first level."""
    frame = view.frame
    h, w = (max(8, round(side * COARSE)) for side in frame.grey.shape)
    log_depth = cv2.resize(frame.log_depth, (w, h), interpolation=cv2.INTER_AREA)
    grey = cv2.resize(frame.grey, (w, h), interpolation=cv2.INTER_AREA)
    return Frame(grey, frame.camera.scaled(w, h), frame.pose, log_depth)
