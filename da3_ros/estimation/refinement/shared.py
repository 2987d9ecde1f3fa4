# SPDX-License-Identifier: Apache-2.0
"""An error that all evidence of a view shares, as poses a little wrong make it, cannot be told from a network that is
off all over the view. Both are likely by so much, and what is between them is split accordingly.
"""

from __future__ import annotations

import numpy as np

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Map

VIEW = 0.15
"""Standard deviation of what a network's log depth is off by all over a view once its scale is known: two thirds of
da3-nano's views of the training rooms lie within it."""


def shared_error(log_depth: Map, evidence: Evidence) -> float:
    """Likely error of log depth that all pieces share: of their median distance from the network's log depth (h, w),
    the part that ``evidence.common`` explains, beside VIEW (the mean of the posterior of two normal distributions).
    """
    if not len(evidence) or evidence.common == 0:
        return 0.0
    apart = float(np.median(evidence.log_depth - log_depth[evidence.rows, evidence.columns]))
    return apart * evidence.common**2 / (evidence.common**2 + VIEW**2)
