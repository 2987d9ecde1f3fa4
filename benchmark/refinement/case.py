# SPDX-License-Identifier: Apache-2.0
"""One set of views with the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import View
from da3_ros.geometry import CameraModel


@dataclass(frozen=True)
class Truth:
    """True depth of one view (h, w), metres along the optical axis, NaN unknown, and its camera."""

    depth: NDArray[np.float32]
    camera: CameraModel


@dataclass(frozen=True)
class Case:
    """Views of one scene, and what is known of their depth; `truth[i]` is that of `views[i]`, None where unknown."""

    name: str
    views: tuple[View, ...]
    truth: tuple[Truth | None, ...]

    def __post_init__(self) -> None:
        if len(self.views) != len(self.truth):
            raise ValueError(f"case {self.name!r}: {len(self.views)} views, but truth for {len(self.truth)}")
