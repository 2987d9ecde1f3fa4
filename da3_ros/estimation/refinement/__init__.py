# SPDX-License-Identifier: Apache-2.0
"""Depth that agrees with what cameras and sensors measure, without ROS and without torch.

Read `refine` (the whole), its `config` and its `subjects`; `evidence` (what is measured) and where it comes from:
`views` (other cameras and moments: `pairs`, `level`, `told`, with `frame`, `sweep`, `patches`, `spread`, `agreement`,
`bearings`, `stereo`, `outlines`) and `measured` (other sensors' points, and corners); then how it goes into depth:
`shared` (what all of it is off by together), `fusion` (with `trend` and `solver`), `check` (whether to believe it),
`uncertainty`. `side_by_side`: views on several cores. `sweeper`: who sweeps, `graph_sweep`: a graph that does, `trial`:
two of them compared, `choose`: which one runs here.
"""

from da3_ros.estimation.refinement.config import SOURCES, RefinementConfig
from da3_ros.estimation.refinement.refine import Refined, Subject, load_solvers, refine

__all__ = ["SOURCES", "Refined", "RefinementConfig", "Subject", "load_solvers", "refine"]
