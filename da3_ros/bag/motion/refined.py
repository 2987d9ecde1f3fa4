# SPDX-License-Identifier: Apache-2.0
"""Depth of a chunk's views, refined by each other: they see the same places, from poses that matches tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from da3_ros.estimation import PoseEstimate, RefinementConfig, View, ViewEstimate
from da3_ros.estimation.filters import median_depth
from da3_ros.estimation.lens import rectify
from da3_ros.estimation.refinement import Refined, Subject, refine
from da3_ros.estimation.refinement.subjects import sigma_of
from da3_ros.estimation.refinement.sweeper import Sweeper, on_the_cpu

LEAST_MOVE = 0.002
"""Standard deviation of a matched position, at least, as a share of the median depth."""


def refine_chunk(
    views: Sequence[View],
    estimates: Sequence[ViewEstimate],
    poses: Sequence[PoseEstimate | None],
    config: RefinementConfig,
    *,
    metric: bool,
    sweeper: Sweeper = on_the_cpu,
) -> list[Refined]:
    """Every view, in the chunk's unit.

    poses: T_chunk_camera in that unit; None: not known, the view stays as it is. So do views without a calibration:
    what the network takes for the focal length is no measure. metric: the unit is the metre. sweeper: who sweeps.
    """
    unit = median_depth(np.concatenate([e.depth[::4, ::4].ravel() for e in estimates]))
    subjects = []
    for view, estimate, pose in zip(views, estimates, poses, strict=True):
        angle, distance = (0.0, 0.0) if pose is None else sigma_of(pose)
        own = view.straight_camera()
        subjects.append(
            Subject(
                depth=estimate.depth,
                confidence=estimate.confidence,
                image=estimate.image,
                large=rectify(view.image, view.camera)[0],
                camera=None if own is None else estimate.camera,
                pose=None if pose is None else pose.T_world_camera,
                sigma=(angle, max(distance, LEAST_MOVE * unit)),
                body=view.body,
                measured=(view.measured, own) if metric and view.measured is not None and own is not None else None,
            )
        )
    out = []
    for better in refine(subjects, config, sweeper=sweeper):
        assert better is not None, "every view is wanted"
        out.append(better)
    return out


def has_rig(views: Sequence[View]) -> bool:
    """Whether some views of one moment are mounted on one body."""
    return any(len(own) > 1 for own in _bodies(views))


def refine_moments(
    views: Sequence[View],
    estimates: Sequence[ViewEstimate],
    config: RefinementConfig,
    sweeper: Sweeper = on_the_cpu,
) -> list[Refined | None]:
    """Every view, in metres, by what the cameras of its body see of each other: its calibration is known, whatever the
    motion. None for views that are not mounted.
    """
    out: list[Refined | None] = [None] * len(views)
    for own in _bodies(views):
        poses = [_mounted(views[i]) for i in own]
        mine = [views[i] for i in own], [estimates[i] for i in own]
        found = refine_chunk(*mine, poses, config, metric=True, sweeper=sweeper)
        for i, better in zip(own, found, strict=True):
            out[i] = better
    return out


def _bodies(views: Sequence[View]) -> list[list[int]]:
    """Views that are mounted, by body."""
    numbers = sorted({view.body for view in views})
    return [[i for i, v in enumerate(views) if v.body == number and v.mount is not None] for number in numbers]


def _mounted(view: View) -> PoseEstimate:
    assert view.mount is not None
    return PoseEstimate(np.asarray(view.mount, np.float64), "calibrated", np.zeros((6, 6)))
