# SPDX-License-Identifier: Apache-2.0
"""Where metres come from, one file a source.

Read `source` (which one is asked, and how often), `config`, then where samples of metric depth come from: `reference`
(LiDAR, depth camera), `rig` (triangulated matches); what is made of them: `fit`; what does without: `distances`
(between cameras), `ground` (a known height), `own` (the network's metres); and `filter` (the scale over time).
"""

from da3_ros.estimation.scale.config import FITS, SOURCES, ScaleConfig
from da3_ros.estimation.scale.source import ScaleSource

__all__ = ["FITS", "SOURCES", "ScaleConfig", "ScaleSource"]
