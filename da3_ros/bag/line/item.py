# SPDX-License-Identifier: Apache-2.0
"""What moves along the assembly line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from da3_ros.bag.line.intake import Job
from da3_ros.bag.line.orders import Order
from da3_ros.estimation import View
from da3_ros.stream.work import Work
from da3_ros.sync import FrameSet


@dataclass
class Item:
    """A job on its way through the stages."""

    job: Job
    order: Order
    frames: FrameSet[Any] | None = None
    transforms: list[tuple[bool, Any]] = field(default_factory=list)
    infos: list[tuple[str, Any]] = field(default_factory=list)
    references: list[tuple[str, Any]] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    """Of this moment, for sets before it."""
    work: Work | None = None
    revoked: list[tuple[str, str]] = field(default_factory=list)
    recalled: dict[str, Any] | None = None
    """What was remembered where the run goes on with this set."""
    memory: dict[str, Any] | None = None
    """What is remembered after this set, where it is to be kept: each stage adds its own."""
    outputs: list[tuple[str, bytes | memoryview]] = field(default_factory=list)
    record: dict[str, Any] | None = None
