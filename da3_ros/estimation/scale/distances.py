# SPDX-License-Identifier: Apache-2.0
"""Scale from the distances between cameras: the network's own against known ones.

The fallback where views share nothing that can be matched. It leans on the network's translations, so that it is taken
only from models whose record says that these can be trusted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.views import ScaleEstimate

LARGEST_SPREAD = 0.25
"""Median relative deviation of the pairs' ratios beyond which they do not agree on a scale."""


def scale_from_distances(
    predicted: NDArray[np.floating], known: list[NDArray[np.floating] | None], min_baseline: float
) -> ScaleEstimate:
    """Metres in one unit of the network: the median, over pairs of cameras, of known by predicted distance.

    predicted: T_world_camera (S, 4, 4) of the network; known: T_world_camera (4, 4) in metres, None where unknown. One
    pair is enough; cameras may stand on one line. Pairs nearer than `min_baseline` metres do not count. The residual is
    the median relative deviation of the ratios, NaN for a single pair, which nothing can check.
    """
    found = [(i, pose) for i, pose in enumerate(known) if pose is not None]
    ratios = []
    for n, (i, a) in enumerate(found):
        for j, b in found[n + 1 :]:
            distance = float(np.linalg.norm(np.asarray(a)[:3, 3] - np.asarray(b)[:3, 3]))
            own = float(np.linalg.norm(predicted[i, :3, 3] - predicted[j, :3, 3]))
            if distance >= min_baseline and own > 1e-6:
                ratios.append(distance / own)
    if not ratios:
        return ScaleEstimate("none", message=f"no two cameras stand {min_baseline:g} m apart or more")
    value = float(np.median(ratios))
    spread = float(np.median(np.abs(np.array(ratios) / value - 1))) if len(ratios) > 1 else float("nan")
    if spread > LARGEST_SPREAD:
        return ScaleEstimate(
            "none",
            message=f"the network's distances between {len(found)} cameras differ from the rig's by {spread:.0%}",
        )
    return ScaleEstimate("rig", value, 0.0, spread, len(ratios), True, "from the distances between the cameras alone")
