# SPDX-License-Identifier: Apache-2.0
"""What differs between ROS 2 distributions, from Humble on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rclpy.executors import ExternalShutdownException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from da3_ros.messages import MessageTypes

__all__ = [
    "ExternalShutdownException",
    "given_parameters",
    "incompatible_qos_callback",
    "live_types",
    "qos_profile",
]


def live_types() -> MessageTypes:
    """The generated message classes of this ROS 2."""
    return MessageTypes(_load)


def _load(name: str) -> type:
    package, _, kind = name.split("/")
    found: type = getattr(importlib.import_module(f"{package}.msg"), kind)
    return found


def qos_profile(depth: int, reliability: str, *, latched: bool = False) -> QoSProfile:
    """Profile that keeps the last `depth` messages; reliability: `reliable` or `best_effort`."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.BEST_EFFORT
        if reliability == "best_effort"
        else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def given_parameters(node: Any) -> set[str]:
    """Names of the parameters that came with the start (command line, files); rclpy has no public way to
    ask.
    """
    return set(getattr(node, "_parameter_overrides", {}))


def incompatible_qos_callback(callback: Callable[[Any], None]) -> Any:
    """Subscription events that call `callback(event)` when a publisher's QoS does not fit."""
    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:  # Humble
        from rclpy.qos_event import SubscriptionEventCallbacks
    return SubscriptionEventCallbacks(incompatible_qos=callback)
