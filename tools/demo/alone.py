# SPDX-License-Identifier: Apache-2.0
"""The same frames without the refinement: what the network alone makes of them, in the same metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scenarios import Scenario

from da3_ros.estimation import Estimator, EstimatorConfig, RefinementConfig, View, ViewSet

Depths = dict[int, dict[str, NDArray[np.float32]]]
"""(h, w) in metres, by index of the frame and camera."""


def network_alone(scenario: Scenario, model: str, period_ns: int) -> Depths:
    """Depth of every frame of a scenario with ``refinement.source: none``, else as the node does it."""
    rig = scenario.load()
    estimator = Estimator.from_model(model, EstimatorConfig(refinement=RefinementConfig(source="none")))
    found: Depths = {}
    for i, frame in enumerate(rig.frames):
        views = [
            View(np.ascontiguousarray(image), rig.cameras[name], rig.poses[name], name, 1 + i * period_ns)
            for name, image in frame.items()
        ]
        estimate = estimator(ViewSet(views))
        found[i] = {view.name: view.depth for view in estimate.views}
    return found
