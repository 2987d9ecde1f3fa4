# SPDX-License-Identifier: Apache-2.0
"""What is to be told about poses."""

from __future__ import annotations

from dataclasses import dataclass, field

from da3_ros.estimation.pose.matches import MatchesConfig

SOURCES = ("auto", "calibrated", "network", "rays", "matches")


@dataclass(frozen=True)
class PoseConfig:
    """Where the poses of cameras come from that nothing is known of. Raises ValueError for an unknown source."""

    source: str = "auto"
    """``network``: the camera head; ``rays``: the network's ray map, for graphs that have it; ``matches``: features
    matched between the views, lifted with the estimated depth; ``auto``: matches where there are enough, else the
    network; ``calibrated``: nowhere, they stay unknown. Poses that are known are taken as they are in every case."""
    matches: MatchesConfig = field(default_factory=MatchesConfig)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"pose source {self.source!r} is unknown; allowed: {', '.join(SOURCES)}")
