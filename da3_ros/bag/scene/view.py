# SPDX-License-Identifier: Apache-2.0
"""A view of a scene: what clouds and models beside an output are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import ViewEstimate


@dataclass(frozen=True)
class SceneView:
    """A view with everything that a scene needs."""

    estimate: ViewEstimate
    """Pose in the scene's world."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB without distortion, at its own size or smaller (`scene.with_small_image`)."""
    index: int
    """Of its set."""
