# SPDX-License-Identifier: Apache-2.0
"""Cases that every checkout has: those of `make demo`, without ROS and without time between them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from case import Case, Truth

from da3_ros.estimation import View

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "demo"))

from scenarios import Rig, four_cameras, motorcycle


def motorcycle_cases() -> list[Case]:
    """The Middlebury Motorcycle pair, a real rectified stereo pair with the true depth of its left image: one case."""
    return [_case("motorcycle", motorcycle(), 0)]


def four_camera_cases() -> list[Case]:
    """Every set of the shipped recording of a robot with four cameras for which the depth of some view is known."""
    rig = four_cameras()
    known = [i for i, truth in enumerate(rig.truth) if truth]
    return [_case(f"four_cameras {i}", rig, i) for i in known]


def _case(name: str, rig: Rig, index: int) -> Case:
    views, truths = [], []
    for camera, model in rig.cameras.items():
        image = np.ascontiguousarray(rig.frames[index][camera])
        views.append(View(image, model, rig.poses[camera], camera, index, mount=rig.poses[camera]))
        found = rig.truth[index].get(camera)
        truths.append(None if found is None else Truth(found.depth, found.camera))
    return Case(name, tuple(views), tuple(truths))
