# SPDX-License-Identifier: Apache-2.0
"""What is to be told about the scale."""

from __future__ import annotations

from dataclasses import dataclass, field

from da3_ros.estimation.scale.rig import MatchConfig

SOURCES = ("auto", "reference", "rig", "odometry", "metric_model", "camera_height", "given", "none")
FITS = ("auto", "scale", "scale_shift")


@dataclass(frozen=True)
class ScaleConfig:
    """How depth gets its unit. Raises ValueError for a value outside its range."""

    source: str = "auto"
    """``reference``: a LiDAR's or depth camera's points; ``rig``: known poses between cameras; ``odometry``: known
    motion between the frames of a window; ``metric_model``: the network's own metres; ``camera_height``: the ground at
    a known height; ``given``: `value` metres a unit; ``none``: relative depth; ``auto``: the first of these, in this
    order and without `given`, that has an answer."""
    value: float = 1.0
    """Metres in one unit of the network, for ``given``."""
    camera_height: float = 0.0
    """Height of the first camera above level ground, in metres, for ``camera_height``; 0: not known."""
    period: float = 0.0
    """Seconds between two estimates; 0 estimates on every set."""
    hold: float = 2.0
    """Seconds for which the last scale serves sets that tell none; with a `period` from when the next one was due."""
    smoothing: float = 0.5
    """Time constant of the smoothing of scale and shift, in seconds; 0: every set stands for itself."""
    max_jump: float = 0.25
    """A scale that differs by more than this share from the last ones is held back until `confirm` sets agree on it."""
    confirm: int = 3
    """Sets that must agree on a jump before it is believed; 1 believes each at once."""
    min_matches: int = 20
    """Fewer samples of metric depth than this give no scale."""
    fit: str = "auto"
    """``scale``, ``scale_shift``, or ``auto``: with a shift only where samples from all over the images clearly ask for
    it. One that rests on a part of the image spoils the rest."""
    matching: MatchConfig = field(default_factory=MatchConfig)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"scale source {self.source!r} is unknown; allowed: {', '.join(SOURCES)}")
        if self.fit not in FITS:
            raise ValueError(f"scale fit {self.fit!r} is unknown; allowed: {', '.join(FITS)}")
        if not self.value > 0:
            raise ValueError(f"scale value must be positive, got {self.value}")
        for name in ("camera_height", "period", "hold", "smoothing"):
            if getattr(self, name) < 0:
                raise ValueError(f"scale {name} must not be negative, got {getattr(self, name)}")
        if not self.max_jump > 0:
            raise ValueError(f"scale max_jump must be positive, got {self.max_jump}")
        if self.confirm < 1:
            raise ValueError(f"scale confirm must be at least 1, got {self.confirm}")
        if self.min_matches < 8:
            raise ValueError(f"scale min_matches must be at least 8, got {self.min_matches}")
        if self.source == "camera_height" and self.camera_height == 0:
            raise ValueError("scale source camera_height needs scale.camera_height, in metres above the ground")
