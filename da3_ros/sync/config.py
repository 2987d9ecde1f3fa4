# SPDX-License-Identifier: Apache-2.0
"""How frames of several cameras are matched."""

from __future__ import annotations

from dataclasses import dataclass

POLICIES = ("anchor", "exact", "approximate", "latest")
"""How frames may be matched, see `SyncConfig`."""


@dataclass(frozen=True)
class SyncConfig:
    """How frames are matched; times in nanoseconds. Raises ValueError for values that make no sense.

    policy: `anchor`: the first camera triggers; each other one adds its frame closest in time, within
    `max_skew_ns`. `exact`: equal stamps. `approximate`: any camera triggers, all frames lie within
    `max_skew_ns` of each other. `latest`: the first camera triggers, the others add their newest frame
    whatever its age, again and again. allow_missing: a set may lack cameras; it is then given out when the
    triggering camera's next frame comes. capacity: frames kept for each camera. jump_ns: a stamp that falls
    back by more means that time was reset.
    """

    policy: str = "anchor"
    max_skew_ns: int = 20_000_000
    allow_missing: bool = False
    capacity: int = 10
    jump_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy {self.policy!r} is unknown; choose one of {', '.join(POLICIES)}")
        for name, lowest in (("max_skew_ns", 0), ("capacity", 1), ("jump_ns", 1)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} = {getattr(self, name)}; it must be at least {lowest}")
