# SPDX-License-Identifier: Apache-2.0
"""Two sweepers on a made set: do they find the same, and which is faster?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from da3_ros.estimation.refinement.config import RefinementConfig
from da3_ros.estimation.refinement.frame import Frame
from da3_ros.estimation.refinement.level import COARSE_STEP
from da3_ros.estimation.refinement.pairs import PARTNERS
from da3_ros.estimation.refinement.sweep import Found, Rules, Steps
from da3_ros.estimation.refinement.sweeper import Job, Sweeper, on_the_cpu
from da3_ros.estimation.refinement.told import FINE
from da3_ros.geometry.cameras import CameraModel

REPEATS = 3
"""Runs of each that are timed, after one that is not: the fastest counts, for others use the machine, too."""
ACCEPTED, OFF = 0.98, 0.005
"""What is found is the same where at least this share of the pixels is accepted or left out alike, and 95 % of the
log depths that both accept differ by less. Where a view's part of the image ends, patches of the CPU code end, too."""


@dataclass(frozen=True)
class Trial:
    """How one sweeper did beside the CPU code."""

    cpu_ms: float
    other_ms: float
    """Milliseconds a view, both levels."""
    alike: float
    """Share of the pixels that both accept, or both leave out."""
    off: float
    """Difference of log depth that 95 % of the pixels that both accept keep."""

    def __str__(self) -> str:
        return (
            f"{self.alike:.2%} of the pixels are accepted or left out as by the CPU code, 95 % of the log depths lie "
            f"within {self.off:.4f} of its own; {self.other_ms:.1f} ms a view, the CPU code {self.cpu_ms:.1f}"
        )

    @property
    def agrees(self) -> bool:
        """Whether what is found is the same."""
        return self.alike >= ACCEPTED and self.off <= OFF


def compare(other: Sweeper, views: int, height: int, width: int) -> Trial:
    """Both levels of a made set of views with depth maps of height x width, by the CPU code and by another sweeper."""
    levels = made_levels(views, height, width)
    milliseconds, found = zip(*(_timed(sweeper, levels) for sweeper in (on_the_cpu, other)), strict=True)
    alike, off = difference(*found)
    return Trial(milliseconds[0] / views, milliseconds[1] / views, alike, off)


def difference(one: Sequence[Found], other: Sequence[Found]) -> tuple[float, float]:
    """Share of the pixels that both accept, or both leave out, and the difference of log depth that 95 % of those keep
    that both accept; infinite where there are none.
    """
    alike = [a.accepted == b.accepted for a, b in zip(one, other, strict=True)]
    both = [a.accepted & b.accepted for a, b in zip(one, other, strict=True)]
    off = [np.abs(a.log_depth - b.log_depth)[m] for a, b, m in zip(one, other, both, strict=True)]
    joined = np.concatenate(off)
    share = float(np.mean(np.concatenate([each.ravel() for each in alike])))
    return share, float(np.percentile(joined, 95)) if len(joined) else float("inf")


def made_levels(views: int, height: int, width: int) -> tuple[list[Job], list[Job]]:
    """A coarse and a fine level, as the refinement asks for them: cameras in a row before a slanted, textured wall of
    which the network knows the depth by a tenth.
    """
    config = RefinementConfig()

    def jobs(height: int, width: int, wrong: float, steps: Callable[[Frame, list[Frame]], Steps]) -> list[Job]:
        frames = [_made_view(k, views, height, width, wrong) for k in range(views)]
        out = []
        for k, frame in enumerate(frames):
            nearest = sorted((abs(j - k), j) for j in range(views) if j != k)[:PARTNERS]
            others = [frames[j] for _, j in nearest]
            out.append(Job(frame, others, steps(frame, others)))
        return out

    def near(frame: Frame, others: list[Frame]) -> Steps:
        return Steps.around(frame, others, *FINE)

    def far(frame: Frame, others: list[Frame]) -> Steps:
        return Steps.within(config.reach, frame, others, COARSE_STEP, config.hypotheses)

    return jobs(-(-height // 2), -(-width // 2), 0.1, far), jobs(height, width, 0.02, near)


def _made_view(k: int, views: int, height: int, width: int, wrong: float) -> Frame:
    """The k-th camera, exact but for `wrong` of log depth."""
    focal = 0.8 * width
    camera = CameraModel.pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    pose = np.eye(4)
    pose[0, 3] = 0.12 * (k - (views - 1) / 2)
    # The wall z = 2 + 0.2 x; of a ray (x, y, 1) from the camera's place s it is hit at (2 + 0.2 s) / (1 - 0.2 x).
    x, y = np.meshgrid((np.arange(width) - camera.cx) / focal, (np.arange(height) - camera.cy) / focal)
    depth = (2 + 0.2 * pose[0, 3]) / (1 - 0.2 * x)
    u, v = ((place * 110 + 300).astype(np.float32) for place in (x * depth + pose[0, 3], y * depth))
    grey = cv2.remap(_paper(), u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    bend = wrong * np.sin(5 * x + k) * np.cos(4 * y)
    return Frame(np.clip(grey, 0, 255), camera, pose, (np.log(depth) + bend).astype(np.float32))


def _paper() -> np.ndarray:
    """Smooth noise (600, 600)."""
    noise = np.random.default_rng(0).uniform(0, 1, (600, 600)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5, borderType=cv2.BORDER_REFLECT)
    return np.asarray(128 + 60 * (smooth - smooth.mean()) / smooth.std(), np.float32)


def _timed(sweeper: Sweeper, levels: Sequence[Sequence[Job]]) -> tuple[float, list[Found]]:
    """Milliseconds of all levels, and what was found in them."""
    rules = Rules()
    seconds = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        found = [each for jobs in levels for each in sweeper(jobs, rules)]
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:]) * 1e3, found
