# SPDX-License-Identifier: Apache-2.0
"""Metres that the network itself claims to know."""

from __future__ import annotations

import dataclasses

import numpy as np

from da3_ros.engines import RawEstimate
from da3_ros.estimation.preprocess import Prepared
from da3_ros.models import ModelRecord


def own_metres(raw: RawEstimate, prepared: Prepared, record: ModelRecord) -> tuple[RawEstimate, float | None]:
    """The estimate, and how many metres its unit has by the network itself: None where it does not claim to know, 0
    where these images do not tell.

    A nested network gives the number. The depth of one trained in the space of one camera of `focal_rule` pixels
    becomes metres here, times the mean focal length over it (paper, "Teaching Metric Model"; Metric3D, arXiv
    2307.10984).
    """
    if not record.metric:
        return raw, None
    if raw.metric_scale is not None:
        return raw, raw.metric_scale
    cameras = [camera for camera in prepared.cameras if camera is not None]
    if len(cameras) < len(prepared.cameras):
        return raw, None
    if record.focal_rule:
        ratio = [(camera.fx + camera.fy) / 2 / record.focal_rule for camera in cameras]
        raw = dataclasses.replace(raw, depth=raw.depth * np.array(ratio, np.float32)[:, None, None])
    return raw, 1.0
