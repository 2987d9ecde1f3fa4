# SPDX-License-Identifier: Apache-2.0
"""The last step of an estimate: depth as it may be published, at the size that is wanted, with its camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from da3_ros.engines.files import SKY_THRESHOLD
from da3_ros.estimation.filters import apply_range, mask_low_confidence
from da3_ros.estimation.pose import network_camera
from da3_ros.estimation.refinement import Refined
from da3_ros.estimation.steps import Settled
from da3_ros.estimation.upsample import upsample_confidence, upsample_depth, upsample_stddev
from da3_ros.estimation.views import ViewEstimate


def assemble(settled: Settled, refined: Sequence[Refined | None]) -> tuple[ViewEstimate, ...]:
    """Views of a set. refined: their depth in the place of that which was settled, where there is any."""
    prepared, raw, config = settled.task.prepared, settled.raw, settled.config
    out = []
    for i, view in enumerate(settled.task.views):
        h, w = prepared.windows[i]
        better = refined[i]
        depth, stddev = settled.depths[i], None
        confidence = np.ascontiguousarray(raw.confidence[i, :h, :w])
        if better is not None:
            depth, confidence, stddev = better.depth, better.confidence, better.stddev
        if settled.scale.metric:
            depth = apply_range(depth, config.min_range, config.max_range)
        depth = mask_low_confidence(depth, confidence, config.min_confidence)
        share = 0.0
        if raw.sky is not None:  # REP-117: beyond every range. Its confidence says nothing: it is 1 by rule
            sky = raw.sky[i, :h, :w] >= SKY_THRESHOLD
            depth, share = np.where(sky, np.float32(np.inf), depth), float(sky.mean())
        camera = prepared.cameras[i] or network_camera(raw, i, (h, w))
        image = np.ascontiguousarray(prepared.images[i, :h, :w])
        if config.full_resolution:
            large = prepared.rectified[i]
            height, width = large.shape[:2]
            depth = upsample_depth(depth, large, image)
            confidence = upsample_confidence(confidence, height, width)
            if stddev is not None:
                stddev = upsample_stddev(stddev, height, width)
            camera, image = view.straight_camera() or camera.scaled(width, height), large
        if stddev is not None:
            stddev = np.where(np.isfinite(depth), stddev, np.float32(np.nan))
        report = None if better is None else better.report
        out.append(
            ViewEstimate(
                view.name, view.stamp_ns, image, depth, confidence, camera, settled.poses[i], stddev, report, share
            )
        )
    return tuple(out)
