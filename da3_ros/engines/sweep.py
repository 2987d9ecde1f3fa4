# SPDX-License-Identifier: Apache-2.0
"""The plane sweep as a program: arrays of a whole set in, arrays out, by what runs networks here.

The graph is `sweep.onnx` beside this file, made by `da3_ros.export.sweep`. Letters of shapes: B frames that are swept,
J other views of each, K depths to try; (h, w) the largest image, (H, W) the same with MARGIN pixels around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

GRAPH = Path(__file__).with_name("sweep.onnx")
WINDOW = 7
"""Side of the patches that are compared, in pixels."""
MARGIN = WINDOW // 2
DEPTHS_FINE, DEPTHS_COARSE = 5, (16, 48)
"""Depths of a pixel at the size of the depth map and at half of it, that plans are built for."""
MOST_OTHERS = 4
"""Other views of each that plans are built for, at most."""
METADATA = {"da3.window": str(WINDOW), "da3.depths": f"{DEPTHS_FINE}, {DEPTHS_COARSE}, {MOST_OTHERS}"}
"""Part of the file, so that plans of other numbers do not fit it."""

INPUTS: dict[str, tuple[str | int, ...]] = {
    "grey": ("B", "H", "W"),  # 0 to 255; these three planes with a margin reflected at their border
    "log_depth": ("B", "H", "W"),  # where the search begins
    "unit": ("B", "H", "W"),  # of the steps
    "x": ("B", "W"),  # rays of the pixels, z = 1, with the same margin
    "y": ("B", "H"),
    "steps": ("B", 3),  # first, size and count of the depths: log depth + (first + place * size) * unit
    "others": ("B", "J", "h", "w"),  # what the other views see, 0 to 255
    "projections": ("B", "J", 3, 4),  # K [R | t], from the frame's camera to the other view's pixels
    "last": ("B", "J", 2),  # the other view's last column and row; negative: there is no such view
    "places": ("K",),  # 0, 1, ...
    "rules": (3,),  # score, margin and texture from which on a best depth is believed
}
"""All of float32."""
OUTPUTS: dict[str, tuple[str | int, ...]] = dict.fromkeys(
    ("found", "accepted", "pixels_per_log", "ambiguous"), ("B", "h", "w")
)
"""The fields of a `Found`, all of float32; what is true is 1."""


class SweepShape(NamedTuple):
    """How much a call holds."""

    frames: int
    others: int
    depths: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.frames} x {self.others} views of {self.height}x{self.width} at {self.depths} depths"

    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs by name."""
        h, w = self.height, self.width
        sizes = {"B": self.frames, "J": self.others, "K": self.depths, "h": h, "w": w}
        sizes.update(H=h + 2 * MARGIN, W=w + 2 * MARGIN)
        return {
            name: tuple(side if isinstance(side, int) else sizes[side] for side in sides)
            for name, sides in INPUTS.items()
        }

    def holds(self, other: SweepShape) -> bool:
        """Whether frames of the other one have room in this, one at a time at least."""
        return all(here >= there for here, there in zip(self[1:], other[1:], strict=True))


def sweep_shapes(views: int, height: int, width: int) -> tuple[SweepShape, ...]:
    """Shapes in which a set of views with depth maps of height x width is swept; none for a single view."""
    if views < 2:
        return ()
    others, half = min(views - 1, MOST_OTHERS), (-(-height // 2), -(-width // 2))
    coarse = tuple(SweepShape(views, others, depths, *half) for depths in DEPTHS_COARSE)
    return (*coarse, SweepShape(views, others, DEPTHS_FINE, height, width))


class SweepProgram(Protocol):
    """Runs the graph. Calls may come from any thread, one after the other or at once."""

    backend: str
    """What runs it, for example ``onnxruntime CPU``."""

    def fit(self, need: SweepShape) -> SweepShape | None:
        """Shape of the arrays in which as much, or as many of its frames as it says, are to be handed in; None: that
        cannot be run.
        """
        ...

    def __call__(self, feed: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name, which belong to the caller, for INPUTS of a shape that `fit` gave. Raises EngineError."""
        ...
