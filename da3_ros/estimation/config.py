# SPDX-License-Identifier: Apache-2.0
"""What is to be told about estimates."""

from __future__ import annotations

from dataclasses import dataclass, field

from da3_ros.estimation.pose.config import PoseConfig
from da3_ros.estimation.refinement.config import RefinementConfig
from da3_ros.estimation.scale.config import ScaleConfig


@dataclass(frozen=True)
class EstimatorConfig:
    """How view sets are estimated. Raises ValueError for a value outside its range."""

    size: int = 0
    """Longest side of the network's input in pixels; 0 takes the size recommended for the model."""
    threads: int = 0
    """Threads of a CPU engine; 0 takes every core."""
    min_range: float = 0.05
    """Nearer depth becomes -Inf, in metres (only when the scale is known)."""
    max_range: float = 50.0
    """Farther depth becomes +Inf, in metres (only when the scale is known)."""
    min_confidence: float = 1.0
    """Less confident depth becomes NaN; the network's confidence starts at 1."""
    condition_on_poses: bool | None = None
    """Whether known rig poses are given to the network, also those of some cameras alone where its graph takes them;
    None does what the model's record recommends."""
    full_resolution: bool = False
    """Whether depth, confidence and camera come in the size of each view's own image; else in the network's."""
    gaussians: bool = False
    """Whether 3D Gaussians are wanted, too; needs a graph with their head."""
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    rig_check_period: float = 0.0
    """Seconds between checks of the rig's calibration; 0: never."""

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size must be 0 (recommended) or a number of pixels, got {self.size}")
        if self.threads < 0:
            raise ValueError(f"threads must be 0 (all cores) or more, got {self.threads}")
        if not 0 <= self.min_range < self.max_range:
            raise ValueError(f"need 0 <= min_range < max_range, got {self.min_range} and {self.max_range}")
