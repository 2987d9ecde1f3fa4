# SPDX-License-Identifier: Apache-2.0
"""A set of frames on its way from messages to outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import Estimate, View
from da3_ros.sync import FrameSet

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """A view and where it came from."""

    view: View
    frame_id: str
    rectified: bool = False
    """Whether its image came rectified."""
    turn: Matrix | None = None
    """R_view_camera (3, 3), by which rectification turned the view from its frame in /tf; None: not at all."""
    beside: float = 0.0
    """Metres along x from the first camera of a rectified pair, by P of its CameraInfo."""


@dataclass
class Work:
    """A set on its way from messages to outputs; each step fills in its own."""

    frames: FrameSet
    sources: list[Source]
    world: str
    """Frame of the poses; empty: nothing tells it."""
    decode_ms: float
    others: list[View]
    """Views of other moments that the network sees beside those of this one."""
    to_fused: Matrix | None = None
    """T_fused_world (4, 4), where it was looked up already."""
    task: Any = None
    inferred: Any = None
    settled: Any = None
    result: Estimate | None = None

    @property
    def views(self) -> list[View]:
        """Views of this moment."""
        return [source.view for source in self.sources]

    @property
    def estimate(self) -> Estimate:
        """Of a set that has been estimated."""
        assert self.result is not None
        return self.result
