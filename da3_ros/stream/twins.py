# SPDX-License-Identifier: Apache-2.0
"""Cameras that show the very same picture: two topics of one device, which calibrations make two places of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.work import Source

_FLAT = 0.8
"""Share of pixels that are like the next one, from which on a picture is none of a camera's."""
_STEP = 37
"""Rows and columns between the pixels that are compared first."""


def say_twins(sources: Sequence[Source], health: Health) -> None:
    """Report cameras of one set whose pictures are equal in every pixel, unless they are of one colour."""
    for first, second in itertools.combinations(sources, 2):
        if _are_equal(first.view.image, second.view.image):
            text = (
                f"its picture is that of {first.view.name}, pixel by pixel: do both topics come from one device? Depth "
                "from the two is wrong; correct the launch file of the drivers, or image_topic"
            )
            health.report(second.view.name, "twin", text, WARN)


def _are_equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Noise tells real pictures apart at the first look; those of an empty simulated world have none."""
    if one.shape != other.shape or not np.array_equal(one[::_STEP, ::_STEP], other[::_STEP, ::_STEP]):
        return False
    rows = one[::_STEP]
    is_drawn = (rows[:, 1:] == rows[:, :-1]).mean() > _FLAT
    return not is_drawn and np.array_equal(one, other)
